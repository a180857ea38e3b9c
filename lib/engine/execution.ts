import { AsyncLocalStorage } from 'node:async_hooks';
import { deriveUuid } from './identity.js';
import { MAX_RETENTION_MS } from './policy.js';
import { type StepRunner, type StepOptions, stepAfterEnd } from './steps.js';
import type { RecordState } from './ports/record-store.js';
import type { HandlerCalls } from './handler-calls.js';
import type { Operation } from './operation.js';

/** What this file needs of `CurrentExecution`, which imports it. */
interface Context {
  readonly execution: Execution;
  /** The context whose handler started this execution. */
  readonly outer: Context | undefined;
  /** Whether this is the context of a single call of the handler. */
  readonly isCall: boolean;
}

/** The execution that the running code belongs to. */
export const executionContext = new AsyncLocalStorage<Context | undefined>();

/** What a handler has set for the recording of its outcome. */
interface RecordingSettings {
  readonly store: boolean;
  readonly retentionMs?: number;
}

const RECORD: RecordingSettings = { store: true };

/**
 * The running execution of an idempotent operation, as its handler sees it.
 *
 * `Manager` is the store's handle on a transaction: TypeORM's `EntityManager` in this library.
 */
export class Execution<Manager = unknown> {
  /** The client's key, as text. */
  readonly key: string;
  /** 1 on a first run, and one more each time that the operation runs again. */
  readonly attempt: number;
  /**
   * The fencing token, which every claim of the record raises. Send it to a resource that refuses tokens lower than one it has seen, and
   * it refuses late writes of an execution that lost its lease. Not in a transactional operation: a database that crashes may forget
   * its claim, and give the same token to the next one. It begins again at 1 once the record has expired and is deleted.
   */
  readonly token: number;

  private controller: AbortController | undefined;
  private aborted: Error | undefined;
  private recording = RECORD;
  /** What interceptors had set before they called the handler. */
  private recordingBefore: RecordingSettings | undefined;
  /** @internal The call of the handler that began last. */
  lastCall: object | undefined;
  /** @internal */
  openTransaction: Manager | undefined;
  /** @internal */
  isLost = false;
  /** @internal */
  readonly endpoint: string;
  private readonly recordId: string;
  private readonly defaultRetentionMs: number;

  constructor(
    { key, recordId, endpoint, policy }: Operation,
    { attempt, token }: Pick<RecordState, 'attempt' | 'token'>,
    /** @internal */
    readonly calls: HandlerCalls,
    private leased: { readonly steps: StepRunner } | undefined,
  ) {
    this.key = key;
    this.attempt = attempt;
    this.token = token;
    this.endpoint = endpoint;
    this.recordId = recordId;
    this.defaultRetentionMs = policy.retentionMs;
  }

