import { AsyncResource } from 'node:async_hooks';

/** The async context in which this library was loaded. */
const loading = new AsyncResource('nestjs-idempotency');

/**
 * Runs `work` in the async context of no request. Timers and connections that serve many requests are opened by one of them, and
 * would keep its context for as long as they live: its `AsyncLocalStorage` stores would stay in memory, and what happens to another
 * request would be logged with its id.
 */
export function outsideRequests<T>(work: () => T): T {
  return loading.runInAsyncScope(work);
}
