import type { IdempotencyProblem } from '../../problems/problem.js';

/** What a client of a message handler gets of a problem: the members of problem details, and a message. */
export function rpcErrorOf(problem: IdempotencyProblem): object {
  return { ...problem.extensions, message: problem.message };
}
