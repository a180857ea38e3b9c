import { setImmediate } from 'node:timers';

/** The result of {@link settleWithin} when time is up. */
export const TIME_IS_UP = Symbol('time is up');

/** How late a timer fires where its process stood still: synchronous work of a handler, or a platform that froze it. */
const STALL_MS = 50;

/**
 * Returns for how long a deadline is put off, in milliseconds: while the process stood still, it could neither send a request nor read
 * the answer. A deadline is put off once, and at most by its own length, because the server may be silent as well.
 *
 * @param due when the timer of the deadline was to fire, by `performance.now()`
 */
export function lostToStall(due: number, ms: number): number {
  const lateMs = performance.now() - due;
  return lateMs > STALL_MS ? Math.min(lateMs, ms) : 0;
}

/**
 * Settles as `work` does, or resolves to {@link TIME_IS_UP} after `ms` milliseconds in which this process runs. The work itself goes
 * on. The caller handles a later result of it. A late rejection is ignored.
 */
export function settleWithin<T>(work: Promise<T>, ms: number): Promise<T | typeof TIME_IS_UP> {
  return new Promise((resolve, reject) => {
    const due = performance.now() + ms;
    // Node serves timers before sockets. An answer that has already arrived counts.
    const giveUp = () => setImmediate(() => resolve(TIME_IS_UP));
    let timer = setTimeout(() => {
      const lostMs = lostToStall(due, ms);
      if (lostMs > 0) timer = setTimeout(giveUp, lostMs);
      else giveUp();
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
