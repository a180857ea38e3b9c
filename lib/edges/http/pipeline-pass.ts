import type { Readable } from 'node:stream';
import type { Observer, Subscriber } from 'rxjs';
import type { HandlerCall } from '../../engine/handler-calls.js';
import type { CurrentExecution } from '../../engine/current-execution.js';
import { hasMethod } from '../../engine/observables.js';

export interface PassListener {
  onValue(pass: PipelinePass, value: unknown): void;
  onError(pass: PipelinePass, error: unknown): void;
  onComplete(pass: PipelinePass): void;
}

/**
 * One pass through the inner pipeline: pipes, inner interceptors, and the handler. An outer interceptor that retries begins another
 * pass of the same execution.
 *
 * - `'running'`: the pass has neither emitted nor ended. Left for `'emitted'` by a value, for `'ended'` by completion or an error.
 * - `'emitted'`: the pass has emitted a value. Left for `'ended'` by completion or an error.
 * - `'ended'`: the pass has completed, or failed with `thrown`.
 */
export class PipelinePass implements Observer<unknown> {
  phase: 'running' | 'emitted' | 'ended' = 'running';
  /**
   * The error of a pipe, an inner interceptor or the handler. `isClientAbort`: a native handler failed only because its client disconnected,
   * which makes `pipeline()` throw.
   */
  thrown: { readonly error: unknown; readonly isClientAbort: boolean } | undefined;
  /** The status of the response at the first value or at the end: the handler's, or Nest's default for the route. */
  status = 0;
  /** Whether the value is a stream, whose work happens while it is sent. */
  isStream = false;
  /** The stream that the handler has returned. Its work happens while it is read. */
  source: Readable | undefined;
  /** A copy of the web Response that the handler has returned, where its client had gone by then. */
  unsent: Response | undefined;
  /** Stands for the call of an unwatched handler. */
  call: HandlerCall | undefined;
  /** Whether an inner interceptor gave up on the handler, or an outer one unsubscribed. */
  isGivenUp = false;
  /** Resolves when the promises that an interceptor has emitted have settled. */
  private settling: Promise<void> | undefined;

  /** Whether the handler's stream failed, or was destroyed before its end, as platforms do when the client disconnects. */
  get isTruncated(): boolean {
    return this.source !== undefined && this.source.destroyed && !this.source.readableEnded;
  }

  /** @param subscriber the outer interceptors */
  constructor(
    readonly current: CurrentExecution,
    readonly subscriber: Subscriber<unknown>,
    private readonly listener: PassListener,
  ) {}

  /** A promise that an interceptor emits counts when it has settled: Nest waits for it, and the handler may run behind it. */
  next(value: unknown): void {
    if (!this.settling && !hasMethod(value, 'then')) return this.listener.onValue(this, value);
    this.settling = Promise.all([value, this.settling]).then(
      ([settled]) => this.whileOpen(() => this.listener.onValue(this, settled)),
      (error: unknown) => this.whileOpen(() => this.listener.onError(this, error)),
    );
  }

  error(error: unknown): void {
    this.listener.onError(this, error);
  }

  complete(): void {
    if (!this.settling) return this.listener.onComplete(this);
    void this.settling.then(() => this.whileOpen(() => this.listener.onComplete(this)));
  }

  private whileOpen(report: () => void): void {
    if (this.phase !== 'ended') report();
  }

  /** Called when the outer interceptors unsubscribe. rxjs calls it after completion, too. */
  unsubscribe(): void {
    if (this.phase === 'running') this.isGivenUp = true;
  }

  /** @param isRunning whether the handler still runs, because an inner interceptor went on without it */
  advance(phase: 'emitted' | 'ended', status: number, isRunning: boolean): void {
    if (this.phase === 'running') {
      this.status = status;
      if (isRunning) this.isGivenUp = true;
    }
    this.phase = phase;
  }
}
