import { AsyncLocalStorage } from 'node:async_hooks';

/** The part of `CurrentExecution` that this file needs. It imports nothing, so that `Execution` can import it. */
interface Context {
  readonly execution: unknown;
  /** The context whose handler started this execution. */
  readonly outer: Context | undefined;
  /** Whether this is the context of a single call of the handler. */
  readonly isCall: boolean;
}

/** The execution that the running code belongs to. */
export const executionContext = new AsyncLocalStorage<Context | undefined>();

/** Returns the call of the handler of `execution` that the caller belongs to, if there is one. */
export function callOf(execution: unknown): object | undefined {
  let at = executionContext.getStore();
  while (at && at.execution !== execution) at = at.outer;
  return at?.isCall ? at : undefined;
}
