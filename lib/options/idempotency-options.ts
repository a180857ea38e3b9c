import type { ExecutionContext, InjectionToken, ModuleMetadata, OptionalFactoryDependency, Type } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import type { RedisLike } from '../lock/redis-client.js';
import type { RedlockSettings } from '../lock/redlock-settings.js';
import type { EncryptionOptions } from '../store/sealer.js';
import type { TransactionHost } from '../store/transactions/transaction-host.js';
import type { Duration } from './duration.js';

/** What a fingerprint is made of, beside method, route, path parameters, query, content type and body. */
export interface FingerprintOptions {
  /**
   * Pointers as in {@link RequestOptions.redact}, such as `/client/sentAt`: what may differ between retries.
   *
   * @example
   * Idempotent({ fingerprint: { ignore: ['/sentAt', '/items/*', '?trace'] } })
   */
  readonly ignore?: readonly string[];
  /**
   * Pointers as in {@link RequestOptions.redact}: of the body, or of the query, or of both if they lead into both, only this is
   * compared, less what `ignore` leads to. A body or query in which they find nothing is compared as a whole. Default: all.
   */
  readonly only?: readonly string[];
  /** Names of request headers that are part of the request's meaning. */
  readonly headers?: readonly string[];
}

/** How a handler ended: the argument of {@link IdempotentOptions.outcome}. */
export interface OutcomeContext {
  /** HTTP status of the response; for messages, mutations and jobs 200, or the status that their error corresponds to. */
  readonly status: number;
  /** What the handler, a pipe or an interceptor inside threw, if anything. */
  readonly error: unknown;
  /**
   * Whether the handler itself failed: it threw, though an interceptor or a filter may have made a success of that, or it
   * answered with a status of 400 and above. Where it did not, and the response is an error all the same, as when its value
   * could not be serialized, the operation was carried out.
   */
  readonly handlerFailed: boolean;
}

/** Whether an outcome is kept and replayed, or frees the key; `retention` as {@link IdempotentOptions.retention}. */
export type OutcomeVerdict = 'store' | 'release' | { readonly store: boolean; readonly retention?: Duration };

/** Options that can differ between operations: defaults in `forRoot`, overridden in `@Idempotent({ ... })`. */
export interface IdempotentOptions {
  /**
   * The name of the operation, which identifies its records instead of method and route: 1 to 255 characters. Routes,
   * prefixes, versions, aliases, adapters and the names of path parameters may then change, also while old and new processes
   * run side by side; the values of path parameters are compared in their order. For a message handler it stands for the
   * pattern, for a mutation for the field. Belongs on a method. Default: method and route template.
   *
   * A new name makes every key a new one. To name an operation that is in service, use the route that it has.
   *
   * @example
   * ```ts
   * @Idempotent({ operation: 'orders.pay' })
   * ```
   */
  readonly operation?: string;
  /** Whether another handler may have the same `operation`, and so the same records. Both have to say so. Default: `false`. */
  readonly shared?: boolean;
  /** Whether a request without a key is refused (400) or passes through unprotected. Default: `true`. */
  readonly required?: boolean;
  /** Where the key comes from. Default: the request header; for messages also a CloudEvent, or the AMQP message id. */
  readonly key?: (context: ExecutionContext) => string | undefined;
  /**
   * The tenant or principal that keys belong to. Default: the first of `id`, `sub`, `userId`, `uid`, `_id`, `user_id` that
   * `request.user` has, then `sub` of `request.auth`; with an `iss` beside it, `iss:["<iss>","<id>"]`. Ids are texts, numbers
   * below 2^53, bigints, bytes (`bytes:` and their hexadecimal digits), dates, and objects with a text of their own, such as
   * an ObjectId; a `request.user` with another id, or with none, fails with 500. Without a principal, an HMAC binds the record
   * to the caller's {@link CredentialOptions}, if it has any. Messages have no principal.
   */
  readonly scope?: (context: ExecutionContext) => string;
  /** How requests with the same key are compared; `false`: they are not. Default: the whole request. */
  readonly fingerprint?: FingerprintOptions | ((context: ExecutionContext) => string | Uint8Array) | false;
  /** A duplicate of a running request is refused (409), or waits for its outcome. Default: `'reject'`. */
  readonly onConflict?: 'reject' | 'wait';
  /** How long such a duplicate waits before it is refused. Default: `'10s'`. */
  readonly waitTimeout?: Duration;
  /** How long an owner that falls silent keeps the record; renewed while the handler runs. Default: `'30s'`. */
  readonly lease?: Duration;
  /**
   * How long an outcome is replayed, counted from its completion; a released operation is forgotten after as long. At most
   * a thousand years. Default: `'24h'`.
   */
  readonly retention?: Duration;
  /**
   * When an owner died with no outcome on record: run the operation again, or hold the record until someone resolves
   * it. Default: `'rerun'`.
   */
  readonly afterCrash?: 'rerun' | 'hold';
  /**
   * How many executions in a row may die without an outcome, before the record is held until someone resolves it: an
   * operation that kills its process would kill the next one at each retry. An execution that ends, by a failure too,
   * starts the count again. Default: 5.
   */
  readonly maxAttempts?: number;
  /**
   * How long an execution may run. After that its signal is aborted and its lease is no longer renewed, so that its record
   * is treated as after a crash once the lease has run out, whether or not the handler still runs. Default: no limit.
   */
  readonly maxDuration?: Duration;
  /** Runs the handler in a database transaction that the outcome commits with. Default: `false`. */
  readonly transactional?: boolean;
  /**
   * Which outcomes are kept and replayed, and which free the key. `'final'`: statuses below 500 except 408, 425 and 429 are
   * stored; where the handler threw and the response has a status below 400 all the same, the status of what it threw decides,
   * which is 500 unless it is an `HttpException`. `'success'`: only what succeeded is stored. A key is never freed by a failure
   * that came after the handler had succeeded. Default: `'final'`.
   *
   * @example
   * // Refusals are replayed for a minute, as the customer may top up the account.
   * outcome: ({ status }) => (status === 402 ? { store: true, retention: '1m' } : status < 500 ? 'store' : 'release')
   */
  readonly outcome?: 'final' | 'success' | ((context: OutcomeContext) => OutcomeVerdict);
  /** What a record keeps of a request. An operation changes single members; its `redact` adds to that of the module. */
  readonly request?: RequestOptions;
  /** What a record keeps of a response. An operation changes single members; its `redact` adds to that of the module. */
  readonly response?: ResponseOptions;
}

