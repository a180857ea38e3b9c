import { performance } from 'node:perf_hooks';
import { StoreUnavailableError } from '../../../lib/engine/errors.js';
import { retryWhileUnavailable } from '../../../lib/engine/retry.js';

/** Fails so many times. */
function failing(times: number, error: Error = new StoreUnavailableError()) {
  let calls = 0;
  const work = async () => {
    if (calls++ < times) throw error;
    return 'done';
  };
  return { work, calls: () => calls };
}

it('tries again after pauses that grow, and differ', async () => {
  const { work, calls } = failing(5);
  const pauses: number[] = [];
  const startedAt = performance.now();
  expect(await retryWhileUnavailable(work, (pause) => pauses.push(pause) > 0)).toBe('done');
  expect(calls()).toBe(6);
  pauses.forEach((pause, i) => {
    const most = 50 * 2 ** i;
    expect(pause).toBeGreaterThanOrEqual(most / 2);
    expect(pause).toBeLessThanOrEqual(most);
  });
  expect(performance.now() - startedAt).toBeGreaterThan(700);
});

it('pauses for a second at the most', async () => {
  const { work } = failing(8);
  const pauses: number[] = [];
  // Not slept: the last of them is refused.
  const mayRetry = (pause: number) => pauses.push(pause) < 7;
  await expect(retryWhileUnavailable(work, mayRetry)).rejects.toThrow(StoreUnavailableError);
  expect(pauses).toHaveLength(7);
  expect(pauses[6]).toBeGreaterThanOrEqual(500);
  expect(pauses[6]).toBeLessThanOrEqual(1_000);
});

it('does not try again what it may not', async () => {
  const { work, calls } = failing(1);
  await expect(retryWhileUnavailable(work, () => false)).rejects.toThrow(StoreUnavailableError);
  expect(calls()).toBe(1);
});

it('does not try again what fails for another reason', async () => {
  const { work, calls } = failing(1, new TypeError('a mistake'));
  await expect(retryWhileUnavailable(work, () => true)).rejects.toThrow('a mistake');
  expect(calls()).toBe(1);
});
