/**
 * The pause before a request is sent again, in milliseconds: doubling with every retry, half of it random, and no
 * shorter than the server asks for. What the server asks of many clients at once is spread as well.
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

/** Waits, and rejects with the signal's reason when it is aborted. */
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
