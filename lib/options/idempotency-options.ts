import type { ExecutionContext, InjectionToken, ModuleMetadata, OptionalFactoryDependency, Type } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import type { RedisLike } from '../lock/redis-client.js';
import type { RedlockSettings } from '../lock/redlock-settings.js';
import type { EncryptionOptions } from '../store/sealer.js';
import type { TransactionHost } from '../store/transactions/transaction-host.js';
import type { Duration } from './duration.js';

/** Changes what the fingerprint covers: by default method, route, path parameters, query, content type and body. */
export interface FingerprintOptions {
  /**
   * Parts that may differ between retries, as pointers like those of {@link RequestOptions.redact}. Default: none.
   *
   * @example
   * Idempotent({ fingerprint: { ignore: ['/sentAt', '/items/*', '?trace'] } })
   */
  readonly ignore?: readonly string[];
  /**
   * The only parts of the body or query that are compared, except those of `ignore`, as pointers like those of
   * {@link RequestOptions.redact}. A body or query in which no pointer finds anything is compared as a whole. Default: everything.
   */
  readonly only?: readonly string[];
  /** Names of request headers that are compared, too. Default: none. */
  readonly headers?: readonly string[];
}

/** The end of a handler: the argument of the option `outcome`. */
export interface OutcomeContext {
  /** The HTTP status of the response. For messages, mutations and jobs: 200, or the status that corresponds to their error. */
  readonly status: number;
  /** What the handler, a pipe, or an inner interceptor threw. */
  readonly error: unknown;
  /**
   * Whether the handler itself failed: it threw, even if an interceptor or filter turned that into a success, or it answered with a
   * status of 400 or above. Where it did not fail, the operation was carried out, even if the response is an error: its value could not
   * be serialized, for example.
   */
  readonly handlerFailed: boolean;
}

/** Whether an outcome is recorded and replayed, or frees the key. `retention` overrides the option of that name. */
export type OutcomeVerdict = 'store' | 'release' | { readonly store: boolean; readonly retention?: Duration };

