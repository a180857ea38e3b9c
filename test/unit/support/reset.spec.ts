import { jest } from '@jest/globals';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { reset } from '../../support/native/jest-globals.mjs';

afterEach(() => reset());

// In a worker whose clock stood still, no heartbeat was sent any more, and whatever waited did so forever.
test.each([
  ['timers, then mocks', () => (jest.useRealTimers(), jest.restoreAllMocks())],
  ['mocks, then timers', () => (jest.restoreAllMocks(), jest.useRealTimers())],
  ['neither', () => undefined],
])('the clock goes on behind a spec file that has given back %s', async (_, giveBack) => {
  jest.useFakeTimers();
  jest.spyOn(performance, 'now').mockImplementation(() => 5);
  giveBack();
  reset();
  const before = performance.now();
  await sleep(5);
  expect(performance.now()).toBeGreaterThan(before);
});
