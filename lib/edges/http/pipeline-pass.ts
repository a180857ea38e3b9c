import type { Subscriber } from 'rxjs';
import type { CurrentExecution } from '../../engine/current-execution.js';

/**
 * What is known of one pass through the pipeline inside: pipes, interceptors inside, and the handler. An interceptor outside that
 * tries again makes another pass of the same execution.
 *
 * - `'going on'`: nothing has come of it. Its first value leads to `'emitted'`, its end to `'ended'`.
 * - `'emitted'`: it has come to a value. Its end follows.
 * - `'ended'`: it has completed, or failed by `thrown`.
 */
export class PipelinePass {
  phase: 'going on' | 'emitted' | 'ended' = 'going on';
  /** What a pipe, an interceptor inside or the handler threw. */
  thrown: { readonly error: unknown } | undefined;
  /** The status of the response when it came to its value, or its end: set by the handler, or Nest's for the route. */
  status = 0;
  /** Whether its value is a stream, which is read while it is sent. */
  isStream = false;
  /** Whether the pipeline went on without it: an interceptor inside gave up on the handler, or one outside unsubscribed. */
  isGivenUp = false;
  /** Whether a native handler failed at its response alone, whose client had gone: `pipeline()` throws where it cannot be sent. */
  isBrokenOff = false;

  /**
   * @param subscriber the interceptors outside
   * @param watched whether the calls of the handler are watched: one that is not runs, as far as is known, until its pass ends
   */
  constructor(
    readonly current: CurrentExecution,
    readonly subscriber: Subscriber<unknown>,
    private readonly watched: boolean,
  ) {}

  /** Notes a value. An interceptor outside that fails at it has the response changed before the pass has ended. */
  emit(status: number, isStream: boolean): void {
    this.come(status);
    this.phase = 'emitted';
    this.isStream = isStream;
  }

  end(status: number, thrown?: { readonly error: unknown }): void {
    this.come(status);
    this.phase = 'ended';
    this.thrown = thrown;
  }

  /** The interceptors outside no longer listen; this is also called once they were told everything. */
  noteUnsubscribed(): void {
    if (this.phase === 'going on') this.isGivenUp = true;
  }

  private come(status: number): void {
    if (this.phase !== 'going on') return;
    this.status = status;
    if (this.watched && this.current.calls.state === 'running') this.isGivenUp = true;
  }
}
