/**
 * The calls of one execution's handler: an interceptor that retries calls it a second time, and one that gives up waiting leaves a
 * call behind. The call that began last decides what the handler did, and the key is not free
 * before every call has settled: a second execution would run beside it.
 *
 * - `'not begun'`: no call has begun. Left by the first call, or by `close()`.
 * - `'closed'`: no call has begun, and none may: the execution has ended without its handler.
 * - `'running'`: the last call runs. Left when it settles.
 * - `'succeeded'`, `'failed'`: the last call has settled. Left by a further call, unless `close()` was called.
 */
export type HandlerState = 'not begun' | 'closed' | 'running' | 'succeeded' | 'failed';

/** A handler was called after its execution had ended. */
export class TooLateError extends Error {
  constructor() {
    super('the request was answered before its handler began');
  }
}

/** Runs a function in the context that a call has to run in. */
export type CallRunner = <T>(work: () => T) => T;

type CallState = Extract<HandlerState, 'running' | 'succeeded' | 'failed'>;

export interface HandlerCall {
  state: CallState;
  /** What it returned, or threw. */
  result?: unknown;
  isAsync?: boolean;
  /** Called when the call has settled. */
  onSettled?: () => void;
}

export class HandlerCalls {
  private last: HandlerCall | undefined;
  private runningCalls = 0;
  private closed = false;
  private waiting: (() => void)[] | undefined;

  /**
   * @param beginAgain for an execution whose calls may not run beside each other, nor on top of what an earlier one has written:
   *   undoes that, and returns what runs the next call
   */
  constructor(private readonly beginAgain?: () => Promise<CallRunner>) {}

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

  /** Whether the last call returned a promise, which settles when its work has ended. */
  get isAsync(): boolean {
    return this.last?.isAsync === true;
  }

  /** Whether any call runs. */
  get isRunning(): boolean {
    return this.runningCalls > 0;
  }

  /** No further call begins: its execution has ended, and the key may be free. */
  close(): void {
    this.closed = true;
  }

  /**
   * Calls `handler`, and notes how it ends.
   *
   * @param read what is made of the value that it returns, or that its promise comes to
   * @throws TooLateError after {@link close}
   */
  run<T>(handler: () => T, read?: (value: unknown) => unknown): T {
    if (this.closed) throw new TooLateError();
    const { last } = this;
    const call = this.begin();
    if (last && this.beginAgain) return this.runAgain(call, last, handler, read) as T;
    return this.follow(call, handler, read);
  }

  /** Follows work that the handler has left to others, such as an interceptor that calls what it returned. */
  runWork<T>(work: () => T): T {
    return this.follow(this.begin(), work);
  }

  /** For a call that is followed by other means. */
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
      const run = await this.beginAgain!();
      return await run(() => this.follow(call, handler, read));
    } catch (error) {
      this.settle(call, 'failed', error);
      throw error;
    }
  }

  private follow<T>(call: HandlerCall, handler: () => T, read?: (value: unknown) => unknown): T {
    try {
      const result: unknown = handler();
      if (!isThenable(result)) return this.come(call, result, read) as T;
      call.isAsync = true;
      // Query builders of some libraries begin again each time that their `then` is called: it is called once.
      return Promise.resolve(result).then(
        (value) => this.come(call, value, read),
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

  /** Settles a call whose handler has come to `value`, unless that is read as a promise. */
  private come(call: HandlerCall, value: unknown, read?: (value: unknown) => unknown): unknown {
    if (!read) {
      this.settle(call, 'succeeded', value);
      return value;
    }
    try {
      const made = read(value);
      if (isThenable(made)) return this.follow(call, () => made);
      this.settle(call, 'succeeded', made);
      return made;
    } catch (error) {
      this.settle(call, 'failed', error);
      throw error;
    }
  }
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | null | undefined)?.then === 'function';
}
