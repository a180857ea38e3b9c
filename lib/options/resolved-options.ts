import type { DataSource } from 'typeorm';
import type { Policy } from '../engine/policy.js';
import type { RedisLike } from '../lock/redis-client.js';
import type { RedlockSettings } from '../lock/redlock-settings.js';
import type { EncryptionOptions } from '../store/sealer.js';
import type { TransactionHost } from '../store/transactions/transaction-host.js';
import type { IdempotentOptions, OutcomeContext, OutcomeVerdict } from './idempotency-options.js';

/** The options of one operation, validated and with their defaults. */
export interface ResolvedOperationOptions {
  readonly policy: Policy;
  readonly operation: string | undefined;
  readonly shared: boolean;
  /** Whether the boot audit reports findings about the handler. */
  readonly isAudited: boolean;
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
    /** `undefined`: the response decides. */
    readonly stream: boolean | undefined;
    /** In lower case. */
    readonly include: ReadonlySet<string> | undefined;
    readonly exclude: ReadonlySet<string>;
  };
}

/** The parts of a request that distinguish callers without a principal. */
export interface CredentialSources {
  /** In lower case. */
  readonly headers: readonly string[];
  readonly cookies: readonly string[];
}

/** The options of the module, validated and with their defaults. */
export interface ResolvedModuleOptions {
  /** The defaults of `@Idempotent()`. */
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
