import { AsyncLocalStorage } from 'node:async_hooks';

/** What code runs in, as far as this file looks at it: see `CurrentExecution`. */
interface Context {
  readonly execution: unknown;
  /** That in whose handler this one was begun. */
  readonly outer: Context | undefined;
  /** Whether it is that of a single call of the handler. */
  readonly isCall: boolean;
}

const storage = new AsyncLocalStorage<Context | undefined>();

export function runInContext<T, Args extends unknown[]>(
  context: Context | undefined,
  work: (...args: Args) => T,
  ...args: Args
): T {
  return storage.run(context, work, ...args);
}

export function currentContext(): Context | undefined {
  return storage.getStore();
}

/** Returns the call of the handler of `execution` that the caller is part of, if it is known. */
export function callOf(execution: unknown): object | undefined {
  let at = storage.getStore();
  while (at && at.execution !== execution) at = at.outer;
  return at?.isCall ? at : undefined;
}
