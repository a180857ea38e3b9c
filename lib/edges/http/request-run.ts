import type { ExecutionContext } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import type { CurrentExecution } from '../../engine/current-execution.js';

/** What is known of a request that is being run. */
export interface RequestRun {
  readonly current: CurrentExecution;
  readonly ticket: number;
}

const RUN = Symbol('nestjs-idempotency:run');

type Marked = IncomingMessage & { [RUN]?: RequestRun };

/** Marks a request as being run: also for an interceptor that is wired twice, which does its work once. */
export function markRun(request: IncomingMessage, run: RequestRun): void {
  (request as Marked)[RUN] = run;
}

export function isMarkedRun(request: IncomingMessage): boolean {
  return (request as Marked)[RUN] !== undefined;
}

/** The run of an HTTP request; `undefined` where there is none. */
export function runOf(context: Pick<ExecutionContext, 'switchToHttp'>): RequestRun | undefined {
  const request = context.switchToHttp().getRequest<Marked & { readonly raw?: Marked }>();
  return (request.raw ?? request)[RUN];
}
