import { setTimeout as sleep } from 'node:timers/promises';
import { canonicalJson } from '../edges/content/canonical-json.js';
import { defer, lastValueFrom, Observable } from 'rxjs';
import { type DataSource, Not } from 'typeorm';
import { requestToKeep } from '../edges/content/request-to-keep.js';
import { ScopeDigest } from '../edges/caller/caller-digests.js';
import { unpackValue } from '../edges/content/value-outcome.js';
import { comparedContent } from '../edges/content/json-pointer.js';
import { OpenTransactions } from '../edges/values/open-transactions.js';
import { PipelineRun } from '../edges/values/pipeline-run.js';
import { current } from '../engine/current-execution.js';
import type { IdempotencyEngine } from '../engine/engine.js';
import { UnreadableRecordError } from '../engine/errors.js';
import type { IdempotencyEvent } from '../engine/events.js';
import { bindFingerprint, digestIdentity, type IdentityDigest } from '../engine/identity.js';
import { noNack, noObservable } from '../engine/observables.js';
import { MAX_RETENTION_MS } from '../engine/policy.js';
import { storedLabel } from '../engine/stored-text.js';
import type { Execution } from '../store/typeorm-execution.js';
import { duration } from '../options/checks.js';
import type { Duration } from '../options/duration.js';
import type { IdempotentOptions } from '../options/idempotency-options.js';
import type { ResolvedModuleOptions } from '../options/resolved-options.js';
import { mergeOptions } from '../options/merge-options.js';
import { onBehalfOf } from '../options/option-error.js';
import { checkOperationOptionNames, resolveOperationOptions } from '../options/resolve-options.js';
import { problemOf, problemOfError } from '../problems/from-engine.js';
import { LEASE_ROW } from '../store/dialects/dialect.js';
import { type IdempotencyRecord, IdempotencyStep } from '../store/entities/index.js';
import { queryOf } from '../store/entity-query.js';
import type { SqlRecordStore } from '../store/sql-record-store.js';
import { Sweeper } from '../store/sweeper.js';
import type { IdempotencyPolicy } from './policy.js';
import type { EventStream } from './event-stream.js';
import { checkFilters, scopeFilter, type ListOptions } from './filters.js';
import { type RecordStats, RecordView } from './record-view.js';
import { answersOverHttp, fits, outcomeOf, type Resolution } from './resolution.js';

/** The pause between two batches of a deletion, in milliseconds. Without it, requests would wait behind the deletion. */
const BATCH_PAUSE_MS = 20;

/** Identifies a record, within the option `namespace` of the module. */
export interface RecordIdentity {
  /** The idempotency key, as the client sent it. */
  readonly key: string;
  /** The tenant or principal. Default: none. */
  readonly scope?: string;
  /** The host of the request, where its controller names one: `@Controller({ host })`. Default: none. */
  readonly host?: string;
  /** The name of the operation; method and route template for HTTP, such as `POST /payments/:id`. */
  readonly operation: string;
}

/** Options of {@link IdempotencyService.run}. */
export interface RunOptions
  extends
    RecordIdentity,
    Omit<IdempotentOptions, 'operation' | 'shared' | 'audit' | 'required' | 'key' | 'scope' | 'fingerprint'> {
  /**
   * The input of the operation, as JSON. Another input under the same key gets 422 `key-reused`. The option `request` says whether the
   * record keeps it. Default: none, and nothing is compared.
   */
  readonly input?: unknown;
}

/** Which records {@link IdempotencyService.forget} deletes, within the option `namespace` of the module. */
export interface ForgetOptions {
  /** The tenant or principal: what `request.user` has as its id, or what the option `scope` returns. */
  readonly scope: string;
}

/** Options of {@link IdempotencyService.resolve}. */
export interface ResolveOptions {
  /** How long the outcome is replayed from now. Default: the retention of the operation. */
  readonly retention?: Duration;
}

export interface IdempotencyServiceParts {
  readonly engine: IdempotencyEngine;
  readonly store: SqlRecordStore;
  readonly dataSource: DataSource;
  readonly options: ResolvedModuleOptions;
  readonly events: EventStream;
  readonly policy: () => IdempotencyPolicy;
}

/** Idempotency for code outside of controllers, such as jobs and consumers, and for operators. */
export class IdempotencyService {
  /** What this process does with records, as it happens. Subscribers run within the request: they must not block. */
  readonly events$: Observable<IdempotencyEvent>;

  private readonly records: RecordView;
  private readonly scopes: ScopeDigest;
  private readonly openTransactions = new OpenTransactions('caller');

