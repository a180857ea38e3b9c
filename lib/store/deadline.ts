import { StoreUnavailableError } from '../engine/errors.js';

/**
 * Waits for `work` for at most `ms` milliseconds; whatever goes wrong is told as {@link StoreUnavailableError}, with
 * the cause. The work itself cannot be called back: `onLate` gets an answer that comes after all.
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
        if (late) onLate?.(answer);
        else resolve(answer);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(new StoreUnavailableError({ cause: error }));
      },
    );
  });
}