/** Options of an operation. `forRoot()` sets their defaults, and `@Idempotent({ ... })` overrides them. */
export interface IdempotentOptions {
  /**
   * The name that identifies the operation's records instead of method and route: 1 to 255 characters, on a method. Routes, prefixes,
   * versions, aliases and names of path parameters may then change, even while old and new processes run side by side. The values of
   * path parameters are compared in their order. Default: method and route template, the pattern of a message, the field of a mutation.
   *
   * A new name makes every key a new one, and retries run again. To name an operation in service, use the route that it has.
   *
   * @example
   * ```ts
   * @Idempotent({ operation: 'orders.pay' })
   * ```
   */
  readonly operation?: string;
  /** Whether several handlers may share `operation`, and so their records. Each has to say so. Default: `false`. */
  readonly shared?: boolean;
  /** `true`: a request without a key gets 400 `key-missing`. `false`: it passes through unprotected. Default: `true`. */
  readonly required?: boolean;
  /** Returns the key. Default: the value of the request header; for messages also the id of a CloudEvent, or the AMQP message id. */
  readonly key?: (context: ExecutionContext) => string | undefined;
  /**
   * Returns the tenant or principal that keys belong to. Default: the first of `id`, `sub`, `userId`, `uid`, `_id`, `user_id` in
   * `request.user`, then `sub` of `request.auth`; with an `iss` beside it, `iss:["<iss>","<id>"]`.
   *
   * An id is a text, a number below 2^53, a bigint, bytes (`bytes:` and hexadecimal digits), a date, or an object that has a text of its
   * own, such as an ObjectId. A `request.user` with another id, or without one, fails with 500. Without a principal, an HMAC binds the
   * record to the caller's {@link CredentialOptions}, if it has any. Messages have no principal.
   *
   * @example
   * scope: (context) => context.switchToHttp().getRequest().tenant.id
   */
  readonly scope?: (context: ExecutionContext) => string;
  /** What is compared of requests with the same key; `false`: nothing. Default: the whole request. */
  readonly fingerprint?: FingerprintOptions | ((context: ExecutionContext) => string | Uint8Array) | false;
  /** A duplicate of a running request gets 409 `in-progress`, or waits for the outcome. Default: `'reject'`. */
  readonly onConflict?: 'reject' | 'wait';
  /** How long a duplicate waits before it gets 409. Default: `'10s'`. */
  readonly waitTimeout?: Duration;
  /** How long the record of a process that died stays taken. Renewed while the handler runs. Default: `'30s'`. */
  readonly lease?: Duration;
  /**
   * How long an outcome is replayed, from its completion. A released operation is forgotten after the same time. At most a thousand
   * years. Default: `'24h'`.
   */
  readonly retention?: Duration;
  /**
   * What the next request does after a process died without an outcome. `'rerun'`: it runs the operation again. `'hold'`: it gets 409
   * `outcome-unknown`, until an operator resolves the record. Default: `'rerun'`.
   */
  readonly afterCrash?: 'rerun' | 'hold';
  /**
   * How many executions in a row may die without an outcome, before the record is held until an operator resolves it. Without a limit, an
   * operation that kills its process would kill the next one at every retry. An execution that ends, even by a failure, restarts the
   * count. Default: 5.
   */
  readonly maxAttempts?: number;
  /**
   * How long an execution may run. After that, its signal aborts and its lease is no longer renewed. Once the lease has run out, the
   * record is treated as after a crash, even if the handler still runs. Default: no limit.
   */
  readonly maxDuration?: Duration;
  /** Whether the handler runs in a database transaction, in which the outcome commits too. Default: `false`. */
  readonly transactional?: boolean;
  /**
   * Which outcomes are recorded and replayed, and which free the key. Default: `'final'`.
   *
   * - `'final'` records statuses below 500, except 408, 425 and 429. Where the handler threw but the response has a status below 400, the
   *   status of the error decides: 500, unless it is an `HttpException`.
   * - `'success'` records successes only.
   *
   * A failure after the handler succeeded never frees the key.
   *
   * @example
   * // Refusals are replayed for a minute, because the customer may top up the account.
   * outcome: ({ status }) => (status === 402 ? { store: true, retention: '1m' } : status < 500 ? 'store' : 'release')
   */
  readonly outcome?: 'final' | 'success' | ((context: OutcomeContext) => OutcomeVerdict);
  /** What a record keeps of a request. An operation overrides single members; its `redact` adds to that of the module. */
  readonly request?: RequestOptions;
  /** What a record keeps of a response. An operation overrides single members; its `redact` adds to that of the module. */
  readonly response?: ResponseOptions;
  /**
   * `'off'`: the boot audit logs nothing about this handler, or the handlers of this class. For findings that you know and accept. What
   * fails the boot under any `audit` still does. Default: the option `audit` of `forRoot()`.
   *
   * @example
   * // Its mail may come twice.
   * @Idempotent({ transactional: true, audit: 'off' })
   */
  readonly audit?: 'off';
}