  /** @internal */
  constructor(private readonly parts: IdempotencyServiceParts) {
    this.events$ = parts.events.events$;
    this.scopes = new ScopeDigest(parts.options);
    this.records = new RecordView(parts.dataSource, this.scopes);
  }

  /**
   * Runs `handler` once for a key, and returns its value. A duplicate gets the same value: JSON values, dates, bigints, bytes, Maps,
   * Sets and errors; instances of other classes become plain objects. An error of `handler` frees the key, except HTTP errors below 500: a
   * duplicate gets these again. The option `outcome` changes this. A value that JSON cannot carry, such as the `Response` of
   * `fetch()`, is not kept.
   *
   * @throws IdempotencyProblem where the operation neither runs nor has a value, such as 409 `in-progress`
   * @throws TypeError for a missing key or operation: all calls without one would share a record; for an Observable, whose work would never
   * happen: return its promise; for a `Nack`: throw instead
   *
   * @example
   * const receipt = await idempotency.run({ key: job.id, operation: 'settle', input: job.data }, (execution) =>
   *   execution.step('charge', () => psp.charge(job.data)),
   * );
   */
  async run<T>(options: RunOptions, handler: (execution: Execution) => Promise<T> | T): Promise<T> {
    const { key, scope, host, operation: name, input, ...overrides } = options;
    const identity = this.identify('run', { key, scope, host, operation: name });
    const endpoint = storedLabel(name);
    const settings = {
      endpoint,
      options: onBehalfOf('IdempotencyService.run()', () => {
        checkOperationOptionNames(overrides);
        return resolveOperationOptions(mergeOptions(this.parts.options.defaults, overrides));
      }),
      errors: this.parts.store,
      documentation: undefined,
    };
    const { fingerprint, request } = settings.options;
    const compared = typeof fingerprint === 'object' ? comparedContent(input, fingerprint) : input;
    const text = canonicalJson(compared);
    const operation = {
      key,
      recordId: identity.recordId,
      endpoint,
      route: null,
      scopeDigest: this.scopes.of(scope ?? ''),
      fingerprint: bindFingerprint(identity, text),
      binding: null,
      request: () => requestToKeep({ content: input, json: compared === input ? text : undefined }, request),
      policy: settings.options.policy,
      beginsInDrain: true,
    };
    const admission = await Promise.resolve(this.parts.engine.admit(operation)).catch((error: unknown) => {
      throw problemOfError(error);
    });
    switch (admission.kind) {
      case 'run': {
        const { leased } = admission;
        const handle = () => handler(leased.execution as Execution);
        const of = `run() of ${endpoint}: its handler`;
        const call = async () => current()!.call(handle, (value) => noNack(noObservable(value, of), of));
        const values = new Observable((subscriber) => {
          const run = new PipelineRun(
            leased,
            { ...settings, handler, watched: true },
            subscriber,
            this.openTransactions,
          );
          run.run(() => defer(call)).catch((error: unknown) => subscriber.error(asProblem(error)));
        });
        return (await lastValueFrom(values)) as T;
      }
      case 'replay':
        return (await unpackValue(admission.outcome).catch((error: unknown) => {
          throw asProblem(error);
        })) as T;
      case 'refuse':
        throw problemOf(admission.refusal);
    }
  }

  /** Returns the execution that the caller runs in, or `undefined` outside of one. Uses AsyncLocalStorage. */
  currentExecution(): Execution | undefined {
    return current()?.execution as Execution | undefined;
  }

  /** Returns the rules for keys and how long outcomes are replayed, as a document to publish. */
  policy(): IdempotencyPolicy {
    return this.parts.policy();
  }

  /**
   * Returns a record by its id or identity, or `null`. Bodies are as stored: encrypted, with the option `encryption`. A record whose owner
   * died under `afterCrash: 'hold'` is `held`, even before the next request.
   *
   * @example
   * await idempotency.find({ key, scope: user.id, operation: 'POST /payments' });
   */
  async find(record: string | RecordIdentity): Promise<IdempotencyRecord | null> {
    if (typeof record === 'string') return this.records.find(record);
    checkFilters('find', record, ['key', 'scope', 'host', 'operation']);
    return this.records.find(this.identify('find', record).recordId);
  }

  /**
   * Returns records, the newest first, with a status as in {@link find}. A record does not contain its namespace: where applications share
   * a table, the list has the records of all of them, unless it is filtered by `scope`.
   *
   * @throws TypeError for a filter that does not exist or has a wrong type
   * @throws RangeError where `before` is the id of a record that does not exist
   */
  async list(options: ListOptions = {}): Promise<IdempotencyRecord[]> {
    return this.records.list(options);
  }

