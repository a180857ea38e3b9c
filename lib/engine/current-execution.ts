import { AsyncLocalStorage } from 'node:async_hooks';
import type { Execution } from './execution.js';
import { LeaseLostError } from './steps.js';

/** How far the handler of an execution has come. */
export type HandlerState = 'not begun' | 'barred' | 'running' | 'succeeded' | 'failed';

/** Of a handler whose request has been answered without it. */
export class TooLateError extends Error {
  constructor() {
    super('the request was answered before its handler began');
  }
}

/** The execution that code runs in, and what is known of its handler. */
export class CurrentExecution {
  state: HandlerState = 'not begun';
  private readonly waiting: (() => void)[] = [];

  /** @param follow what becomes of a stream that the handler returns, where the edge can answer with more than a value */
  constructor(
    readonly execution: Execution,
    readonly follow?: (stream: unknown, current: CurrentExecution) => unknown,
  ) {}

  /**
   * Calls `handler` and notes how it ends. Calls of other handlers from within it are part of it.
   *
   * @throws TooLateError after {@link bar}
   * @throws LeaseLostError where it has not begun and no longer may, as another execution has the record
   */
  watch<T>(handler: () => T): T {
    if (this.state === 'barred') throw new TooLateError();
    if (this.state !== 'not begun') return handler();
    if (this.execution.isLost) throw new LeaseLostError();
    this.begin();
    try {
      const result = handler();
      if (isThenable(result)) {
        result.then(
          () => this.settle('succeeded'),
          () => this.settle('failed'),
        );
      } else this.settle('succeeded');
      return result;
    } catch (error) {
      this.settle('failed');
      throw error;
    }
  }

  /**
   * The execution has ended: a handler that has not begun never does. A pipe or an interceptor may still be on its way to
   * it, though another one has given up waiting, and the key may be free.
   */
  bar(): void {
    if (this.state === 'not begun') this.state = 'barred';
  }

  begin(): void {
    this.state = 'running';
  }

  settle(state: 'succeeded' | 'failed'): void {
    this.state = state;
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  /** Resolves once the handler has ended; at once if it is not running. */
  settled(): Promise<void> {
    if (this.state !== 'running') return Promise.resolve();
    return new Promise((resolve) => this.waiting.push(resolve));
  }
}

const storage = new AsyncLocalStorage<CurrentExecution>();

export function runWithin<T>(current: CurrentExecution, work: () => T): T {
  return storage.run(current, work);
}

export function current(): CurrentExecution | undefined {
  return storage.getStore();
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as PromiseLike<unknown> | undefined)?.then === 'function';
}
