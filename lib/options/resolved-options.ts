import type { resolveModuleOptions, resolveOperationOptions } from './resolve-options.js';

/** The options of one operation, validated and with their defaults. */
export type ResolvedOperationOptions = ReturnType<typeof resolveOperationOptions>;

/** The options of the module, validated and with their defaults. */
export type ResolvedModuleOptions = ReturnType<typeof resolveModuleOptions>;

/** The parts of a request that distinguish callers without a principal. */
export type CredentialSources = ResolvedModuleOptions['credentials'];