/** What is kept of a response. */
export interface ResponseOptions {
  /**
   * Whether the record keeps the response. `false`: it keeps that the operation was carried out, and nothing of the response:
   * a retry gets 409 `replay-unavailable`. For endpoints that mint secrets. Default: `true`.
   */
  readonly store?: boolean;
  /**
   * JSON pointers as in {@link RequestOptions.redact}, without those to a query: the record keeps the response without these
   * members. The first caller gets the whole response, a replay what is on record. With `redact`, a response that is neither
   * empty nor JSON is not kept at all. Headers are left out by `headers.exclude`.
   *
   * @example
   * Idempotent({ response: { redact: ['/token', '/keys/*'] } })
   */
  readonly redact?: readonly string[];
  /** The largest body that is kept, in bytes. A larger one is sent as it is, and cannot be replayed. Default: 1 MiB. */
  readonly maxBytes?: number;
  /**
   * `true`: the response is sent as it is written. The record is completed before its end is sent, and keeps no body: a retry gets
   * 409 `replay-unavailable`. A client that goes away does not end the operation. A response that fails before its first byte, or
   * that is written at once, is recorded and replayed as any other. `false`: it is held until its end, or for a lease.
   *
   * Over HTTP alone. Default: held, except a response that says that it is a stream, by `flushHeaders()` or its type. That passes
   * after a second; `text/event-stream` at once.
   *
   * @example
   * @Idempotent({ response: { stream: true } })
   */
  readonly stream?: boolean;
  /** Which headers are replayed. Default: all that were set since the interceptor began, but those never stored. */
  readonly headers?: { readonly include?: readonly string[]; readonly exclude?: readonly string[] };
}

/** What a record keeps of a request, for the people who look into it later. The fingerprint covers the whole request. */
export interface RequestOptions {
  /** Whether the record keeps the request. Default: `true`. */
  readonly store?: boolean;
  /** The largest request that a record keeps, in bytes of JSON; it keeps nothing of a larger one. Default: 64 KiB. */
  readonly maxBytes?: number;
  /**
   * JSON pointers (RFC 6901) such as `/card/number`, in which `*` is any member or index: the record has `[redacted]` there.
   * They lead into the JSON of the body, of a message's payload, of a mutation's arguments, and of the `input` of
   * `IdempotencyService.run()`. `~0`, `~1` and `~2` stand for `~`, `/` and `*` in the name of a member. A pointer that begins
   * with `?` leads to query parameters: `?token`; `?card` leads to `card[number]` too.
   *
   * @example
   * IdempotencyModule.forRoot({ request: { redact: ['/card/number', '/cards/*', '?token'] } })
   */
  readonly redact?: readonly string[];
}

/**
 * What identifies a caller where there is neither `scope` nor a principal. An HMAC binds the record to all of these that the
 * request has: a request with others gets 422 `key-foreign`. The value has to be the same in a retry: a session's id is, a
 * cookie that the server signs or encrypts again with each response is not.
 *
 * @example
 * IdempotencyModule.forRoot({ credentials: { cookies: ['connect.sid'] } })
 */
