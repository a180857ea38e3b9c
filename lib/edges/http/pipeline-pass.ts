import type { Observer, Subscriber } from 'rxjs';
import type { HandlerCall } from '../../engine/handler-calls.js';
import type { CurrentExecution } from '../../engine/current-execution.js';

/** Gets the values and the end of a pass. */
export interface PassListener {
  onValue(pass: PipelinePass, value: unknown): void;
  onError(pass: PipelinePass, error: unknown): void;
  onComplete(pass: PipelinePass): void;
}

/**
 * One pass through the inner pipeline: pipes, inner interceptors, and the handler. An outer interceptor that retries makes another
 * pass of the same execution.
 *
 * - `'going on'`: the pass has neither emitted nor ended. A value leads to `'emitted'`, completion or an error to `'ended'`.
 * - `'emitted'`: the pass has emitted a value. Its end follows.
 * - `'ended'`: the pass has completed, or failed with `thrown`.
 */
export class PipelinePass implements Observer<unknown> {
  phase: 'going on' | 'emitted' | 'ended' = 'going on';
  /** The error of a pipe, an inner interceptor or the handler. */
  thrown: { readonly error: unknown } | undefined;
  /** The status of the response at the first value, or at the end: the handler's, or Nest's for the route. */
  status = 0;
  /** Whether the value is a stream, which is read while it is sent. */
  isStream = false;
  /** The call of a handler that is not watched. */
  call: HandlerCall | undefined;
  /** Whether an inner interceptor gave up on the handler, or an outer one unsubscribed. */
  isGivenUp = false;
  /** Whether a native handler failed only at sending, because its client had gone: `pipeline()` throws then. */
  isBrokenOff = false;

  /** @param subscriber the outer interceptors */
  constructor(
    readonly current: CurrentExecution,
    readonly subscriber: Subscriber<unknown>,
    private readonly listener: PassListener,
  ) {}

  /** An outer interceptor that fails at a value changes the response before the pass has ended. */
  next(value: unknown): void {
    this.listener.onValue(this, value);
  }

  error(error: unknown): void {
    this.listener.onError(this, error);
  }

  complete(): void {
    this.listener.onComplete(this);
  }

  /** The outer interceptors no longer listen. rxjs calls this after completion, too. */
  unsubscribe(): void {
    if (this.phase === 'going on') this.isGivenUp = true;
  }

  /**
   * Enters a phase.
   *
   * @param isRunning whether the handler is known to run: an inner interceptor went on without it
   */
  advance(phase: 'emitted' | 'ended', status: number, isRunning: boolean): void {
    if (this.phase === 'going on') {
      this.status = status;
      if (isRunning) this.isGivenUp = true;
    }
    this.phase = phase;
  }
}
