import { IdempotencyProblem } from '../problems/problem.js';
import { statusOfError } from './error-status.js';
import type { OutcomeContext, OutcomeVerdict } from './idempotency-options.js';

/** Statuses that say "not now": the operation may succeed when it is tried again. */
const TRY_AGAIN = new Set([408, 425, 429]);

/** What the option `outcome` has names for. */
export const OUTCOME_PRESETS = { final, success };

/**
 * An error that a filter made into a response below 400, an envelope, decides by itself: an outage that was stored as a success
 * would be replayed to a customer who was never charged.
 */
function final({ status, error, handlerFailed }: OutcomeContext): OutcomeVerdict {
  // Of an idempotent operation that the handler calls.
  if (error instanceof IdempotencyProblem && error.retryable) return 'release';
  return isFinal(handlerFailed && status < 400 ? statusOfError(error) : status) ? 'store' : 'release';
}

function success({ status, handlerFailed }: OutcomeContext): OutcomeVerdict {
  return status < 400 && !handlerFailed ? 'store' : 'release';
}

function isFinal(status: number): boolean {
  return status < 500 && !TRY_AGAIN.has(status);
}
