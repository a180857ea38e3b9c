import { concatMap, defer, Observable, type Subscriber } from 'rxjs';
import { CurrentExecution, runWithin } from '../../engine/current-execution.js';
import { isThenable } from '../../engine/handler-calls.js';
import type { LeasedExecution } from '../../engine/leased-execution.js';
import { hasMethod } from '../../engine/observables.js';
import type { HandlerResult, RecordingResult } from '../../engine/recorder.js';
import { toValueJson } from '../../engine/value-json.js';
import { errorOfHandler } from '../../problems/from-engine.js';
import { type Answer, unpackAnswer } from '../content/value-outcome.js';
import { answerInstead, type RunSettings, STORE_WITHOUT_RESPONSE } from '../shared/run-end.js';
import type { OpenTransactions } from './open-transactions.js';
import { resultOf, unkeptResult } from './value-result.js';

/**
 * The states of a run.
 *
 * - `'holding'`: the inner pipeline runs, and its values are held. Left for `'ended'` when it completes or fails, and for
 *   `'passing'` when its values are too large to store or take longer than the lease, and that is recorded.
 * - `'ended'`: the inner pipeline has ended. Left for `'passing'` when the result is recorded.
 * - `'passing'`: the outer interceptors get what was held, and later values as they come.
 */
type Phase = 'holding' | 'ended' | 'passing';

/**
 * Runs the inner pipeline of a message handler or a mutation, or the function of `IdempotencyService.run()`, for the request that owns
 * the record. Holds its values until they are committed: a client that saw a value must get the same one from a retry.
 *
 * The run never unsubscribes from the handler. When an inner interceptor gives up on the handler, its own answer is sent at once and
 * not stored, and the key is taken until the handler has ended.
 */
export class PipelineRun {
  private readonly current: CurrentExecution;
  private readonly result: Promise<HandlerResult>;
  private settleResult!: (result: HandlerResult) => void;
  private phase: Phase = 'holding';
  /** The answer so far. */
  private readonly values: unknown[] = [];
  private thrown: Answer['thrown'];
  private heldBytes = 0;
  private holdTimer: NodeJS.Timeout | undefined;

  /**
   * @param subscriber the outer interceptors
   * @param serialize returns what the record keeps of a value, or the promise of it, if it is not the value itself
   * @param isEvent whether no client asks again for what did not begin
   */
  constructor(
    private readonly leased: LeasedExecution,
    private readonly settings: RunSettings,
    private readonly subscriber: Subscriber<unknown>,
    private readonly openTransactions: OpenTransactions,
    private readonly serialize?: (value: unknown) => unknown,
    private readonly isEvent = false,
  ) {
    this.current = CurrentExecution.of(leased.execution, settings.handler, followStream);
    this.result = new Promise((resolve) => (this.settleResult = resolve));
  }

  /**
   * @param handle calls the inner pipeline
   * @param onRecorded called before the subscriber gets its answer
   * @throws UnreadableRecordError where the answer on record cannot be read
   */
  async run(handle: () => Observable<unknown>, onRecorded: () => void = () => undefined): Promise<void> {
    this.subscriber.add(() => this.onUnsubscribed());
    const running = this.leased.runToEnd(() => {
      if (this.current.calls.state !== 'closed') runWithin(this.current, () => this.follow(handle));
      return this.result;
    });
    await this.answer(await running.finally(onRecorded));
  }

  private follow(handle: () => Observable<unknown>): void {
    // An unwatched handler counts as running until the pipeline ends.
    const values = this.settings.watched ? handle() : followStream(defer(handle), this.current);
    // Nest waits for a promise that an interceptor emits, as by `of(promise)`: the handler may run behind it, and its rejection is an error.
    const isPromise = (value: unknown): value is PromiseLike<unknown> => hasMethod(value, 'then');
    values.pipe(concatMap((value) => (isPromise(value) ? value : [value]))).subscribe({
      next: (value) => this.onValue(value),
      error: (error: unknown) => {
        this.thrown = { error: errorOfHandler(error, this.settings.documentation) };
        void this.onEnd();
      },
      complete: () => void this.onEnd(),
    });
  }

  /**
   * An outer interceptor, such as a timeout, has answered, perhaps before the run began. What had not begun by then does not begin, except
   * an event: where another listener of it fails, Nest unsubscribes from this one, and most brokers do not deliver it again.
   */
  private onUnsubscribed(): void {
    if (this.isEvent) return;
    if (this.phase === 'holding' && this.current.calls.state === 'not begun') this.settle({ kind: 'discard' });
  }

