/**
 * The calls of one execution's handler. There may be several: an interceptor that retries calls it again, and one that times out leaves a
 * call running. The call that began last decides the outcome. The key stays taken until every call has settled, because a second
 * execution would run beside those that are left.
 *
 * - `'not begun'`: no call has begun. Left by the first call, or by `close()`.
 * - `'closed'`: final. The execution ended without a call of its handler, and none may begin.
 * - `'running'`: the last call runs. Left when it settles.
 * - `'succeeded'`, `'failed'`: the last call has settled. Left by a further call, unless `close()` was called.
 */
export type HandlerState = 'not begun' | 'closed' | 'running' | 'succeeded' | 'failed';

/** A handler was called after its execution had ended. It does not run, because the key may be free. */
export class TooLateError extends Error {
  constructor() {
    super('the request was answered before its handler began');
  }
}

/** Runs a function in the async context that a call of the handler needs. */
export type CallRunner = <T>(work: () => T) => T;

export interface HandlerCall {
  state: Extract<HandlerState, 'running' | 'succeeded' | 'failed'>;
  /** What the call returned or threw. */
  result?: unknown;
  isAsync?: boolean;
  /** Whether it writes the response as it goes. */
  isBody?: boolean;
  /** Called when the call has settled. */
  onSettled?: () => void;
}

export class HandlerCalls {
  private last: HandlerCall | undefined;
  private runningCalls = 0;
  private closed = false;
  /** The number of transactions that are not the operation's, are still open, and have writes of its calls. */
  openTransactions = 0;
  /** The call whose writes were rolled back after it had succeeded. */
  private undone: HandlerCall | undefined;
  private waiting: (() => void)[] | undefined;

  /**
   * @param restartTransaction for a transactional execution, whose calls must not share a transaction: rolls back what the earlier call
   *   wrote, and returns what runs the next one
   */
  constructor(private restartTransaction?: () => Promise<CallRunner>) {}

  get state(): HandlerState {
    return this.last?.state ?? (this.closed ? 'closed' : 'not begun');
  }

  /** What the last call threw; `undefined` unless it failed. */
  get error(): unknown {
    return this.last?.state === 'failed' ? this.last.result : undefined;
  }

  /** What the last call returned; `undefined` unless it succeeded. */
  get value(): unknown {
    return this.last?.state === 'succeeded' ? this.last.result : undefined;
  }

  /** Whether what the last call wrote was rolled back after it had succeeded. */
  get isUndone(): boolean {
    return this.undone !== undefined && this.undone === this.last;
  }

  /** Notes that a transaction in which a call wrote was rolled back. A call that still runs decides itself whether it fails. */
  noteRollback(): void {
    if (this.last?.state === 'succeeded') this.undone = this.last;
  }

  /** Whether the last call returned a promise. A native handler without one ends with its response. */
  get isAsync(): boolean {
    return this.last?.isAsync === true;
  }

  /** Whether the last call writes the response as it goes, as the generator of a handler does. */
  get isBody(): boolean {
    return this.last?.isBody === true;
  }

  /** Whether any call runs, not only the last one. */
  get isRunning(): boolean {
    return this.runningCalls > 0;
  }

  /** Prevents further calls: the execution has ended, and the key may be free. */
  close(): void {
    this.closed = true;
  }

  /** Drops all references to the request. Called at the end of the operation. */
  forget(): void {
    this.restartTransaction &&= refuseRestart;
    if (this.last) this.last.result = undefined;
  }

  /**
   * Calls `handler` and records how it ends.
   *
   * @param read maps the value that the handler returns, or that its promise resolves to
   * @throws TooLateError after {@link close}
   */
  run<T>(handler: () => T, read?: (value: unknown) => unknown): T {
    if (this.closed) throw new TooLateError();
    const { last } = this;
    const call = this.begin();
    if (last && this.restartTransaction) return this.runAgain(call, last, handler, read) as T;
    return this.follow(call, handler, read);
  }

  /**
   * Runs work that the handler returned as a function for an interceptor to call. It counts as a call of the handler.
   *
   * @throws TooLateError after {@link close}
   */
  runWork<T>(work: () => T): T {
    if (this.closed) throw new TooLateError();
    return this.follow(this.begin(), work);
  }

  /**
   * Counts the run of a handler's generator, which the caller reports to {@link settle}.
   *
   * @throws TooLateError after {@link close}
   */
  beginBody(): HandlerCall {
    if (this.closed) throw new TooLateError();
    const call = this.begin();
    call.isBody = true;
    return call;
  }

  /** Counts a call that the caller reports to {@link settle} itself. */
  begin(): HandlerCall {
    const call: HandlerCall = { state: 'running' };
    this.last = call;
    this.runningCalls++;
    return call;
  }

  settle(call: HandlerCall, state: 'succeeded' | 'failed', result?: unknown): void {
    if (call.state !== 'running') return;
    call.state = state;
    call.result = result;
    this.runningCalls--;
    call.onSettled?.();
    if (this.runningCalls === 0) for (const resolve of this.waiting?.splice(0) ?? []) resolve();
  }

  /** Resolves once no call runs. */
  idle(): Promise<void> | undefined {
    if (this.runningCalls === 0) return undefined;
    return new Promise((resolve) => (this.waiting ??= []).push(resolve));
  }

  private async runAgain(
    call: HandlerCall,
    earlier: HandlerCall,
    handler: () => unknown,
    read?: (value: unknown) => unknown,
  ): Promise<unknown> {
    try {
      if (earlier.state === 'running') await new Promise<void>((resolve) => (earlier.onSettled = resolve));
      const run = await this.restartTransaction!();
      return await run(() => this.follow(call, handler, read));
    } catch (error) {
      this.settle(call, 'failed', error);
      throw error;
    }
  }

  private follow<T>(
    call: HandlerCall,
    work: (value: unknown) => T,
    read?: (value: unknown) => unknown,
    value?: unknown,
  ): T {
    try {
      const result: unknown = work(value);
      if (!isThenable(result)) return this.resolve(call, result, read) as T;
      call.isAsync = true;
      // Some query builders send their statement at each call of `then`, so that only `Promise.resolve()` may call it.
      return Promise.resolve(result).then(
        (resolved) => this.resolve(call, resolved, read),
        (error: unknown) => {
          this.settle(call, 'failed', error);
          throw error;
        },
      ) as T;
    } catch (error) {
      this.settle(call, 'failed', error);
      throw error;
    }
  }

  /** Settles a call with the value of its handler, or with what `read` maps that to. */
  private resolve(call: HandlerCall, value: unknown, read?: (value: unknown) => unknown): unknown {
    if (read) return this.follow(call, read, undefined, value);
    this.settle(call, 'succeeded', value);
    return value;
  }
}

function refuseRestart(): Promise<never> {
  return Promise.reject(new TooLateError());
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function';
}
