import { jest } from '@jest/globals';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { settleWithin, TIME_IS_UP } from '../../../lib/engine/settle-within.js';

describe('settleWithin', () => {
  let now: number;
  beforeEach(() => {
    now = 1_000;
    jest.useFakeTimers({ doNotFake: ['performance', 'setImmediate', 'queueMicrotask', 'nextTick'] });
    jest.spyOn(performance, 'now').mockImplementation(() => now);
  });
  afterEach(() => {
    jest.restoreAllMocks();
    jest.useRealTimers();
  });

  /** Lets time pass in which the process runs. */
  function pass(ms: number): Promise<unknown> {
    now += ms;
    jest.advanceTimersByTime(ms);
    return nextTurn();
  }

  const never = () => new Promise<never>(() => undefined);
  const settled = (work: Promise<unknown>) => Promise.race([work, nextTurn('pending')]);

  it.each([
    ['resolves', () => Promise.resolve(12), { status: 'fulfilled', value: 12 }],
    ['rejects', () => Promise.reject(new Error('lost')), { status: 'rejected', reason: new Error('lost') }],
  ])('%s as its work, and leaves no timer', async (_, work, expected) => {
    const [result] = await Promise.allSettled([settleWithin<unknown>(work(), 100)]);
    expect(result).toEqual(expected);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('gives up after its time, but counts an answer that has arrived', async () => {
    const waited = settleWithin(never(), 100);
    await pass(99);
    expect(await settled(waited)).toBe('pending');
    await pass(1);
    expect(await waited).toBe(TIME_IS_UP);

    let answer!: (value: string) => void;
    const answered = settleWithin(new Promise((resolve) => (answer = resolve)), 100);
    now += 100;
    jest.advanceTimersByTime(100);
    // As node reads sockets behind its timers.
    answer('paid');
    expect(await answered).toBe('paid');
  });

  it.each([
    ['the time that it lost', 80, 80],
    ['at most its own length', 5_000, 100],
  ])('waits on for %s where the process stood still', async (_, stoodStillMs, expected) => {
    const waited = settleWithin(never(), 100);
    now += stoodStillMs;
    await pass(100);
    await pass(expected - 1);
    expect(await settled(waited)).toBe('pending');
    await pass(1);
    expect(await waited).toBe(TIME_IS_UP);
  });

  it('does not wait on where its timer was hardly late', async () => {
    const waited = settleWithin(never(), 100);
    now += 50;
    await pass(100);
    expect(await waited).toBe(TIME_IS_UP);
  });

  it('leaves no timer where the answer comes while it waits on', async () => {
    let answer!: (value: string) => void;
    const waited = settleWithin(new Promise((resolve) => (answer = resolve)), 100);
    now += 200;
    await pass(100);
    answer('paid');
    expect(await waited).toBe('paid');
    expect(jest.getTimerCount()).toBe(0);
  });
});
