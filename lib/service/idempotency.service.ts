import { setTimeout as sleep } from 'node:timers/promises';
import { canonicalJson } from '../edges/content/canonical-json.js';
import type { Observable } from 'rxjs';
import { type DataSource, Not } from 'typeorm';
import { requestToKeep } from '../edges/content/request-to-keep.js';
import { ScopeDigest } from '../edges/caller/caller-digests.js';
import { runForValue } from './value-run.js';
import { packValue, unpackValue } from '../edges/content/value-outcome.js';
import { comparedContent } from '../edges/content/json-pointer.js';
import { packHead } from '../edges/content/response-head.js';
import { current } from '../engine/current-execution.js';
import type { IdempotencyEngine } from '../engine/engine.js';
import { UnreadableRecordError } from '../engine/errors.js';
import type { IdempotencyEvent } from '../engine/events.js';
import type { Execution as EngineExecution } from '../engine/execution.js';
import { bindFingerprint, digestIdentity, type IdentityDigest } from '../engine/identity.js';
import type { StoredOutcome } from '../engine/outcome.js';
import { LONGEST_RETENTION_MS } from '../engine/policy.js';
import { storedLabel } from '../engine/stored-text.js';
import type { Execution } from '../store/typeorm-execution.js';
import { duration } from '../options/checks.js';
import type { Duration } from '../options/duration.js';
import type { IdempotentOptions } from '../options/idempotency-options.js';
import type { ResolvedModuleOptions } from '../options/resolved-options.js';
import { mergeOptions } from '../options/merge-options.js';
import { resolveOperationOptions } from '../options/resolve-options.js';
import { problemOf, problemOfError } from '../problems/from-engine.js';
import { initialized } from '../store/data-source.js';
import { BESIDE } from '../store/dialects/dialect.js';
import { type IdempotencyRecord, IdempotencyStep } from '../store/entities/index.js';
import type { SqlRecordStore } from '../store/sql-record-store.js';
import { Sweeper } from '../store/sweeper.js';
import type { IdempotencyPolicy } from './policy.js';
import type { EventStream } from './event-stream.js';
import { checkFilters, scopeFilter, type ListOptions } from './filters.js';
import { type RecordStats, RecordView } from './record-view.js';

/** Requests have the database for themselves for so long between two batches, in milliseconds. */
const BATCH_PAUSE_MS = 20;

/** Names a record, within the option `namespace` of the module. */
export interface RecordIdentity {
  readonly key: string;
  /** The tenant or principal. Default: none. */
  readonly scope?: string;
  /** The host of the request, where its controller names one: `@Controller({ host })`. Default: none. */
  readonly host?: string;
  /** The name of the operation; method and route template for HTTP, such as `POST /payments/:id`. */
  readonly operation: string;
}

/** How {@link IdempotencyService.run} identifies an operation, and the request it stands for. */
export interface RunOptions
  extends
    RecordIdentity,
    Pick<
      IdempotentOptions,
      | 'onConflict'
      | 'waitTimeout'
      | 'lease'
      | 'retention'
      | 'afterCrash'
      | 'maxAttempts'
      | 'maxDuration'
      | 'transactional'
      | 'outcome'
      | 'request'
      | 'response'
    > {
  /**
   * What the operation works on, as JSON. Another input under the same key is refused. The record keeps it as the option
   * `request` says. Default: none, and not compared.
   */
  readonly input?: unknown;
}

/** Which records {@link IdempotencyService.forget} deletes, within the option `namespace` of the module. */
export interface ForgetOptions {
  /** The tenant or principal: what `request.user` has as its id, or what the option `scope` returns. */
  readonly scope: string;
}

/** The outcome of a held operation, as an operator found it out. */
export type Resolution =
  /** It did not happen: the next request with its key may run. */
  | 'release'
  /** It happened, with this HTTP response. */
  | {
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string | Uint8Array;
    }
  /** It happened, with this value ({@link IdempotencyService.run}). */
  | { readonly value: unknown };

/** How {@link IdempotencyService.resolve} settles a record. */
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

