import { jest } from '@jest/globals';
import { promisify } from 'node:util';
import { Deadlines } from '../../../lib/store/deadline.js';
import { watchTimers } from '../../support/native/spec-timers.mjs';

const PATIENCE_MS = 20;

test('a timer that a spec file leaves behind sets none among the fake timers of the next', async () => {
  const { setTimeout: before } = globalThis;
  const clear = watchTimers();
  // What a database never answers, in a spec file that has ended.
  new Deadlines<object>(PATIENCE_MS, () => undefined).add({});
  let fired = 0;
  const interval = setInterval(() => fired++, 1);
  clear();
  expect(setTimeout).toBe(before);

  jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
  const isOver = new Promise((resolve) => before(resolve, 3 * PATIENCE_MS));
  await isOver;
  const left = jest.getTimerCount();
  jest.useRealTimers();
  clearInterval(interval);
  expect({ left, fired }).toEqual({ left: 0, fired: 0 });
});

test('timers that are watched work as ever', async () => {
  const clear = watchTimers();
  try {
    await promisify(setTimeout)(1);
    const timer = setTimeout(() => undefined, 60_000);
    expect(timer.unref().hasRef()).toBe(false);
    clearTimeout(timer);
    expect(await new Promise((resolve) => setTimeout(resolve, 1, 'argument'))).toBe('argument');
  } finally {
    clear();
  }
});
