/** What {@link settleWithin} answers when time is up. */
export const TIME_IS_UP = Symbol('time is up');

/**
 * Settles as `work` does, or resolves to {@link TIME_IS_UP} after `ms` milliseconds, whichever is first. What `work`
 * comes to later is the caller's to handle; a late rejection goes unreported.
 */
export function settleWithin<T>(work: Promise<T>, ms: number): Promise<T | typeof TIME_IS_UP> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      // After a stall of this process the timer is served before the sockets. An answer that is already here counts.
      setImmediate(() => resolve(TIME_IS_UP));
    }, ms);
    work.then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error as Error);
      },
    );
  });
}
