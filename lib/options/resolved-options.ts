import type { DataSource } from 'typeorm';
import type { Policy } from '../engine/policy.js';
import type { RedisLike } from '../lock/redis-client.js';
import type { RedlockSettings } from '../lock/redlock-settings.js';
import type { EncryptionOptions } from '../store/sealer.js';
import type { TransactionHost } from '../store/transactions/transaction-host.js';
import type { IdempotentOptions, OutcomeContext, OutcomeVerdict } from './idempotency-options.js';

/** The options of one operation, validated and complete. */
export interface ResolvedOperationOptions {
  readonly policy: Policy;
  /** What identifies its records instead of the route. */
  readonly operation: string | undefined;
  readonly shared: boolean;
  readonly required: boolean;
  readonly key: IdempotentOptions['key'];
  readonly scope: IdempotentOptions['scope'];
  readonly fingerprint: NonNullable<IdempotentOptions['fingerprint']>;
  readonly outcome: (context: OutcomeContext) => OutcomeVerdict;
  readonly request: { readonly store: boolean; readonly maxBytes: number; readonly redact: readonly string[] };
  readonly response: {
    readonly store: boolean;
    readonly redact: readonly string[];
    readonly maxBytes: number;
    /** `undefined`: as the response says of itself. */
    readonly stream: boolean | undefined;
    /** In lower case. */
    readonly include: ReadonlySet<string> | undefined;
    readonly exclude: ReadonlySet<string>;
  };
}

/** Which parts of a request distinguish callers without a principal. */
export interface CredentialSources {
  /** In lower case. */
  readonly headers: readonly string[];
  readonly cookies: readonly string[];
}

/** The options of the module, validated and complete. */
export interface ResolvedModuleOptions {
  /** What `@Idempotent()` falls back to. */
  readonly defaults: IdempotentOptions;
  readonly dataSource: string | DataSource | undefined;
  readonly namespace: string | undefined;
  readonly redis: readonly RedisLike[];
  readonly redlock: RedlockSettings;
  readonly onLockUnavailable: 'degrade' | 'reject';
  readonly header: string;
  readonly credentials: CredentialSources;
  readonly keyFormat: { readonly minLength: number; readonly maxLength: number; readonly pattern: RegExp };
  readonly encryption: EncryptionOptions | undefined;
  readonly sweep: { readonly everyMs: number; readonly batch: number } | undefined;
  readonly audit: 'off' | 'warn' | 'error';
  readonly documentation: string | undefined;
  readonly storeTimeoutMs: number;
  readonly storeConnections: number;
  readonly transactionHost: TransactionHost | undefined;
}
