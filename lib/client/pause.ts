/**
 * Returns the pause before a retry, in milliseconds: it doubles with every retry, is half random, and is no shorter than the server asks
 * for. A server asks many clients for the same pause, so that this is spread, too.
 *
 * @param retry 1 for the first
 */
export function pauseBefore(
  retry: number,
  askedFor: number | undefined,
  { firstPause, longestPause }: { readonly firstPause: number; readonly longestPause: number },
): number {
  const ceiling = Math.min(longestPause, firstPause * 2 ** (retry - 1));
  const backOff = (ceiling / 2) * (1 + Math.random());
  return askedFor === undefined || askedFor < backOff ? backOff : askedFor + Math.random() * firstPause;
}

/** Waits, or rejects with the signal's reason once it aborts. */
export function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal!.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
