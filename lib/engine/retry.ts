import { mayPass } from './errors.js';

const FIRST_PAUSE_MS = 50;
/** Longer pauses would leave a store that is back unused, while leases run out. */
const MAX_PAUSE_MS = 1_000;

/**
 * Repeats `work` while it fails with an error that {@link mayPass}, after pauses that double and are half random. Other errors are
 * thrown at once.
 *
 * @param giveUpAt an instant of `performance.now()`; no pause goes beyond it. A number, because a lease's end would move with every
 *   heartbeat, and a statement that always fails would be repeated as long as the handler runs
 * @param firstFailure how the first try failed, where the caller has made it
 */
export async function retryWhileUnavailable<T>(
  work: () => Promise<T>,
  giveUpAt: number,
  firstFailure?: unknown,
): Promise<T> {
  let longestMs = FIRST_PAUSE_MS;
  const pauseAfter = async (failure: unknown) => {
    const pauseMs = longestMs * (0.5 + Math.random() / 2);
    if (!mayPass(failure) || performance.now() + pauseMs >= giveUpAt) throw failure;
    longestMs = Math.min(longestMs * 2, MAX_PAUSE_MS);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  };
  if (firstFailure !== undefined) await pauseAfter(firstFailure);
  for (;;) {
    try {
      return await work();
    } catch (error) {
      await pauseAfter(error);
    }
  }
}
