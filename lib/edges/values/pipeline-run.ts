import { Logger } from '@nestjs/common';
import { Observable, type Subscriber } from 'rxjs';
import { CurrentExecution, runWithin } from '../../engine/current-execution.js';
import { TOMBSTONE } from '../../engine/outcome.js';
import type { HandlerResult, RecordingResult, LeasedExecution } from '../../engine/leased-execution.js';
import { errorOfHandler, problemOfError } from '../../problems/from-engine.js';
import { outcomeToKeep } from '../content/response-to-keep.js';
import {
  answerInstead,
  STORE_WITHOUT_RESPONSE,
  isWorkToBeDone,
  type RunSettings,
  verdictOf,
} from '../shared/run-end.js';
import { toValueJson } from '../../engine/value-json.js';
import { statusOfError } from '../../options/error-status.js';
import { type Answer, packAnswer, unpackAnswer } from '../content/value-outcome.js';

/**
 * Runs the rest of the pipeline for a request that won its record and is answered with values, not over HTTP: holds the
 * values until they are on record, and then lets them go.
 *
 * The handler is never unsubscribed from: an operation that began is followed to its end, though an interceptor has long
 * given up on it. What an interceptor inside has made of that is answered at once, and not kept.
 */
export class PipelineRun {
  private static readonly logger = new Logger('Idempotency');

  private readonly current: CurrentExecution;
  private readonly result: Promise<HandlerResult>;
  private settleResult!: (result: HandlerResult) => void;
  private subscriber!: Subscriber<unknown>;
  private readonly values: unknown[] = [];
  private thrown: Answer['thrown'];
  /** Whether pipes, inner interceptors and the handler have come to an end. */
  private ended = false;
  /** Whether values go out as they come. */
  private open = false;
  private size = 0;
  private tooLong: NodeJS.Timeout | undefined;

  constructor(
    private readonly leased: LeasedExecution,
    private readonly settings: RunSettings,
  ) {
    this.current = CurrentExecution.of(leased.execution, settings.handler, toItsEnd);
    this.result = new Promise((resolve) => (this.settleResult = resolve));
  }

  /** The pipeline's view of the run. Begins with the subscription. */
  run(handle: () => Observable<unknown>, onEnd: () => void): Observable<unknown> {
    return new Observable((subscriber) => {
      this.subscriber = subscriber;
      // An interceptor outside has given up.
      if (subscriber.closed) this.settle({ kind: 'discard' });
      void this.runToEnd(handle, onEnd);
    });
  }

  private async runToEnd(handle: () => Observable<unknown>, onEnd: () => void): Promise<void> {
    try {
      const recorded = await this.leased.runToEnd(() => {
        if (this.current.calls.state !== 'closed') runWithin(this.current, () => this.follow(handle));
        return this.result;
      });
      onEnd();
      await this.answer(recorded);
    } catch (error) {
      onEnd();
      this.subscriber.error(problemOfError(error, this.settings.documentation));
    }
  }

  private follow(handle: () => Observable<unknown>): void {
    const { calls } = this.current;
    // Of a handler that is not watched, the pipeline's view is all there is.
    const call = this.settings.watched ? undefined : calls.begin();
    handle().subscribe({
      next: (value) => this.collect(value),
      error: (error: unknown) => {
        this.thrown = { error: errorOfHandler(error, this.settings.documentation) };
        if (call) calls.settle(call, 'failed', error);
        void this.onEnd();
      },
      complete: () => {
        if (call) calls.settle(call, 'succeeded');
        void this.onEnd();
      },
    });
  }

  private collect(value: unknown): void {
    if (this.open) return this.subscriber.next(value);
    this.values.push(value);
    if (this.settings.options.policy.transactional) return;
    this.tooLong ??= setTimeout(() => this.letGo(), this.settings.options.policy.leaseMs).unref();
    // A single value is measured when it is packed.
    if (this.values.length === 2) this.size = sizeOf(this.values[0]);
    if (this.values.length > 1) this.size += sizeOf(value);
    if (this.size > this.settings.options.response.maxBytes) this.letGo();
  }

  /** A stream that is too large to keep, or that perhaps has no end, passes through. A retry gets `replay-unavailable`. */
  private letGo(): void {
    clearTimeout(this.tooLong);
    this.settleResult(STORE_WITHOUT_RESPONSE);
  }

  private async onEnd(): Promise<void> {
    clearTimeout(this.tooLong);
    this.ended = true;
    if (this.open) return end(this.subscriber, this.thrown);
    const { calls } = this.current;
    if (calls.state === 'running') {
      // An interceptor inside went on without the handler. Its answer says nothing of the operation.
      this.letThrough();
      await calls.idle();
      return this.settle(this.isCarriedOut ? STORE_WITHOUT_RESPONSE : { kind: 'release' });
    }
    const result = this.safeResult();
    // Another call may still run, though the last one has ended.
    if (result.kind !== 'store') await calls.idle();
    this.settle(result);
  }

  private get isCarriedOut(): boolean {
    return this.current.calls.state === 'succeeded';
  }

  /** Nothing begins after that. */
  private settle(result: HandlerResult): void {
    this.current.calls.close();
    this.settleResult(result);
  }

  /** An answer that cannot be packed must not leave its record without an end. */
  private safeResult(): HandlerResult {
    try {
      return this.resultOf();
    } catch (error) {
      PipelineRun.logger.error(`${this.settings.endpoint}: the answer cannot be kept`, (error as Error).stack);
      return { kind: 'store', outcome: TOMBSTONE, failed: this.thrown !== undefined };
    }
  }

  private resultOf(): HandlerResult {
    const { thrown, current } = this;
    const { calls } = current;
    if (thrown && calls.state === 'not begun') return { kind: 'discard' };
    const handlerFailed = calls.state === 'failed' || (thrown !== undefined && isWorkToBeDone(calls.value));
    const error = thrown ? thrown.error : calls.error;
    const status = thrown ? statusOfError(error) : 200;
    const verdict = verdictOf(this.settings, { status, error, handlerFailed }, current);
    if (verdict === 'release') return { kind: 'release' };
    if (verdict === 'storeWithoutResponse') return STORE_WITHOUT_RESPONSE;
    const { response } = this.settings.options;
    const outcome = packAnswer({ values: this.values, thrown }, response.maxBytes);
    return { kind: 'store', outcome: outcomeToKeep(outcome, response), failed: thrown !== undefined || handlerFailed };
  }

  private async answer(recorded: RecordingResult): Promise<void> {
    const instead = answerInstead(recorded, this.thrown?.error, this.settings);
    if (!instead) return this.letThrough();
    this.open = true;
    if (instead instanceof Error) return this.subscriber.error(instead);
    tell(this.subscriber, await unpackAnswer(instead));
  }

  private letThrough(): void {
    this.open = true;
    for (const value of this.values.splice(0)) this.subscriber.next(value);
    if (this.ended) end(this.subscriber, this.thrown);
  }
}

/** Returns the answer that is on record. */
export function tell(subscriber: Subscriber<unknown>, { values, thrown }: Answer): void {
  for (const value of values) subscriber.next(value);
  end(subscriber, thrown);
}

/** The stream of a handler, for as long as it has values, even without a subscriber. */
function toItsEnd(stream: unknown, current: CurrentExecution): Observable<unknown> {
  return new Observable((subscriber) => {
    const { calls } = current;
    // One that the handler itself listens to is part of it.
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

function sizeOf(value: unknown): number {
  return Buffer.byteLength(toValueJson(value).json ?? '');
}
