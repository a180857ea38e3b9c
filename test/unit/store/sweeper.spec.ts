import { createHook } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Sweeper } from '../../../lib/store/sweeper.js';
import { until } from '../../support/until.js';

describe('Sweeper', () => {
  const errors: unknown[] = [];
  let expired: number;
  let batches: number[];
  let sweeper: Sweeper;
  let sweepBatch: (limit: number) => Promise<number>;

  beforeEach(() => {
    expired = 0;
    batches = [];
    errors.length = 0;
    sweepBatch = async (limit) => {
      const count = Math.min(limit, expired);
      expired -= count;
      batches.push(count);
      return count;
    };
    sweeper = new Sweeper(
      (limit) => sweepBatch(limit),
      (error) => errors.push(error),
    );
  });
  afterEach(() => sweeper.stop());

  it('deletes batch after batch until nothing is left', async () => {
    expired = 25;
    expect(await sweeper.purge(10)).toBe(25);
    expect(batches).toEqual([10, 10, 5]);
  });

  it('sweeps from time to time', async () => {
    sweeper.start({ everyMs: 10, batch: 10 });
    expired = 5;
    await until(() => expired === 0);
    expired = 3;
    await until(() => expired === 0);
    expect(batches.length).toBeGreaterThanOrEqual(2);
  });

  it('goes on after an error, which it reports', async () => {
    const error = new Error('the database is away');
    const works = sweepBatch;
    let failures = 1;
    sweepBatch = (limit) => (failures-- > 0 ? Promise.reject(error) : works(limit));
    expired = 5;
    sweeper.start({ everyMs: 10, batch: 10 });
    await until(() => expired === 0);
    expect(errors).toEqual([error]);
  });

  it('rests nine times as long as a batch took, unless it was asked to purge', async () => {
    const starts: number[] = [];
    const works = sweepBatch;
    sweepBatch = async (limit) => {
      starts.push(performance.now());
      await sleep(30);
      return works(limit);
    };
    const pauses = () => starts.slice(1).map((at, i) => at - starts[i]);
    expired = 30;
    await sweeper.purge(10);
    expect(Math.min(...pauses())).toBeLessThan(150);
    starts.length = 0;
    expired = 25;
    sweeper.start({ everyMs: 10, batch: 10 });
    await until(() => expired <= 0);
    expect(Math.min(...pauses().slice(0, 2))).toBeGreaterThan(10 * 29);
  });

  it('does not go on after a rest in which it was stopped, and keeps no process alive meanwhile', async () => {
    const works = sweepBatch;
    sweepBatch = async (limit) => {
      await sleep(40);
      return works(limit);
    };
    // The sweeper's alone: jest and this file set timers in this process, too.
    const timers: NodeJS.Timeout[] = [];
    const hook = createHook({
      init(_id, type, _trigger, resource) {
        if (type !== 'Timeout') return;
        const [, , ...callers] = new Error().stack!.split('\n'); // without this function
        const setter = callers.find((line) => /[\\/](sweeper|sweeper\.spec|until)\.[jt]s/.test(line));
        if (/sweeper\.[jt]s/.test(setter ?? '')) timers.push(resource as NodeJS.Timeout);
      },
    }).enable();
    expired = 1_000;
    sweeper.start({ everyMs: 10, batch: 10 });
    await until(() => batches.length > 0 && timers.length > 1);
    hook.disable();
    expect(timers.map((timer) => timer.hasRef())).toEqual(timers.map(() => false));
    sweeper.stop();
    await sleep(600);
    expect(batches).toHaveLength(1);
  });

  it('stops, also in the middle of a sweep', async () => {
    sweeper.start({ everyMs: 10, batch: 10 });
    expired = 1_000_000;
    await until(() => batches.length > 0);
    sweeper.stop();
    const { length } = batches;
    await sleep(80);
    expect(batches.length).toBeLessThanOrEqual(length + 1);
    expect(expired).toBeGreaterThan(0);
  });
});
