import { jest } from '@jest/globals';
import { StoreRefusedError, StoreUnavailableError } from '../../../lib/engine/errors.js';
import { Deadlines, TimeLimit, withDeadline } from '../../../lib/store/deadline.js';
import { until } from '../../support/until.js';

afterEach(() => void jest.restoreAllMocks());

const never = () => new Promise<never>(() => undefined);

it('answers as the work does, with one timer for many', async () => {
  const timers = jest.spyOn(globalThis, 'setTimeout');
  const limit = new TimeLimit(60_000);
  const answers = Array.from({ length: 50 }, (_, i) => limit.wait(Promise.resolve(i)));
  expect(await Promise.all(answers)).toEqual(Array.from({ length: 50 }, (_, i) => i));
  await expect(limit.wait(Promise.reject(new Error('violates a constraint')))).rejects.toThrow(StoreRefusedError);
  expect(timers).toHaveBeenCalledTimes(1);
});

it('gives up each at its own deadline, and not before', async () => {
  const limit = new TimeLimit(40);
  const ended: string[] = [];
  const early: string[] = [];
  const wait = async (name: string, work: Promise<unknown> = never()) => {
    const startedAt = performance.now();
    const error: unknown = await limit.wait(work).catch((thrown: unknown) => thrown);
    ended.push(`${name}: ${error instanceof StoreUnavailableError ? (error.cause as Error).message : String(error)}`);
    if (error && performance.now() - startedAt < 38) early.push(name);
  };
  const first = wait('first');
  const startedAt = performance.now();
  await until(() => performance.now() - startedAt > 15);
  const rest = [wait('answered', Promise.resolve()), wait('second')];
  await Promise.all([first, ...rest]);
  const given = 'no answer within 40 ms';
  expect(ended).toEqual(['answered: undefined', `first: ${given}`, `second: ${given}`]);
  // The timer of those before is gone: a later one has its own.
  await wait('third');
  expect([ended.at(-1), early]).toEqual([`third: ${given}`, []]);
});

const standStill = (ms: number) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
const turn = () => new Promise(setImmediate);

describe.each<[string, (work: Promise<void>) => Promise<void>]>([
  ['one', (work) => withDeadline(work, 100)],
  ['many', (work) => new TimeLimit(100).wait(work)],
])('a process that stands still, waiting for %s', (_, wait) => {
  it('has that time again, once', async () => {
    let answer!: () => void;
    const work = new Promise<void>((resolve) => (answer = resolve));
    const waits = [wait(work), wait(never())];
    const settled = Promise.allSettled(waits);
    standStill(250);
    for (let turns = 0; turns < 3; turns++) await turn();
    answer();
    await waits[0];
    expect((await settled)[1]).toMatchObject({ reason: { cause: new Error('no answer within 100 ms') } });
  });

  it('does not wait forever where it does so again and again', async () => {
    let isOver = false;
    const settled = wait(never()).finally(() => (isOver = true));
    settled.catch(() => undefined);
    for (let stalls = 0; !isOver && stalls < 30; stalls++) {
      standStill(160);
      await turn();
    }
    expect(isOver).toBe(true);
    await expect(settled).rejects.toThrow(StoreUnavailableError);
  });
});

it('survives a late answer, and a late error', async () => {
  const strays: unknown[] = [];
  const note = (error: unknown) => strays.push(error);
  process.on('unhandledRejection', note);
  const limit = new TimeLimit(5);
  let end!: (error?: Error) => void;
  for (const late of [undefined, new Error('late')]) {
    const work = new Promise<void>((resolve, reject) => (end = (error) => (error ? reject(error) : resolve())));
    await expect(limit.wait(work)).rejects.toThrow(StoreUnavailableError);
    end(late);
    await work.catch(() => undefined);
  }
  await new Promise(setImmediate);
  process.off('unhandledRejection', note);
  expect(strays).toEqual([]);
});

it('does not expire what was deleted', async () => {
  const expired: string[] = [];
  const deadlines = new Deadlines<string>(5, (item) => expired.push(item));
  for (const item of ['a', 'b', 'c']) deadlines.add(item);
  deadlines.delete('b');
  await until(() => expired.length === 2);
  expect(expired).toEqual(['a', 'c']);
});
