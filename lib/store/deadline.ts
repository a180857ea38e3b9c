import { NestedOperationError, StoreRefusedError, StoreUnavailableError } from '../engine/errors.js';
import { isRetryable } from './driver-errors.js';

/**
 * Waits for `work` for at most `ms` milliseconds. The work itself cannot be called back: `onLate` gets an answer that
 * comes after the deadline, and may throw.
 *
 * @throws StoreUnavailableError at the deadline, and for an error that a retry may cure
 * @throws StoreRefusedError for any other error
 */
export function withDeadline<T>(work: Promise<T>, ms: number, onLate?: (answer: T) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      reject(new StoreUnavailableError({ cause: new Error(`no answer within ${ms} ms`) }));
    }, ms);
    work.then(
      (answer) => {
        clearTimeout(timer);
        if (!late) return resolve(answer);
        try {
          onLate?.(answer);
        } catch {
          // The request was answered at the deadline; an error here would be an unhandled rejection and end the process.
        }
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(storeError(error));
      },
    );
  });
}

/** Returns an error of the database as the engine knows it: whether a retry may cure it. */
export function storeError(cause: unknown): Error {
  const isOurs = [StoreUnavailableError, StoreRefusedError, NestedOperationError].some((ours) => cause instanceof ours);
  if (isOurs) return cause as Error;
  return isRetryable(cause) ? new StoreUnavailableError({ cause }) : new StoreRefusedError({ cause });
}