/** What a record keeps of a response. */
export interface ResponseOptions {
  /**
   * Whether the record keeps the response. `false`: a retry gets 409 `replay-unavailable`, for endpoints that mint secrets. Default:
   * `true`.
   */
  readonly store?: boolean;
  /**
   * Members that the record does not keep, as JSON pointers like those of {@link RequestOptions.redact}, but none to a query. The first
   * caller gets the whole response, and a replay lacks these members. A response that is neither empty nor JSON is not kept at all.
   * Default: none.
   *
   * @example
   * Idempotent({ response: { redact: ['/token', '/keys/*'] } })
   */
  readonly redact?: readonly string[];
  /** The largest body that the record keeps, in bytes. A larger one is sent, but never replayed. Default: 1 MiB. */
  readonly maxBytes?: number;
  /**
   * Whether the client gets the response while the handler writes it, over HTTP.
   *
   * - `true`: the record is completed before the end of the response is sent, and keeps no body: a retry gets 409 `replay-unavailable`. A
   *   client that goes away does not end the operation. A response that is written at once, or fails before its first byte, is recorded
   *   and replayed like any other.
   * - `false`: the response is held back until its end, or for a lease.
   *
   * Default: held back. A response that declares itself a stream, by `flushHeaders()` or its type, passes after a second, and
   * `text/event-stream` at once.
   *
   * @example
   * @Idempotent({ response: { stream: true } })
   */
  readonly stream?: boolean;
  /** Names of headers that are replayed. Default: all that were set since the interceptor began, except those never stored. */
  readonly headers?: { readonly include?: readonly string[]; readonly exclude?: readonly string[] };
}

/** What a record keeps of a request, for operators. The fingerprint covers the whole request. */
export interface RequestOptions {
  /** Whether the record keeps the request. Default: `true`. */
  readonly store?: boolean;
  /** The largest request that the record keeps, in bytes of JSON. It keeps nothing of a larger one. Default: 64 KiB. */
  readonly maxBytes?: number;
  /**
   * Members that the record does not keep, as JSON pointers (RFC 6901) such as `/card/number`: the record has `[redacted]` there. `*` is
   * any member or index; `~0`, `~1` and `~2` stand for `~`, `/` and `*` in a name. A pointer leads into the JSON of the body, of a
   * message's payload, of a mutation's arguments, or of the `input` of `IdempotencyService.run()`. One that begins with `?` leads to
   * query parameters: `?card` also to `card[number]`. Default: none.
   *
   * @example
   * IdempotencyModule.forRoot({ request: { redact: ['/card/number', '/cards/*', '?token'] } })
   */
  readonly redact?: readonly string[];
}

/**
 * What identifies a caller without `scope` and without a principal. An HMAC binds the record to all of these that the request has, and a
 * request with other values gets 422 `key-foreign`. A value has to be the same in a retry. A session's id is; a cookie that the server
 * signs or encrypts again with each response is not.
 *
 * @example
 * IdempotencyModule.forRoot({ credentials: { cookies: ['connect.sid'] } })
 */
export interface CredentialOptions {
  /** Names of request headers. Default: `['Authorization', 'X-API-Key']`; your list replaces these. */
  readonly headers?: readonly string[];
  /** Names of cookies. Default: none. */
  readonly cookies?: readonly string[];
}

/** Which keys are accepted. Others get 400 `key-invalid`. */
export interface KeyFormat {
  /** In characters. Default: 1. */
  readonly minLength?: number;
  /** In characters. Default: 255. */
  readonly maxLength?: number;
  /** Has to match the key. Default: one or more visible ASCII characters. */
  readonly pattern?: RegExp;
}

/** How the library deletes expired records. */
export interface SweepOptions {
  /** Time between two sweeps. Default: `'60s'`. */
  readonly every?: Duration;
  /** The most records that one statement deletes. Default: 1000. */
  readonly batch?: number;
}