/** Idempotency beyond the decorator: for jobs, consumers and operators. */
export class IdempotencyService {
  /** What happens to records, as it happens in this process. */
  readonly events$: Observable<IdempotencyEvent>;

  private readonly engine: IdempotencyEngine;
  private readonly store: SqlRecordStore;
  private readonly dataSource: DataSource;
  private readonly options: ResolvedModuleOptions;
  private readonly records: RecordView;
  private readonly scopes: ScopeDigest;

  /** @internal */
  constructor(private readonly parts: IdempotencyServiceParts) {
    this.engine = parts.engine;
    this.store = parts.store;
    this.dataSource = parts.dataSource;
    this.options = parts.options;
    this.events$ = parts.events.events$;
    this.scopes = new ScopeDigest(parts.options);
    this.records = new RecordView(parts.dataSource, this.scopes);
  }

  /**
   * Runs `handler` at most once for a key, and returns its value; a duplicate gets the same value again: what JSON can
   * carry, dates, bigints, bytes, Maps and Sets; instances of other classes as plain objects. What `handler` throws frees
   * the key, but HTTP errors below 500, which are thrown again; `outcome` decides otherwise.
   *
   * @throws IdempotencyProblem where the operation is neither run nor answered
   * @throws TypeError for a key or an operation that is missing: all that have none would be one
   */
  async run<T>(options: RunOptions, handler: (execution: Execution) => Promise<T> | T): Promise<T> {
    const { key, scope, host, operation: endpoint, input, ...overrides } = options;
    const settings = {
      endpoint,
      options: resolveOperationOptions(mergeOptions(this.options.defaults, overrides)),
      errors: this.store,
      documentation: undefined,
    };
    const identity = this.identify('run', { key, scope, host, operation: endpoint });
    const { fingerprint, request } = settings.options;
    const compared = typeof fingerprint === 'object' ? comparedContent(input, fingerprint) : input;
    const text = canonicalJson(compared);
    const operation = {
      key,
      recordId: identity.recordId,
      endpoint: storedLabel(endpoint),
      route: null,
      scopeDigest: this.scopes.of(scope ?? ''),
      fingerprint: bindFingerprint(identity, text),
      binding: null,
      request: () => requestToKeep({ content: input, json: compared === input ? text : undefined }, request),
      policy: settings.options.policy,
    };
    const admission = await Promise.resolve(this.engine.admit(operation)).catch((error: unknown) => {
      throw problemOfError(error);
    });
    switch (admission.kind) {
      case 'run':
        return runForValue(admission.leased, settings, handler as (execution: EngineExecution) => Promise<T> | T);
      case 'replay':
        return (await unpackValue(admission.outcome).catch((error: unknown) => {
          throw error instanceof UnreadableRecordError ? problemOfError(error) : error;
        })) as T;
      case 'refuse':
        throw problemOf(admission.refusal);
    }
  }

  /** The execution that the caller runs in, through AsyncLocalStorage; `undefined` outside of one. */
  currentExecution(): Execution | undefined {
    return current()?.execution as Execution | undefined;
  }

  /** The rules for keys and how long they are good for, as a document to publish. */
  policy(): IdempotencyPolicy {
    return this.parts.policy();
  }

  /**
   * A record by its id, or by what names it. Bodies are as stored: sealed, where encryption is on. A record whose owner
   * died under `afterCrash: 'hold'` is `held`, whether or not anybody has asked since.
   */
  async find(record: string | RecordIdentity): Promise<IdempotencyRecord | null> {
    if (typeof record === 'string') return this.records.find(record);
    checkFilters('find', record, ['key', 'scope', 'host', 'operation']);
    return this.records.find(this.identify('find', record).recordId);
  }

  /**
   * Records, the newest first, with a status as in {@link find}. A record does not tell its namespace: where applications
   * share a table, the list has the records of all of them, but with `scope`, which is one of this application's.
   *
   * @throws TypeError for a filter that does not exist, or that is not what it should be
   */
  async list(options: ListOptions = {}): Promise<IdempotencyRecord[]> {
    return this.records.list(options);
  }