  /** Returns the steps of a record in the order of their last write. Results are as stored: encrypted, with `encryption`. */
  async steps(recordId: string): Promise<IdempotencyStep[]> {
    return queryOf(this.parts.dataSource, IdempotencyStep, 's')
      .where({ recordId, name: Not(LEASE_ROW) })
      .orderBy('s.updatedAt', 'ASC')
      .getMany();
  }

  /** Counts the records. Reads the whole table: for operators and slow schedules, not for requests. */
  stats(): Promise<RecordStats> {
    return this.records.stats();
  }

  /** Deletes a record in any state, and returns whether it existed. The next request with its key runs the operation again. */
  forget(recordId: string): Promise<boolean>;
  /**
   * Deletes all records of a scope in batches, with their requests, responses and steps, and returns their number. A client that still
   * retries runs its operation again.
   *
   * A record in processing stays, and `list({ scope })` shows it: call again once it has ended. Records from before the migration
   * `KeepRouteAndScope` have no scope, and expire.
   *
   * @throws TypeError without a scope, which would match all anonymous callers, and for an unknown filter
   */
  forget(records: ForgetOptions): Promise<number>;
  async forget(records: string | ForgetOptions): Promise<boolean | number> {
    if (typeof records === 'string') return this.parts.store.forget(records);
    checkFilters('forget', records, ['scope']);
    const digests = this.scopes.all(scopeFilter('forget', records.scope));
    for (let forgotten = 0; ; await sleep(BATCH_PAUSE_MS)) {
      const batch = await this.parts.store.forgetScope(digests, this.batch);
      forgotten += batch.forgotten;
      if (batch.found < this.batch) return forgotten;
    }
  }

  /**
   * Resolves a held record by an outcome, or by `'release'`, and returns whether a held record existed. The outcome is replayed for the
   * operation's retention from now on, unless `options` set another one.
   *
   * @throws IdempotencyOptionError for a retention that is not a duration
   * @throws TypeError for a resolution that is none of these, and for an outcome that is not of the operation's kind: retries over HTTP
   *   cannot be answered with a value
   *
   * @example
   * await idempotency.resolve(record.id, { status: 201, body: JSON.stringify(payment) });
   */
  async resolve(recordId: string, resolution: Resolution, options: ResolveOptions = {}): Promise<boolean> {
    const retentionMs = onBehalfOf('IdempotencyService.resolve()', () =>
      duration(null, MAX_RETENTION_MS)(options.retention, 'retention'),
    );
    const outcome = outcomeOf(resolution);
    const record = outcome && (await this.find(recordId));
    if (record && !fits(resolution, record)) {
      const needed = answersOverHttp(record) ? 'over HTTP: { status, headers, body }' : 'with a value: { value }';
      throw new TypeError(`IdempotencyService.resolve(): ${record.endpoint} answers ${needed}`);
    }
    return this.parts.store.resolveHeld(recordId, outcome, retentionMs);
  }

  /**
   * Deletes all expired records now, in batches, and returns their number.
   *
   * @param onProgress called after each batch with the number of records deleted so far
   */
  purgeExpired(onProgress?: (purged: number) => void): Promise<number> {
    const sweeper = new Sweeper(
      (limit) => this.parts.store.sweep(limit),
      () => undefined,
    );
    return sweeper.purge(this.batch, onProgress);
  }

  private get batch(): number {
    return this.parts.options.sweep?.batch ?? 1_000;
  }

  /** Checks at run time, because types stop neither JavaScript nor a `job.id!` that is undefined. */
  private identify(method: string, { key, scope = '', host, operation }: RecordIdentity): IdentityDigest {
    for (const [name, value] of Object.entries({ key, operation })) {
      if (typeof value === 'string' && value !== '') continue;
      throw new TypeError(`IdempotencyService.${method}() needs \`${name}\`, a string that is not empty`);
    }
    for (const [name, value] of Object.entries({ scope, host: host ?? '' })) {
      if (typeof value !== 'string')
        throw new TypeError(`IdempotencyService.${method}() takes a string as \`${name}\``);
    }
    return digestIdentity({ namespace: this.parts.options.namespace, host, scope, endpoint: operation, key });
  }
}

/** Returns the problem for a record that cannot be read, and any other error as it is. */
function asProblem(error: unknown): unknown {
  return error instanceof UnreadableRecordError ? problemOfError(error) : error;
}

/** Returns what the dashboard needs of a service beyond its public methods. */
export function partsOf(service: IdempotencyService): IdempotencyServiceParts {
  return service['parts'];
}
