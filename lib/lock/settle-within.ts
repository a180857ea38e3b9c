/** The result of {@link settleWithin} when time is up. */
export const TIME_IS_UP = Symbol('time is up');

/** Additional time after a stall of this process: its commands may leave their queues only now. */
const AFTER_STALL_MS = 20;

/**
 * Settles as `work` does, or resolves to {@link TIME_IS_UP} after `ms` milliseconds. The caller handles a later result of
 * `work`. A late rejection is ignored.
 */
export function settleWithin<T>(work: Promise<T>, ms: number): Promise<T | typeof TIME_IS_UP> {
  return new Promise((resolve, reject) => {
    const due = performance.now() + ms;
    // Node serves timers before sockets. An answer that has already arrived counts.
    const give = () => setImmediate(() => resolve(TIME_IS_UP));
    let timer = setTimeout(() => {
      if (performance.now() - due < AFTER_STALL_MS) give();
      else timer = setTimeout(give, AFTER_STALL_MS);
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