  /** The steps of a record in the order in which they were last written. Results are as stored: sealed, with encryption. */
  async steps(recordId: string): Promise<IdempotencyStep[]> {
    return initialized(this.dataSource)
      .getRepository(IdempotencyStep)
      .find({ where: { recordId, name: Not(BESIDE) }, order: { updatedAt: 'ASC' } });
  }

  /** Counts what is in the table. Reads all of it: for operators and slow schedules, not for requests. */
  stats(): Promise<RecordStats> {
    return this.records.stats();
  }

  /** Deletes a record, whatever its state: its key is as good as new. Whether there was one. */
  forget(recordId: string): Promise<boolean>;
  /**
   * Deletes all records of a scope, in batches, and returns how many: what is kept of a person, requests, responses and
   * steps. A record that is being executed stays, and `list({ scope })` shows it: ask again once it has ended. Records from
   * before the migration `KeepRouteAndScope` have no scope to be found by; they expire. The keys are as good as new: a client
   * that still retries runs its operation again.
   *
   * @throws TypeError without a scope, which would be all anonymous callers, and for a filter that does not exist
   */
  forget(records: ForgetOptions): Promise<number>;
  async forget(records: string | ForgetOptions): Promise<boolean | number> {
    if (typeof records === 'string') return this.store.forget(records);
    checkFilters('forget', records, ['scope']);
    const digests = this.scopes.all(scopeFilter('forget', records.scope));
    for (let forgotten = 0; ; await sleep(BATCH_PAUSE_MS)) {
      const batch = await this.store.forgetScope(digests, this.batch);
      forgotten += batch.forgotten;
      if (batch.found < this.batch) return forgotten;
    }
  }

  /**
   * Settles a held record, with the outcome of the operation, or `'release'`, and returns whether there was a held record.
   * The outcome is kept for the operation's own retention, counted from now, unless `options` say otherwise.
   *
   * @throws IdempotencyOptionError for a retention that is no duration
   */
  async resolve(recordId: string, resolution: Resolution, options: ResolveOptions = {}): Promise<boolean> {
    const { retention } = options;
    const retentionMs = retention === undefined ? null : duration('retention', retention, 0, LONGEST_RETENTION_MS);
    return this.store.resolveHeld(recordId, outcomeOf(resolution), retentionMs);
  }

  /**
   * Deletes all expired records now, in batches. How many.
   *
   * @param onProgress called after each batch with the number of records so far
   */
  purgeExpired(onProgress?: (purged: number) => void): Promise<number> {
    const sweeper = new Sweeper(
      (limit) => this.store.sweep(limit),
      () => undefined,
    );
    return sweeper.purge(this.batch, onProgress);
  }

  private get batch(): number {
    return this.options.sweep?.batch ?? 1_000;
  }

  /** Types do not stop JavaScript, nor a `job.id!` that is undefined after all. */
  private identify(method: string, { key, scope = '', host, operation }: RecordIdentity): IdentityDigest {
    for (const [name, value] of Object.entries({ key, operation })) {
      if (typeof value === 'string' && value !== '') continue;
      throw new TypeError(`IdempotencyService.${method}() needs \`${name}\`, a string that is not empty`);
    }
    for (const [name, value] of Object.entries({ scope, host: host ?? '' })) {
      if (typeof value !== 'string')
        throw new TypeError(`IdempotencyService.${method}() takes a string as \`${name}\``);
    }
    return digestIdentity({ namespace: this.options.namespace, host, scope, endpoint: operation, key });
  }
}

/** What the operators' page reads besides: it is part of the package, and not of what applications call. */
export function partsOf(service: IdempotencyService): IdempotencyServiceParts {
  return service['parts'];
}

/** @returns the outcome to record, or `null` where the record is freed */
export function outcomeOf(resolution: Resolution): StoredOutcome | null {
  if (resolution === 'release') return null;
  if ('value' in resolution) return packValue(resolution.value, Infinity);
  const { status, headers = {}, body } = resolution;
  return {
    code: status,
    head: packHead({ headers: Object.entries(headers) }),
    body: body === undefined ? null : Buffer.from(body as Uint8Array),
  };
}