/** Options of `IdempotencyModule.forRoot()`. */
export interface IdempotencyModuleOptions extends Omit<IdempotentOptions, 'operation' | 'shared' | 'audit'> {
  /**
   * The data source that holds the records: its name in @nestjs/typeorm, or a `DataSource` with `IDEMPOTENCY_ENTITIES` that the
   * application initializes. Default: the default data source of @nestjs/typeorm.
   */
  readonly dataSource?: string | DataSource;
  /**
   * Separates applications that share a table, which need one each. Without it, the same key of the same user at the same route is one
   * record, and an application replays the outcome of another. A new value makes every key a new one, and retries run again. Default:
   * none.
   *
   * @example
   * IdempotencyModule.forRoot({ namespace: 'billing' })
   */
  readonly namespace?: string;
  /**
   * An ioredis client, an odd number of independent ones (a Redlock quorum), or a Cluster. The library never closes them. Default: none;
   * the database's leases alone are as safe.
   *
   * @example
   * IdempotencyModule.forRoot({ redis: new Redis('redis://localhost:6379') })
   */
  readonly redis?: RedisLike | readonly RedisLike[];
  /** Settings of the lock in Redis. */
  readonly redlock?: RedlockSettings;
  /** Without a quorum of Redis nodes, requests go on without the lock, or get 503. Default: `'degrade'`. */
  readonly onLockUnavailable?: 'degrade' | 'reject';
  /** Name of the request header that carries the key. Default: `'Idempotency-Key'`. */
  readonly header?: string;
  /** What identifies a caller without a principal. */
  readonly credentials?: CredentialOptions;
  /** Which keys are accepted. Default: 1 to 255 visible ASCII characters. */
  readonly keyFormat?: KeyFormat;
  /** Encrypts what records keep of requests and responses, with AES-256-GCM. Default: no encryption. */
  readonly encryption?: EncryptionOptions;
  /** When expired records are deleted; `false`: never. Default: every 60 s, 1000 a batch. */
  readonly sweep?: SweepOptions | false;
  /**
   * At boot, reports mutating routes without `@Idempotent()` and `@NotIdempotent()`, `@Idempotent()` where it has no effect, and handlers
   * with effects that an operation cannot hold. `'error'` fails the boot, except for the latter. Default: `'warn'`.
   */
  readonly audit?: 'off' | 'warn' | 'error';
  /** URL of your documentation of idempotency, for the `type` of problems and their `Link` header. Default: none. */
  readonly documentation?: string;
  /** How long the database may take to answer, before a request gets 503. Default: `'5s'`. */
  readonly storeTimeout?: Duration;
  /**
   * How many connections to PostgreSQL, MySQL or MariaDB the store may open beside the data source's pool, so that its statements do not
   * queue behind those of handlers. Never more than the pool has. They open when needed, and on PostgreSQL close when idle. 0: the store
   * uses the pool. Default: 4.
   */
  readonly storeConnections?: number;
  /** Begins the transactions of transactional operations instead of the library. Default: none. */
  readonly transactionHost?: TransactionHost;
}

/** Options that stand beside a factory, because the module needs them before the factory runs. */
export interface IdempotencyModuleExtras {
  /** Whether the module is visible everywhere. Default: `true`. */
  readonly isGlobal?: boolean;
  /** As {@link IdempotencyModuleOptions.dataSource}. */
  readonly dataSource?: string | DataSource;
}

/** Creates the options, for `useClass` and `useExisting` of `IdempotencyModule.forRootAsync()`. */
export interface IdempotencyOptionsFactory {
  /** Called once, at boot. */
  createIdempotencyOptions(): Promise<IdempotencyModuleOptions> | IdempotencyModuleOptions;
}

/** Options of `IdempotencyModule.forRootAsync()`: one of `useFactory`, `useClass` and `useExisting`. */
export interface IdempotencyModuleAsyncOptions extends IdempotencyModuleExtras, Pick<ModuleMetadata, 'imports'> {
  /** Returns the options, without `isGlobal` and `dataSource`. */
  readonly useFactory?: (...dependencies: never[]) => Promise<IdempotencyModuleOptions> | IdempotencyModuleOptions;
  /** The providers that `useFactory` gets, in the order of its parameters. Default: none. */
  readonly inject?: (InjectionToken | OptionalFactoryDependency)[];
  /** A class that Nest creates for this module, to return the options. */
  readonly useClass?: Type<IdempotencyOptionsFactory>;
  /** A provider of one of `imports` that returns the options. */
  readonly useExisting?: InjectionToken<IdempotencyOptionsFactory>;
}
