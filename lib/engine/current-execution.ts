import { AsyncLocalStorage } from 'node:async_hooks';
import type { Execution } from './execution.js';

/** How far the handler of an execution has come. */
export type HandlerState = 'not begun' | 'running' | 'succeeded' | 'failed';

/** The execution that code runs in, and what is known of its handler. */
export class CurrentExecution {
  state: HandlerState = 'not begun';
  private readonly waiting: (() => void)[] = [];

  /** @param follow what becomes of a stream that the handler returns, where the edge can answer with more than a value */
  constructor(
    readonly execution: Execution,
    readonly follow?: (stream: unknown, current: CurrentExecution) => unknown,
  ) {}

  /** Calls `handler` and notes how it ends. Calls of other handlers from within it are part of it. */
  watch<T>(handler: () => T): T {
    if (this.state !== 'not begun') return handler();
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
