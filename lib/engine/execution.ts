import { callOf } from './execution-context.js';
import { deriveUuid } from './identity.js';
import { LONGEST_RETENTION_MS } from './policy.js';
import type { StepRunner, StepOptions } from './steps.js';
import type { RecordState } from './ports/record-store.js';
import type { HandlerCalls } from './handler-calls.js';
import type { Operation } from './operation.js';

/** What a handler says of its outcome. */
interface Said {
  readonly store: boolean;
  readonly retention?: number;
}

const NOTHING_SAID: Said = { store: true };

/**
 * The running execution of an idempotent operation, as its handler sees it.
 *
 * `Manager` is the store's handle on a transaction: TypeORM's `EntityManager` in this library.
 */
export class Execution<Manager = unknown> {
  /** 1 on a first run; one more each time the operation was begun again. */
  readonly attempt: number;
  /**
   * The fencing token: grows at every claim of the record. Hand it to a resource that can refuse a token lower than one
   * it has seen, and late writes of a lost execution are refused there too. Not that of a transactional
   * operation: its claim may be forgotten by a database that crashes, and be made again.
   */
  readonly token: number;

  private controller: AbortController | undefined;
  private lost: Error | undefined;
  private aborted: Error | undefined;
  private currentManager: Manager | undefined;
  private said: Said = NOTHING_SAID;
  /** What interceptors had said before the handler was called. */
  private saidBefore: Said | undefined;
  /** The call of the handler that began last. */
  private call: object | undefined;

  constructor(
    private readonly operation: Operation,
    { attempt, token }: Pick<RecordState, 'attempt' | 'token'>,
    /** @internal */
    readonly calls: HandlerCalls,
    private readonly leased: { readonly steps: StepRunner },
  ) {
    this.attempt = attempt;
    this.token = token;
  }

  /** The client's key, as text. */
  get key(): string {
    return this.operation.key;
  }

  /**
   * Aborted when the lease is lost, from when on the outcome of this execution will not be recorded, and when the
   * operation runs for longer than `maxDuration`, after which its lease is no longer renewed.
   */
  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController();
      if (this.aborted) this.controller.abort(this.aborted);
    }
    return this.controller.signal;
  }

  /**
   * The transaction's `EntityManager`. Write through it, and the writes commit together with the outcome.
   *
   * @throws Error where the operation is not `transactional`, and for what an earlier call of the handler has left running
   */
  get manager(): Manager {
    if (this.isLeftBehind) {
      throw new Error(
        'execution.manager is used by a call of the handler that has ended: its transaction is rolled back, and another one open',
      );
    }
    if (!this.currentManager) {
      throw new Error(
        'execution.manager is there in transactional operations only: @Idempotent({ transactional: true })',
      );
    }
    return this.currentManager;
  }

  /**
   * Runs `fn` once for this operation, however often the operation is begun again. Its result is recorded at once, and
   * returned on later attempts: what JSON can carry, dates, bigints, bytes, Maps and Sets. A result that cannot be kept
   * is returned on this attempt; on a later one `verify` has to find it, or the record is held.
   *
   * If the process dies inside `fn`, whether it happened is unknown. `verify` then decides: it returns the result if
   * the step did happen, `undefined` or `null` if it did not. Without `verify`, `afterCrash` decides: `'rerun'` runs the
   * step again, `'hold'` holds the record. A step whose `fn` threw runs again when the handler, or a later attempt, calls
   * it again, after asking `verify` where there is one.
   *
   * In a transactional operation, keep steps for effects elsewhere. What `fn` writes through `manager` could be rolled
   * back after the step was recorded, and is refused.
   *
   * @param name unique within the operation, at most 191 characters
   * @throws RangeError for a name that is empty or too long
   * @throws LeaseLostError where the execution has lost its record
   * @throws StepUnknownError where the outcome of the step is unknown and the record is held
   * @throws StepInTransactionError where `fn` writes through `manager`
   *
   * @example
   * const charge = await execution.step('charge', () => psp.charge(execution.deriveKey('charge'), amount));
   */
  step<T>(name: string, fn: () => Promise<T> | T, options?: StepOptions<T>): Promise<T> {
    return this.leased.steps.run(name, fn, options, callOf(this));
  }

  /**
   * A UUID that is the same on every attempt of this operation: the idempotency key for a downstream call. Different
   * for each name, and useless for guessing the client's key.
   */
  deriveKey(name: string): string {
    return deriveUuid(this.operation.recordId, this.operation.key, name);
  }

  /**
   * Does not record the outcome of this execution: the key is free for another try. A transactional operation is rolled back,
   * so that the other try does not do it twice.
   */
  doNotStore(): void {
    this.say({ store: false });
  }

  /**
   * Sets how long the outcome is replayed, in milliseconds from its completion; at most a thousand years, as databases
   * have no later dates.
   *
   * @throws RangeError for what is no number above zero
   */
  setRetention(ms: number): void {
    if (!Number.isFinite(ms) || ms <= 0) throw new RangeError('setRetention takes a number of milliseconds above zero');
    this.say({ retention: Math.min(ms, LONGEST_RETENTION_MS) });
  }

  /** @internal */
  get endpoint(): string {
    return this.operation.endpoint;
  }

  /** @internal */
  get openTransaction(): Manager | undefined {
    return this.currentManager;
  }

  /** @internal */
  get storable(): boolean {
    return this.said.store;
  }

  /** @internal */
  get retentionMs(): number {
    return this.said.retention ?? this.operation.policy.retentionMs;
  }

  /** @internal What an earlier call of the handler has said does not count for the next one. */
  beginCall(call: object): void {
    this.saidBefore ??= this.said;
    this.said = this.saidBefore;
    this.call = call;
  }

  /** @internal */
  isLastCall(call: object): boolean {
    return this.call === call;
  }

  /** @internal */
  useManager(manager: Manager | undefined): void {
    this.currentManager = manager;
  }

  /** @internal */
  get isLost(): boolean {
    return this.lost !== undefined;
  }

  /** @internal */
  lose(reason: Error): void {
    this.lost = reason;
    this.abort(reason);
  }

  /** @internal */
  abort(reason: Error): void {
    this.aborted ??= reason;
    this.controller?.abort(reason);
  }

  private say(what: Partial<Said>): void {
    if (!this.isLeftBehind) this.said = { ...this.said, ...what };
  }

  /** Whether the caller is what a call of the handler has left running, after another one has begun. */
  private get isLeftBehind(): boolean {
    const call = callOf(this);
    return call !== undefined && call !== this.call;
  }
}
