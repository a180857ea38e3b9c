import type { Refusal } from '../engine/admission.js';
import {
  LockUnavailableError,
  NestedOperationError,
  ShuttingDownError,
  StoreRefusedError,
  StoreUnavailableError,
  UnreadableRecordError,
} from '../engine/errors.js';
import type { RecordingResult } from '../engine/leased-execution.js';
import { isTombstone, type StoredOutcome } from '../engine/outcome.js';
import type { IdempotencyProblem } from './problem.js';
import {
  IdempotencyInProgressException,
  IdempotencyKeyForeignException,
  IdempotencyKeyReusedException,
  IdempotencyOutcomeNotRecordedException,
  IdempotencyOutcomeUnknownException,
  IdempotencyRecordUnreadableException,
  IdempotencyReplayUnavailableException,
  IdempotencyStoreUnavailableException,
} from './problems.js';

/** Returns the problem for a refusal of the engine. */
export function problemOf(refusal: Refusal, documentation?: string): IdempotencyProblem {
  switch (refusal.reason) {
    case 'reused':
      return new IdempotencyKeyReusedException({ documentation });
    case 'foreign':
      return new IdempotencyKeyForeignException({ documentation });
    case 'running':
      return new IdempotencyInProgressException({ documentation, retryAfter: Math.ceil(refusal.retryAfterMs / 1_000) });
    case 'held':
      return new IdempotencyOutcomeUnknownException({ documentation });
    case 'gone':
      return new IdempotencyReplayUnavailableException({ documentation });
  }
}

/**
 * Returns the problem for an error of the engine. The client sees nothing of the error itself: a failed statement contains tables and
 * values. An error of the application is returned as it is.
 */
export function problemOfError(error: unknown, documentation?: string): Error {
  if (error instanceof NestedOperationError) return error;
  return error instanceof UnreadableRecordError
    ? new IdempotencyRecordUnreadableException({ documentation, cause: error })
    : new IdempotencyStoreUnavailableException({ documentation, cause: error });
}

/** Whether an error of the engine says that something is down, and not that something is wrong. */
export function isOutage(error: unknown): boolean {
  return (
    error instanceof StoreUnavailableError ||
    error instanceof LockUnavailableError ||
    error instanceof ShuttingDownError
  );
}

/**
 * Returns what a handler's error is answered as. A store that was lost inside `step()` may have lost the record of an effect:
 * the client is to try again, and not to take it for an error of the operation.
 */
export function errorOfHandler(error: unknown, documentation?: string): unknown {
  // Nothing was done, and the connections are there for a retry. On SQLite it is a mistake, which a retry repeats.
  if (error instanceof NestedOperationError && error.poolSize !== undefined) {
    return new IdempotencyStoreUnavailableException({ documentation, cause: error });
  }
  return error instanceof StoreUnavailableError
    ? new IdempotencyOutcomeNotRecordedException({ documentation, cause: error })
    : error;
}

/**
 * Returns what an execution answers with instead of its own outcome, where that is not on record: the outcome that is, a
 * problem, or the application's own error, where the database refused its transaction for good. `undefined`: it may answer
 * with its own.
 */
export function insteadOf(
  recorded: RecordingResult,
  isRetryable: (error: unknown) => boolean,
  documentation?: string,
): StoredOutcome | Error | undefined {
  switch (recorded.kind) {
    case 'stored':
    case 'freed':
      return undefined;
    case 'lost': {
      const { recordState } = recorded;
      if (recordState?.status === 'held') return new IdempotencyOutcomeUnknownException({ documentation });
      if (!recordState?.outcome) return new IdempotencyInProgressException({ documentation });
      return isTombstone(recordState.outcome)
        ? new IdempotencyReplayUnavailableException({ documentation })
        : recordState.outcome;
    }
    case 'held':
      return recorded.error instanceof Error
        ? recorded.error
        : new IdempotencyOutcomeUnknownException({ documentation });
    case 'rolledBack':
      return isRetryable(recorded.error)
        ? new IdempotencyStoreUnavailableException({ documentation, cause: recorded.error })
        : errorOfApplication(recorded.error);
    case 'unrecorded':
      return new IdempotencyOutcomeNotRecordedException({ documentation, cause: recorded.error });
  }
}

/** The error that the application would have seen without the library, which filters know by its class. */
function errorOfApplication(error: unknown): Error {
  const own = error instanceof StoreRefusedError ? error.cause : error;
  return own instanceof Error ? own : new Error('The transaction was rolled back', { cause: own });
}