  private onValue(value: unknown): void {
    if (this.phase === 'passing') return this.subscriber.next(value);
    this.values.push(value);
    const { policy, response } = this.settings.options;
    if (policy.transactional) return;
    this.holdTimer ??= setTimeout(() => this.stopHolding(), policy.leaseMs).unref();
    // A single value is measured when it is packed.
    if (this.values.length === 2) this.heldBytes = sizeOf(this.values[0]);
    if (this.values.length > 1) this.heldBytes += sizeOf(value);
    if (this.heldBytes > response.maxBytes) this.stopHolding();
  }

  /** Gives up on a stream that is too large to store, or that may have no end. A retry gets `replay-unavailable`. */
  private stopHolding(): void {
    clearTimeout(this.holdTimer);
    this.settleResult(STORE_WITHOUT_RESPONSE);
  }

  private async onEnd(): Promise<void> {
    clearTimeout(this.holdTimer);
    if (this.phase === 'passing') return end(this.subscriber, this.thrown);
    this.phase = 'ended';
    const { calls } = this.current;
    if (calls.openTransactions > 0) this.openTransactions.warn(this.settings.endpoint);
    if (calls.state === 'running') {
      // An inner interceptor went on without the handler. Its answer says nothing about the operation.
      this.passThrough();
      await calls.idle();
      // The last call decides, which may have begun since.
      const { state } = this.current.calls;
      return this.settle(state === 'succeeded' ? STORE_WITHOUT_RESPONSE : { kind: 'release' });
    }
    const ofKept = this.resultOfKept();
    const result = ofKept instanceof Promise ? await ofKept : ofKept;
    // An earlier call may still run. To free its key now would let a retry run beside it.
    if (result.kind !== 'store') await calls.idle();
    this.settle(result);
  }

  /** What cannot be serialized has no value to replay. The operation is done all the same. */
  private resultOfKept(): HandlerResult | Promise<HandlerResult> {
    const unkept = (error: unknown) => unkeptResult(this.settings, error);
    try {
      const kept = this.serialize ? this.values.map(this.serialize) : this.values;
      if (!kept.some(isThenable)) return this.resultOf(kept);
      return Promise.all(kept).then((values) => this.resultOf(values), unkept);
    } catch (error) {
      return unkept(error);
    }
  }

  private resultOf(values: readonly unknown[]): HandlerResult {
    return resultOf({ values, thrown: this.thrown }, this.settings, this.current);
  }

  /** Ends the handler's part: no call of it begins after that. */
  private settle(result: HandlerResult): void {
    this.current.calls.close();
    this.settleResult(result);
  }

  private async answer(recorded: RecordingResult): Promise<void> {
    const replacement = answerInstead(recorded, this.thrown?.error, this.settings, this.leased.operation.recordId);
    if (!replacement) return this.passThrough();
    this.phase = 'passing';
    if (replacement instanceof Error) return this.subscriber.error(replacement);
    sendAnswer(this.subscriber, await unpackAnswer(replacement, this.settings.classes));
  }

  private passThrough(): void {
    const hasEnded = this.phase === 'ended';
    this.phase = 'passing';
    for (const value of this.values.splice(0)) this.subscriber.next(value);
    if (hasEnded) end(this.subscriber, this.thrown);
  }
}

/** Sends a stored answer. */
export function sendAnswer(subscriber: Subscriber<unknown>, { values, thrown }: Answer): void {
  for (const value of values) subscriber.next(value);
  end(subscriber, thrown);
}

/** Returns a stream as part of the call that returned it, or as a call of its own: the call ends when the stream does. */
function followStream(stream: unknown, current: CurrentExecution): Observable<unknown> {
  return new Observable((subscriber) => {
    const { calls } = current;
    // A handler that subscribes to its own stream is still running, and its call covers the stream.
    const call = calls.state === 'running' ? undefined : calls.begin();
    const follower = {
      next: (value: unknown) => subscriber.next(value),
      error: (error: unknown) => {
        if (call) calls.settle(call, 'failed', error);
        subscriber.error(error);
      },
      complete: () => {
        if (call) calls.settle(call, 'succeeded');
        subscriber.complete();
      },
    };
    runWithin(current, () => (stream as Observable<unknown>).subscribe(follower));
  });
}

function end(subscriber: Subscriber<unknown>, thrown: Answer['thrown']): void {
  if (thrown) subscriber.error(thrown.error);
  else subscriber.complete();
}

/** Returns the size of a value in bytes; that of one which JSON cannot carry exceeds any limit. */
function sizeOf(value: unknown): number {
  try {
    return Buffer.byteLength(toValueJson(value).json ?? '');
  } catch {
    return Infinity;
  }
}
