import type { Refusal } from '../engine/admission.js';
import {
  LockUnavailableError,
  NestedOperationError,
  ShuttingDownError,
  StoreRefusedError,
  StoreUnavailableError,
  mayPass,
  UnreadableRecordError,
} from '../engine/errors.js';
import type { RecordingResult } from '../engine/recorder.js';
import { isOfFailure, isTombstone, type StoredOutcome } from '../engine/outcome.js';
import type { IdempotencyProblem } from './problem.js';
import * as problems from './problems.js';

const REFUSALS = {
  reused: problems.IdempotencyKeyReusedException,
  foreign: problems.IdempotencyKeyForeignException,
  running: problems.IdempotencyInProgressException,
  held: problems.IdempotencyOutcomeUnknownException,
} satisfies Record<Exclude<Refusal['reason'], 'gone'>, unknown>;

export function problemOf(refusal: Refusal, documentation?: string): IdempotencyProblem {
  if (refusal.reason === 'gone') return replayUnavailable(refusal.outcome, documentation);
  const retryAfter = refusal.reason === 'running' ? Math.ceil(refusal.retryAfterMs / 1_000) : undefined;
  return new REFUSALS[refusal.reason]({ documentation, retryAfter });
}

function replayUnavailable(tombstone: StoredOutcome, documentation: string | undefined): IdempotencyProblem {
  const detail = isOfFailure(tombstone) ? 'The operation failed, and its response was not kept.' : undefined;
  return new problems.IdempotencyReplayUnavailableException({ documentation, detail });
}

/**
 * Returns the problem for an error of the engine. The client does not see the error itself, because a failed statement contains tables
 * and values. An error of the application is returned unchanged.
 */
export function problemOfError(error: unknown, documentation?: string): Error {
  if (error instanceof NestedOperationError) return error;
  return error instanceof UnreadableRecordError
    ? new problems.IdempotencyRecordUnreadableException({ documentation, cause: error })
    : new problems.IdempotencyStoreUnavailableException({ documentation, cause: error });
}

/** Returns whether an error needs no line in the log for each request: an event of the engine has one line for many of them. */
export function isReported(error: unknown): boolean {
  return (
    error instanceof StoreUnavailableError ||
    error instanceof StoreRefusedError ||
    error instanceof LockUnavailableError ||
    error instanceof ShuttingDownError
  );
}

/**
 * Returns the error that the client gets for what a handler threw. An outage of the store inside `step()` is retryable: the store may have
 * lost the record of an effect, which only a retry can find out. What cannot even be examined, as a revoked Proxy, becomes the error of the
 * attempt.
 */
export function errorOfHandler(error: unknown, documentation?: string): unknown {
  try {
    return errorForClient(error, documentation);
  } catch (unreadable) {
    return unreadable;
  }
}

function errorForClient(error: unknown, documentation?: string): unknown {
  // A retry may find a free connection. On SQLite it is a mistake, which a retry would repeat.
  if (error instanceof NestedOperationError && error.poolSize !== undefined) {
    return new problems.IdempotencyStoreUnavailableException({ documentation, cause: error });
  }
  return mayPass(error) ? new problems.IdempotencyOutcomeNotRecordedException({ documentation, cause: error }) : error;
}

/**
 * Returns what an execution answers instead of its own outcome, where that was not recorded: the recorded outcome, a problem, or the
 * application's error where the database refused its transaction. `undefined`: it answers with its own outcome.
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
      if (recordState?.status === 'held') return new problems.IdempotencyOutcomeUnknownException({ documentation });
      if (!recordState?.outcome) return new problems.IdempotencyInProgressException({ documentation });
      return isTombstone(recordState.outcome)
        ? replayUnavailable(recordState.outcome, documentation)
        : recordState.outcome;
    }
    case 'held':
      // Of a lost connection, a client would learn less than that of the record.
      return recorded.error instanceof Error && !isRetryable(recorded.error)
        ? recorded.error
        : new problems.IdempotencyOutcomeUnknownException({ documentation, cause: recorded.error });
    case 'rolledBack':
      if (recorded.error instanceof UnreadableRecordError) {
        const detail = 'A step of the operation is on record, but it cannot be read.';
        return new problems.IdempotencyRecordUnreadableException({ documentation, detail, cause: recorded.error });
      }
      return isRetryable(recorded.error)
        ? new problems.IdempotencyStoreUnavailableException({ documentation, cause: recorded.error })
        : errorOfApplication(recorded.error);
    case 'unrecorded':
      return new problems.IdempotencyOutcomeNotRecordedException({ documentation, cause: recorded.error });
  }
}

/** Returns the error that the application would have seen without the library. Its filters catch it by its class. */
function errorOfApplication(error: unknown): Error {
  const own = error instanceof StoreRefusedError ? error.cause : error;
  return own instanceof Error ? own : new Error('The transaction was rolled back', { cause: own });
}
