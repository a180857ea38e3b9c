import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreUnavailableError } from './errors.js';

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1_000;

/**
 * Tries `work` again while the store is unavailable, with growing, jittered pauses, for as long as `mayRetry` allows a
 * pause of the given length (milliseconds). Other errors pass through.
 *
 * `mayRetry` has to compare with a deadline that stands still. The end of a lease does not: a heartbeat renews it for as
 * long as the execution lives, and what fails each time would be tried for ever.
 */
export async function retryWhileUnavailable<T>(
  work: () => Promise<T>,
  mayRetry: (pauseMs: number) => boolean,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    return retryAfter(error, work, mayRetry);
  }
}

/** As {@link retryWhileUnavailable}, where the first try has failed with `error`. */
export async function retryAfter<T>(
  error: unknown,
  work: () => Promise<T>,
  mayRetry: (pauseMs: number) => boolean,
): Promise<T> {
  let failure = error;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    const jittered = pause * (0.5 + Math.random() / 2);
    if (!(failure instanceof StoreUnavailableError) || !mayRetry(jittered)) throw failure;
    await sleep(jittered);
    try {
      return await work();
    } catch (again) {
      failure = again;
    }
  }
}

/** Allows retries until an instant of `performance.now()`. */
export function until(giveUpAt: number): (pauseMs: number) => boolean {
  return (pauseMs) => performance.now() + pauseMs < giveUpAt;
}
