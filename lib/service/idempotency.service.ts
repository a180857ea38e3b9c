import canonicalize from 'canonicalize';
import type { Observable } from 'rxjs';
import { type DataSource, type EntityManager, type FindOptionsWhere, LessThan } from 'typeorm';
import { runForValue } from '../edges/value-run.js';
import { unpackValue } from '../edges/value-outcome.js';
import { packHead } from '../edges/http/response-head.js';
import { current } from '../engine/current-execution.js';
import type { IdempotencyEngine } from '../engine/engine.js';
import type { IdempotencyEvent } from '../engine/events.js';
import type { Execution } from '../engine/execution.js';
import { bindFingerprint, digestIdentity } from '../engine/identity.js';
import type { StoredOutcome } from '../engine/outcome.js';
import type { RecordStatus } from '../engine/ports/record-store.js';
import type { IdempotentOptions } from '../options/idempotency-options.js';
import type { ResolvedModuleOptions } from '../options/resolved-options.js';
import { resolveOperationOptions } from '../options/resolve-options.js';
import { problemOf, problemOfError } from '../problems/from-engine.js';
import { IdempotencyRecord } from '../store/entities/index.js';
import type { SqlRecordStore } from '../store/sql-record-store.js';
import { Sweeper } from '../store/sweeper.js';
import { packValue } from '../edges/value-outcome.js';
import type { IdempotencyPolicy } from './policy.js';
import type { EventStream } from './event-stream.js';

/** Names a record. */
export interface RecordIdentity {
  readonly key: string;
  /** The tenant or principal. Default: none. */
  readonly scope?: string;
  /** The name of the operation; method and route template for HTTP, such as `POST /payments/:id`. */
  readonly operation: string;
}

/** What {@link IdempotencyService.run} is told of an operation. */
export interface RunOptions
  extends
    RecordIdentity,
    Pick<
      IdempotentOptions,
      'onConflict' | 'waitTimeout' | 'lease' | 'retention' | 'afterCrash' | 'transactional' | 'outcome' | 'response'
    > {
  /** What the operation works on, as JSON: another input under the same key is refused. Default: not compared. */
  readonly input?: unknown;
}

/** What came of a held operation. */
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

export interface ListOptions {
  readonly status?: RecordStatus;
  readonly operation?: string;
  /** Only records created before this time: for paging, as the newest come first. */
  readonly before?: Date;
  /** Default: 100. */
  readonly limit?: number;
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

  constructor(private readonly parts: IdempotencyServiceParts) {
    this.engine = parts.engine;
    this.store = parts.store;
    this.dataSource = parts.dataSource;
    this.options = parts.options;
    this.events$ = parts.events.events$;
  }

  /**
   * Runs `handler` at most once for a key, and returns its value; a duplicate gets the same value again: what JSON can
   * carry, dates, bigints, bytes, Maps and Sets; instances of other classes as plain objects. What `handler` throws frees the key, but HTTP errors below 500, which are thrown again; `outcome` decides
   * otherwise.
   *
   * @throws IdempotencyProblem where the operation is neither run nor answered
   */
  async run<T>(options: RunOptions, handler: (execution: Execution<EntityManager>) => Promise<T> | T): Promise<T> {
    const { key, scope = '', operation: endpoint, input, ...overrides } = options;
    const resolved = resolveOperationOptions({ ...this.options.defaults, ...overrides });
    const identity = digestIdentity({ scope, endpoint, key });
    const json = canonicalize(input) ?? '';
    const keep = this.options.request.store && json !== '' && json.length <= this.options.request.maxBytes;
    const admission = await this.engine
      .admit({
        key,
        recordId: identity.recordId,
        endpoint: endpoint.slice(0, 255),
        fingerprint: bindFingerprint(identity, json),
        binding: null,
        request: keep ? Buffer.from(json) : null,
        policy: resolved.policy,
      })
      .catch((error: unknown) => {
        throw problemOfError(error);
      });
    switch (admission.kind) {
      case 'run':
        return runForValue(admission.tenure, resolved, handler as (execution: Execution) => Promise<T> | T);
      case 'replay':
        return (await unpackValue(admission.outcome)) as T;
      case 'refuse':
        throw problemOf(admission.refusal);
    }
  }

  /** The execution that the caller runs in, through AsyncLocalStorage; `undefined` outside of one. */
  currentExecution(): Execution<EntityManager> | undefined {
    return current()?.execution as Execution<EntityManager> | undefined;
  }

  /** The rules for keys and how long they are good for, as a document to publish. */
  policy(): IdempotencyPolicy {
    return this.parts.policy();
  }

  /** A record by its id, or by what names it. Bodies are as stored: sealed, where encryption is on. */
  find(record: string | RecordIdentity): Promise<IdempotencyRecord | null> {
    const id =
      typeof record === 'string'
        ? record
        : digestIdentity({ scope: record.scope ?? '', endpoint: record.operation, key: record.key }).recordId;
    return this.dataSource.getRepository(IdempotencyRecord).findOneBy({ id });
  }

  /** Records, the newest first. */
  list({ status, operation, before, limit = 100 }: ListOptions = {}): Promise<IdempotencyRecord[]> {
    const where: FindOptionsWhere<IdempotencyRecord> = {
      ...(status && { status }),
      ...(operation && { endpoint: operation }),
      ...(before && { createdAt: LessThan(before) }),
    };
    return this.dataSource.getRepository(IdempotencyRecord).find({ where, order: { createdAt: 'DESC' }, take: limit });
  }

  /** Deletes a record, whatever its state: its key is as good as new. Whether there was one. */
  forget(recordId: string): Promise<boolean> {
    return this.store.forget(recordId);
  }

  /** Settles a held record: with what came of the operation, or `'release'`. Whether there was a held record. */
  async resolve(recordId: string, resolution: Resolution): Promise<boolean> {
    if (resolution === 'release') return this.store.resolveHeld(recordId, null);
    const outcome = 'value' in resolution ? packValue(resolution.value, Infinity) : packResponse(resolution);
    const { retentionMs } = resolveOperationOptions(this.options.defaults).policy;
    return this.store.resolveHeld(recordId, { outcome, retentionMs });
  }

  /** Deletes all expired records now. How many. */
  purgeExpired(): Promise<number> {
    const sweeper = new Sweeper(
      (limit) => this.store.sweep(limit),
      () => undefined,
    );
    return sweeper.purge(this.options.sweep?.batch ?? 1_000);
  }
}

function packResponse(resolution: Exclude<Resolution, 'release' | { value: unknown }>): StoredOutcome {
  const { status, headers = {}, body } = resolution;
  return {
    code: status,
    head: packHead({ headers: Object.entries(headers) }),
    body: body === undefined ? null : Buffer.from(body as Uint8Array),
  };
}
