import type { ServerResponse } from 'node:http';
import type { IdempotencyProblem } from '../../problems/problem.js';
import { type WriteHandler, interceptorOf, writeHandlerOf, discardWrites } from './response-interceptor.js';
import { writeProblem } from './write-response.js';

/** Set on a problem that an exception filter was asked about. */
const FILTERED = Symbol('nestjs-idempotency:filtered');

type Filtered = IdempotencyProblem & { [FILTERED]?: true };

/** What is written from now on is what a filter makes of the problem. */
export function noteFiltered(problem: IdempotencyProblem): void {
  (problem as Filtered)[FILTERED] = true;
}

/**
 * Sees to it that a refusal leaves as one: an interceptor outside that makes a value of every error, or another error, would
 * tell the client that its request was carried out. What exception filters make of a problem is theirs.
 */
export function keepProblem(response: ServerResponse, problem: IdempotencyProblem): void {
  interceptorOf(response).handler = new KeptProblem(response, problem);
}

/** Forgets a problem: the request is tried again. */
export function leaveResponse(response: ServerResponse): void {
  const handler = writeHandlerOf(response);
  if (handler instanceof KeptProblem) interceptorOf(response).handler = undefined;
}

class KeptProblem implements WriteHandler {
  constructor(
    private readonly response: ServerResponse,
    private readonly problem: IdempotencyProblem,
  ) {}

  writeHead(args: readonly unknown[]): void {
    if (this.isLeft()) this.response.writeHead(...(args as [number]));
  }

  flushHeaders(): void {
    if (this.isLeft()) this.response.flushHeaders();
  }

  write(args: readonly unknown[]): boolean {
    return !this.isLeft() || this.response.write(...(args as [string]));
  }

  end(args: readonly unknown[]): void {
    if (this.isLeft()) this.response.end(...(args as [string]));
  }

  mayChangeHeaders(): boolean {
    return true;
  }

  /** Whether the response is the filters' own. Otherwise the problem is written, and all else is discarded. */
  private isLeft(): boolean {
    const { response, problem } = this;
    interceptorOf(response).handler = undefined;
    if ((problem as Filtered)[FILTERED]) return true;
    for (const name of ['Content-Length', 'Content-Encoding', 'ETag', 'Transfer-Encoding']) response.removeHeader(name);
    writeProblem(response, problem);
    discardWrites(response);
    return false;
  }
}
