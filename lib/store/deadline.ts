import {
  NestedOperationError,
  StoreRefusedError,
  StoreUnavailableError,
  UnreadableRecordError,
} from '../engine/errors.js';
import { isRetryable } from './driver-errors.js';

/**
 * Waits for `work` for at most `ms` milliseconds. The work itself cannot be called back.
 *
 * @throws StoreUnavailableError at the deadline, and for an error that a retry may cure
 * @throws StoreRefusedError for any other error
 */
export function withDeadline<T>(work: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(noAnswer(ms)), ms);
    work.then(
      (answer) => {
        clearTimeout(timer);
        resolve(answer);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(storeError(error));
      },
    );
  });
}

/** Errors that the engine knows as they are. */
const OURS = [StoreUnavailableError, StoreRefusedError, NestedOperationError, UnreadableRecordError];

export function noAnswer(withinMs: number): StoreUnavailableError {
  return new StoreUnavailableError({ cause: new Error(`no answer within ${withinMs} ms`) });
}

/** Returns an error of the database as the engine knows it: whether a retry may cure it. */
export function storeError(cause: unknown): Error {
  if (OURS.some((ours) => cause instanceof ours)) return cause as Error;
  return isRetryable(cause) ? new StoreUnavailableError({ cause }) : new StoreRefusedError({ cause });
}