export interface CredentialOptions {
  /** Names of request headers. Default: `['Authorization', 'X-API-Key']`, which a list of your own replaces. */
  readonly headers?: readonly string[];
  /** Names of cookies. Default: none. */
  readonly cookies?: readonly string[];
}

/** Which keys are accepted. Others are refused with 400 `key-invalid`. */
export interface KeyFormat {
  /** Default: 1. */
  readonly minLength?: number;
  /** Default: 255. */
  readonly maxLength?: number;
  /** What the whole key has to match. Default: visible ASCII. */
  readonly pattern?: RegExp;
}

/** How expired records are deleted. */
export interface SweepOptions {
  /** Time between two sweeps. Default: `'60s'`. */
  readonly every?: Duration;
  /** Records deleted in one statement. Default: 1000. */
  readonly batch?: number;
}

/** Options of `IdempotencyModule.forRoot()`. */
export interface IdempotencyModuleOptions extends Omit<IdempotentOptions, 'operation' | 'shared'> {
  /**
   * The data source that holds the records: the name of one of @nestjs/typeorm, or the `DataSource` itself, which has to
   * know IDEMPOTENCY_ENTITIES and which the application initializes. Default: the default data source of @nestjs/typeorm.
   */
  readonly dataSource?: string | DataSource;
  /**
   * Part of the identity of every record. Applications that keep their records in one table need one each: without it, the
   * same key of the same user at the same route is one record, and an application answers with the outcome of another.
   * A new value makes every key a new one, and retries run again. Default: none.
   *
   * @example
   * IdempotencyModule.forRoot({ namespace: 'billing' })
   */
  readonly namespace?: string;
  /**
   * One ioredis client, an odd number of independent ones (a Redlock quorum), or a Cluster. Default: none, database
   * leases alone. The clients stay yours: the library never closes them.
   */
  readonly redis?: RedisLike | readonly RedisLike[];
  /** Settings for the lock. */
  readonly redlock?: RedlockSettings;
  /** When no quorum of Redis nodes answers: do without, or refuse with 503. Default: `'degrade'`. */
  readonly onLockUnavailable?: 'degrade' | 'reject';
  /** Name of the request header that carries the key. Default: `'Idempotency-Key'`. */
  readonly header?: string;
  /** What identifies callers without a principal. */
  readonly credentials?: CredentialOptions;
  readonly keyFormat?: KeyFormat;
  /** AES-256-GCM for what is kept of requests and responses. Default: none. */
  readonly encryption?: EncryptionOptions;
  /** Deletes expired records; `false`: never. Default: every 60 s, 1000 a batch. */
  readonly sweep?: SweepOptions | false;
  /**
   * At boot, reports mutating routes with neither `@Idempotent()` nor `@NotIdempotent()`, and `@Idempotent()` where it
   * has no effect. Default: `'warn'`.
   */
  readonly audit?: 'off' | 'warn' | 'error';
  /** URL of your documentation of idempotency, for problem responses and their `Link` header. Default: none. */
  readonly documentation?: string;
  /** How long the database may take to answer before a request is refused with 503. Default: `'5s'`. */
  readonly storeTimeout?: Duration;
  /**
   * How many connections to PostgreSQL, MySQL or MariaDB the store may open beside those of the data source's pool, so that
   * it need not queue for one behind handlers: never more than that pool may have. They are opened when needed, and on
   * PostgreSQL closed when idle. 0: it shares the pool. Default: 4.
   */
  readonly storeConnections?: number;
  /** Who begins the transactions of transactional operations. Default: the library. */
  readonly transactionHost?: TransactionHost;
}

/** What has to be known before the options are: given beside a factory. */
export interface IdempotencyModuleExtras {
  /** Whether the module is visible everywhere. Default: `true`. */
  readonly isGlobal?: boolean;
  /** As {@link IdempotencyModuleOptions.dataSource}. */
  readonly dataSource?: string | DataSource;
}

/** Makes the options, for `useClass` and `useExisting` of `IdempotencyModule.forRootAsync()`. */
export interface IdempotencyOptionsFactory {
  createIdempotencyOptions(): Promise<IdempotencyModuleOptions> | IdempotencyModuleOptions;
}

/** Options of `IdempotencyModule.forRootAsync()`: one of `useFactory`, `useClass` and `useExisting`. */
export interface IdempotencyModuleAsyncOptions extends IdempotencyModuleExtras, Pick<ModuleMetadata, 'imports'> {
  readonly useFactory?: (...dependencies: never[]) => Promise<IdempotencyModuleOptions> | IdempotencyModuleOptions;
  readonly inject?: (InjectionToken | OptionalFactoryDependency)[];
  readonly useClass?: Type<IdempotencyOptionsFactory>;
  readonly useExisting?: InjectionToken<IdempotencyOptionsFactory>;
}
