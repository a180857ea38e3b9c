/** Takes the place of `@jest/globals`, which exists within jest's own modules only: as much of it as the tests use. */
import { jestExpect } from '@jest/expect';
import { ModernFakeTimers } from '@jest/fake-timers';
import { ModuleMocker } from 'jest-mock';
import { performance } from 'node:perf_hooks';

const mocker = new ModuleMocker(globalThis);
const config = /** @type {import('@jest/types').Config.ProjectConfig} */ ({ rootDir: process.cwd(), fakeTimers: {} });
const timers = new ModernFakeTimers({ global: globalThis, config });
const TIMEOUT = Symbol.for('TEST_TIMEOUT_SYMBOL');

export const expect = jestExpect;
export const jest = {
  fn: mocker.fn.bind(mocker),
  spyOn: mocker.spyOn.bind(mocker),
  restoreAllMocks: mocker.restoreAllMocks.bind(mocker),
  useFakeTimers: timers.useFakeTimers.bind(timers),
  useRealTimers: timers.useRealTimers.bind(timers),
  getTimerCount: timers.getTimerCount.bind(timers),
  clearAllTimers: timers.clearAllTimers.bind(timers),
  advanceTimersByTime: timers.advanceTimersByTime.bind(timers),
  advanceTimersByTimeAsync: timers.advanceTimersByTimeAsync.bind(timers),
  /** @param {number} ms */
  setTimeout: (ms) => void Reflect.set(globalThis, TIMEOUT, ms),
};

/** Takes back what a spec file may have left changed. */
export function reset() {
  jest.restoreAllMocks();
  jest.useRealTimers();
  // A mock of the fake clock that was restored behind useRealTimers() would leave the fake one, which stands still.
  Reflect.deleteProperty(performance, 'now');
  Reflect.deleteProperty(globalThis, TIMEOUT);
}
