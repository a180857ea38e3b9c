const TICK_MS = 5;
const LONGEST_MS = 60_000;

/**
 * Measures what may not take long, on a machine that may stand still: time in which this process did not get to run counts as
 * two ticks. For upper bounds only. Returns a function that ends the measurement and returns the milliseconds.
 */
export function stopwatch(): () => number {
  let ms = 0;
  let last = performance.now();
  const count = () => {
    const now = performance.now();
    ms += Math.min(now - last, 2 * TICK_MS);
    last = now;
    if (ms > LONGEST_MS) clearInterval(ticks);
  };
  const ticks = setInterval(count, TICK_MS).unref();
  return () => {
    count();
    clearInterval(ticks);
    return ms;
  };
}
