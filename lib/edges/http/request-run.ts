import type { IncomingMessage } from 'node:http';
import type { HttpRun } from './http-run.js';

/** Beside the requests: before Node 24, adding a property to an Express request creates a new hidden class. */
const RUNS = new WeakMap<IncomingMessage, HttpRun>();

/** Notes that a request is being run: an interceptor that is wired twice does its work once. */
export function markRun(request: IncomingMessage, run: HttpRun): void {
  RUNS.set(request, run);
}

/** The run of a request that is being run, or was; `undefined` where there is none. */
export function runOf(request: IncomingMessage): HttpRun | undefined {
  return RUNS.get(request);
}
