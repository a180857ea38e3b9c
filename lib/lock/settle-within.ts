/** What {@link settleWithin} answers when time is up. */
export const TIME_IS_UP = Symbol('time is up');

/** What is given on top after a stall of this process, in milliseconds: what it asked may leave its queues only now. */
const AFTER_STALL = 20;

/**
 * Settles as `work` does, or resolves to {@link TIME_IS_UP} after `ms` milliseconds, whichever is first. The
 * caller handles a later result of `work`; a late rejection is not reported.
 */
export function settleWithin<T>(work: Promise<T>, ms: number): Promise<T | typeof TIME_IS_UP> {
  return new Promise((resolve, reject) => {
    const due = performance.now() + ms;
    // The timer is served before the sockets. An answer that is already here counts.
    const give = () => setImmediate(() => resolve(TIME_IS_UP));
    let timer = setTimeout(() => {
      if (performance.now() - due < AFTER_STALL) give();
      else timer = setTimeout(give, AFTER_STALL);
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
