import type { ServerResponse } from 'node:http';
import type { IdempotencyProblem } from '../../problems/problem.js';
import { type WriteHandler, interceptorOf, writeHandlerOf, discardWrites } from './response-interceptor.js';
import { writeProblem } from './write-response.js';

/** Set on a problem that has reached an exception filter. */
const FILTERED = Symbol('nestjs-idempotency:filtered');

type Filtered = IdempotencyProblem & { [FILTERED]?: true };

/** Notes that a problem has reached an exception filter: from now on, the filter writes the response. */
export function noteFiltered(problem: IdempotencyProblem): void {
  (problem as Filtered)[FILTERED] = true;
}

/**
 * Sends a refusal as the problem that it is, whatever outer interceptors make of it. One that maps every error to a value would
 * report success to a client whose operation did not run. Exception filters may still change the response.
 */
export function keepProblem(response: ServerResponse, problem: IdempotencyProblem): void {
  interceptorOf(response).handler = new KeptProblem(response, problem);
}

/** Drops a kept problem, because the request is admitted again. */
export function dropProblem(response: ServerResponse): void {
  const handler = writeHandlerOf(response);
  if (handler instanceof KeptProblem) interceptorOf(response).handler = undefined;
}

class KeptProblem implements WriteHandler {
  constructor(
    private readonly response: ServerResponse,
    private readonly problem: IdempotencyProblem,
  ) {}

  writeHead(args: readonly unknown[]): void {
    if (this.isOfFilter()) this.response.writeHead(...(args as [number]));
  }

  flushHeaders(): void {
    if (this.isOfFilter()) this.response.flushHeaders();
  }

  write(args: readonly unknown[]): boolean {
    return !this.isOfFilter() || this.response.write(...(args as [string]));
  }

  end(args: readonly unknown[]): void {
    if (this.isOfFilter()) this.response.end(...(args as [string]));
  }

  mayChangeHeaders(): boolean {
    return true;
  }

  /** Returns whether a filter writes the response. If not, sends the problem and discards every other write. */
  private isOfFilter(): boolean {
    const { response, problem } = this;
    interceptorOf(response).handler = undefined;
    if ((problem as Filtered)[FILTERED]) return true;
    for (const name of ['Content-Length', 'Transfer-Encoding']) response.removeHeader(name);
    writeProblem(response, problem);
    discardWrites(response);
    return false;
  }
}
