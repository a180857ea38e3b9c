import { IdempotencyProblem } from '../problems/problem.js';
import { statusOfError } from './error-status.js';
import type { OutcomeContext, OutcomeVerdict } from './idempotency-options.js';

/** Statuses after which a retry may succeed. Recorded, they would be replayed to every retry. */
const TRY_AGAIN = new Set([408, 425, 429]);

/** The values of the option `outcome`. */
export const OUTCOME_PRESETS = { final, success };

/**
 * Decides by the status, or by the handler's error where a filter wrapped it in a response below 400. An outage that was recorded as a
 * success would be replayed to a customer who was never charged.
 */
function final({ status, error, handlerFailed }: OutcomeContext): OutcomeVerdict {
  // The handler called another idempotent operation, which may succeed at a retry, or once an operator has resolved it.
  if (error instanceof IdempotencyProblem && (error.retryable || error.code === 'outcome-unknown')) return 'release';
  const decisive = handlerFailed && status < 400 ? statusOfError(error) : status;
  return isFinalStatus(decisive) ? 'store' : 'release';
}

/** Whether a client takes a status for the outcome, and does not ask again. */
export function isFinalStatus(status: number): boolean {
  return status < 500 && !TRY_AGAIN.has(status);
}

function success({ status, handlerFailed }: OutcomeContext): OutcomeVerdict {
  return status < 400 && !handlerFailed ? 'store' : 'release';
}
