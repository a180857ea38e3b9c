import type { ExecutionContext } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import type { CurrentExecution } from '../../engine/current-execution.js';

/** What is known of a request that is being run. */
export interface RequestRun {
  readonly current: CurrentExecution;
  readonly ticket: number;
}

/** Beside the requests: before Node 24, a property more is dear where Express has given them another prototype. */
const RUNS = new WeakMap<IncomingMessage, RequestRun>();

/** Marks a request as being run: also for an interceptor that is wired twice, which does its work once. */
export function markRun(request: IncomingMessage, run: RequestRun): void {
  RUNS.set(request, run);
}

export function isMarkedRun(request: IncomingMessage): boolean {
  return RUNS.has(request);
}

/** The run of an HTTP request; `undefined` where there is none. */
export function runOf(context: Pick<ExecutionContext, 'switchToHttp'>): RequestRun | undefined {
  const request = context.switchToHttp().getRequest<IncomingMessage & { readonly raw?: IncomingMessage }>();
  return RUNS.get(request.raw ?? request);
}
