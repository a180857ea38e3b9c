import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreUnavailableError } from './errors.js';

const FIRST_PAUSE = 50;
const LONGEST_PAUSE = 1_000;

/**
 * Tries `work` again while the store is unavailable, with growing, jittered pauses, for as long as `mayRetry` allows a
 * pause of the given length (milliseconds). Other errors pass through.
 *
 * `mayRetry` has to compare with a deadline that stands still. The end of a lease does not: a heartbeat renews it for as
 * long as the execution lives, and what fails each time would be tried for ever.
 */
export async function retryWhileUnavailable<T>(work: () => Promise<T>, mayRetry: (pauseMs: number) => boolean) {
  for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
    try {
      return await work();
    } catch (error) {
      const jittered = pause * (0.5 + Math.random() / 2);
      if (!(error instanceof StoreUnavailableError) || !mayRetry(jittered)) throw error;
      await sleep(jittered);
    }
  }
}

/** Allows retries until an instant of `performance.now()`. */
export function until(giveUpAt: number): (pauseMs: number) => boolean {
  return (pauseMs) => performance.now() + pauseMs < giveUpAt;
}
