import type { Observer, Subscriber } from 'rxjs';
import type { HandlerCall } from '../../engine/handler-calls.js';
import type { CurrentExecution } from '../../engine/current-execution.js';

/** Who is told what comes of a pass. */
export interface PassListener {
  onValue(pass: PipelinePass, value: unknown): void;
  onError(pass: PipelinePass, error: unknown): void;
  onComplete(pass: PipelinePass): void;
}

/**
 * What is known of one pass through the pipeline inside: pipes, interceptors inside, and the handler. An interceptor outside that
 * tries again makes another pass of the same execution.
 *
 * - `'going on'`: nothing has come of it. Its first value leads to `'emitted'`, its end to `'ended'`.
 * - `'emitted'`: it has come to a value. Its end follows.
 * - `'ended'`: it has completed, or failed by `thrown`.
 */
export class PipelinePass implements Observer<unknown> {
  phase: 'going on' | 'emitted' | 'ended' = 'going on';
  /** What a pipe, an interceptor inside or the handler threw. */
  thrown: { readonly error: unknown } | undefined;
  /** The status of the response when it came to its value, or its end: set by the handler, or Nest's for the route. */
  status = 0;
  /** Whether its value is a stream, which is read while it is sent. */
  isStream = false;
  /** That of a handler which is not watched. */
  call: HandlerCall | undefined;
  /** Whether the pipeline went on without it: an interceptor inside gave up on the handler, or one outside unsubscribed. */
  isGivenUp = false;
  /** Whether a native handler failed at its response alone, whose client had gone: `pipeline()` throws where it cannot be sent. */
  isBrokenOff = false;

  /** @param subscriber the interceptors outside */
  constructor(
    readonly current: CurrentExecution,
    readonly subscriber: Subscriber<unknown>,
    private readonly listener: PassListener,
  ) {}

  /** A value. An interceptor outside that fails at it has the response changed before the pass has ended. */
  next(value: unknown): void {
    this.listener.onValue(this, value);
  }

  error(error: unknown): void {
    this.listener.onError(this, error);
  }

  complete(): void {
    this.listener.onComplete(this);
  }

  /** The interceptors outside no longer listen; this is also called once they were told everything. */
  unsubscribe(): void {
    if (this.phase === 'going on') this.isGivenUp = true;
  }

  /**
   * Notes how far it has come.
   *
   * @param isRunning whether the handler is known to run: an interceptor inside went on without it
   */
  come(phase: 'emitted' | 'ended', status: number, isRunning: boolean): void {
    if (this.phase === 'going on') {
      this.status = status;
      if (isRunning) this.isGivenUp = true;
    }
    this.phase = phase;
  }
}