  /**
   * Aborts when the lease is lost, because the outcome can no longer be recorded. Also aborts when the operation has run for
   * `maxDuration`, because its lease is no longer renewed. The reason is a `LeaseLostError` or a `MaxDurationError`.
   *
   * @example
   * const charge = await psp.charge(amount, { signal: execution.signal });
   */
  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController();
      if (this.aborted) this.controller.abort(this.aborted);
    }
    return this.controller.signal;
  }

  /**
   * The transaction's `EntityManager`. What is written through it commits together with the outcome.
   *
   * @throws Error where the operation is not `transactional`, and in code that an earlier call of the handler has left running
   *
   * @example
   * await execution.manager.save(Payment, payment);
   */
  get manager(): Manager {
    if (this.isLeftBehind) {
      throw new Error(
        'execution.manager is used by a call of the handler that has ended: its transaction is rolled back, and another one open',
      );
    }
    if (!this.openTransaction) {
      throw new Error(
        'execution.manager is there in transactional operations only: @Idempotent({ transactional: true })',
      );
    }
    return this.openTransaction;
  }

  /**
   * Runs `fn` once for this operation, however many attempts the operation takes. The result is recorded at once, and later attempts
   * return it: JSON values, dates, bigints, bytes, Maps, Sets and errors. An instance of another class, such as a `Decimal`, comes back as what
   * `JSON.stringify()` makes of it. A result that JSON cannot carry, such as the `Response` of `fetch()`, is
   * returned on this attempt only; later, `verify` has to find it, or the record is held.
   *
   * If the process dies inside `fn`, it is unknown whether the effect happened. Then `verify` decides: it returns the result if the step
   * happened, `undefined`, `null` or `false` if it did not. Without `verify`, `afterCrash` decides: `'rerun'` runs the step again, `'hold'`
   * holds the record. A step whose `fn` threw runs again at the next call, after `verify` where there is one. If `fn` itself cannot know
   * whether it had its effect, it throws a `StepUnknownError`, which holds the record.
   *
   * In a transactional operation, use steps for effects elsewhere. Writes of `fn` through `manager` are refused: a rollback would undo
   * them while the step stays recorded.
   *
   * The end of an operation waits for steps that still run, as behind a `Promise.all()` that has failed.
   *
   * @param name unique within the operation, at most 191 characters; the same in every release while operations may be unfinished
   * @throws RangeError for a name that is empty or too long
   * @throws Error for a name that is used twice, and after the end of the operation
   * @throws LeaseLostError where the execution has lost its record
   * @throws StepUnknownError where the outcome of the step is unknown and the record is held
   * @throws StepInTransactionError where `fn` writes through `manager`
   * @throws TypeError for an Observable, whose work would never happen: return its promise
   *
   * @example
   * const charge = await execution.step('charge', () => psp.charge(execution.deriveKey('charge'), amount));
   */
  step<T>(name: string, fn: () => Promise<T> | T, options?: StepOptions<T>): Promise<T> {
    if (!this.leased) return Promise.reject(stepAfterEnd(name));
    return this.leased.steps.run(name, fn, options, this.callOfCaller);
  }

  /**
   * Returns a UUID that is the same on every attempt of this operation, and different for each `name`: the idempotency key of a
   * downstream call. It reveals nothing of the client's key.
   *
   * @example
   * await psp.charge(amount, { idempotencyKey: execution.deriveKey('charge') });
   */
  deriveKey(name: string): string {
    return deriveUuid(this.recordId, this.key, name);
  }

  /**
   * Prevents the recording of this outcome, and frees the key. A transactional operation is rolled back, because a retry would otherwise
   * write everything twice.
   */
  doNotStore(): void {
    this.set({ store: false });
  }

  /**
   * Sets how long the outcome is replayed, in milliseconds from its completion. Longer than a thousand years counts as a thousand
   * years, because databases have no later dates. Default: the option `retention`.
   *
   * @throws RangeError for anything but a number above zero
   */
  setRetention(ms: number): void {
    if (!Number.isFinite(ms) || ms <= 0) throw new RangeError('setRetention takes a number of milliseconds above zero');
    this.set({ retentionMs: Math.min(ms, MAX_RETENTION_MS) });
  }

  /** @internal */
  get storable(): boolean {
    return this.recording.store;
  }

  /** @internal */
  get retentionMs(): number {
    return this.recording.retentionMs ?? this.defaultRetentionMs;
  }

  /** @internal Resets what an earlier call of the handler has set. */
  beginCall(call: object): void {
    this.recordingBefore ??= this.recording;
    this.recording = this.recordingBefore;
    this.lastCall = call;
  }

  /**
   * @internal Drops all references to the request. A connection that the handler has opened for a pool keeps the handler's async
   * context, and this object with it.
   */
  end(): void {
    this.leased = undefined;
    this.calls.forget();
  }

  /** @internal */
  lose(reason: Error): void {
    this.isLost = true;
    this.abort(reason);
  }

  /** @internal */
  abort(reason: Error): void {
    this.aborted ??= reason;
    this.controller?.abort(reason);
  }

  private set(settings: Partial<RecordingSettings>): void {
    if (!this.isLeftBehind) this.recording = { ...this.recording, ...settings };
  }

  /** Whether the caller belongs to an earlier call of the handler, which a later call has replaced. */
  private get isLeftBehind(): boolean {
    const call = this.callOfCaller;
    return call !== undefined && call !== this.lastCall;
  }

  /** The call of the handler that the caller belongs to, if there is one. */
  private get callOfCaller(): object | undefined {
    const context = this.contextOfCaller;
    return context?.isCall ? context : undefined;
  }

  /** @internal Whether the caller runs within this execution: in its handler, or in an operation that this has begun. */
  get includesCaller(): boolean {
    return this.contextOfCaller !== undefined;
  }

  private get contextOfCaller(): Context | undefined {
    let at = executionContext.getStore();
    while (at && at.execution !== this) at = at.outer;
    return at;
  }
}
