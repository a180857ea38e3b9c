import { jest } from '@jest/globals';
import { StoreUnavailableError } from '../../../lib/engine/errors.js';
import { retryWhileUnavailable } from '../../../lib/engine/retry.js';

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

/** Fails so many times, and records when it was called. */
function failing(times: number, error: Error = new StoreUnavailableError()) {
  const calls: number[] = [];
  const work = async () => {
    if (calls.push(performance.now()) <= times) throw error;
    return 'done';
  };
  return { work, calls };
}

/** Runs to the end of all pauses, and returns the outcome. */
async function outcomeOf(work: () => Promise<string>, giveUpInMs: number, firstFailure?: unknown): Promise<unknown> {
  const result = retryWhileUnavailable(work, performance.now() + giveUpInMs, firstFailure).catch(
    (error: unknown) => error,
  );
  await jest.advanceTimersByTimeAsync(60_000);
  return result;
}

it('tries again after pauses that double up to a second, and half of which is random', async () => {
  const { work, calls } = failing(8);
  expect(await outcomeOf(work, 60_000)).toBe('done');
  const pauses = calls.slice(1).map((at, i) => at - calls[i]);
  expect(pauses).toHaveLength(8);
  pauses.forEach((pause, i) => {
    const most = Math.min(50 * 2 ** i, 1_000);
    expect(pause).toBeGreaterThanOrEqual(most / 2 - 1);
    expect(pause).toBeLessThanOrEqual(most + 1);
  });
  expect(new Set(pauses.map((pause, i) => pause / 2 ** i)).size).toBeGreaterThan(1);
});

it('pauses no longer than until it gives up', async () => {
  const error = new StoreUnavailableError();
  const at = failing(1, error);
  expect(await outcomeOf(at.work, 25)).toBe(error);
  expect(at.calls).toHaveLength(1);
  const after = failing(10, error);
  expect(await outcomeOf(after.work, 500)).toBe(error);
  expect(after.calls.at(-1)! - after.calls[0]).toBeLessThan(500);
  expect(after.calls.length).toBeGreaterThan(3);
});

it('begins with a pause where the first try has failed', async () => {
  const { work, calls } = failing(0);
  const startedAt = performance.now();
  expect(await outcomeOf(work, 60_000, new StoreUnavailableError())).toBe('done');
  expect(calls).toHaveLength(1);
  expect(calls[0] - startedAt).toBeGreaterThanOrEqual(24);
});

it('does not try again what fails for another reason', async () => {
  const { work, calls } = failing(1, new TypeError('a mistake'));
  expect(await outcomeOf(work, 60_000)).toEqual(new TypeError('a mistake'));
  expect(await outcomeOf(work, 60_000, new TypeError('before'))).toEqual(new TypeError('before'));
  expect(calls).toHaveLength(1);
});
