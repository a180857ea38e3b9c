import { check } from '../../faults/check/checker.js';
import type { Terms } from '../../faults/check/violation.js';
import type { Entry } from '../../faults/history/entry.js';
import { type MemorySample, trendsOf } from '../../faults/lab/memory.js';
import { Throttle } from '../../faults/lab/throttle.js';

const MIB = 1 << 20;

/** Ten minutes of measurements, ten seconds apart, at 300 operations a second. */
function samples(heapAt: (operations: number, i: number) => number, count = 60): MemorySample[] {
  return Array.from({ length: count }, (_, i) => {
    const operations = i * 3_000;
    return { app: 'app1', operations, seconds: i * 10, heap: heapAt(operations, i), rss: 150 * MIB };
  });
}

describe('memory', () => {
  // As large as what is under way at one moment, and repeatable.
  const noise = (i: number) => ((i * 7919) % 13) * 0.3 * MIB;

  test('that goes up and down is flat', () => {
    const [trend] = trendsOf(samples((_, i) => 60 * MIB + noise(i)));
    expect(trend).toMatchObject({ grows: false, samples: 54 });
  });

  test('of 50 bytes an operation is growth', () => {
    const [trend] = trendsOf(samples((operations, i) => 60 * MIB + noise(i) + 50 * operations));
    expect(trend.grows).toBe(true);
    expect(trend.heap.slope).toBeCloseTo(50, -1);
  });

  test('that fills while the process warms up, and one odd sample, are no growth', () => {
    const [trend] = trendsOf(samples((_, i) => (i === 30 ? 200 : Math.min(60, 30 + 6 * i)) * MIB));
    expect(trend.grows).toBe(false);
  });

  test('that was watched for too short a time is not judged', () => {
    const [trend] = trendsOf(samples((operations) => operations * MIB, 10));
    expect(trend.grows).toBeUndefined();
  });
});

describe('the checker', () => {
  const terms: Terms = { leaseMs: 1_000, answerWithinMs: 2_000, workMs: () => 0 };
  const operation = { op: 'a', workload: 'plain', key: 'k', principal: 'alice', record: 'r' } as const;

  function say(...news: ({ kind: Entry['kind']; at: number; who?: string } & Record<string, unknown>)[]): Entry[] {
    return [{ kind: 'operation', at: 0, ...operation }, ...news].map((one) => ({ who: 'clients', ...one }) as Entry);
  }
  const seen = (entries: Entry[]) => check(entries, terms).map(({ guarantee, detail }) => `${guarantee}: ${detail}`);

  const slow = [
    { kind: 'ask', at: 0, op: 'a', ask: 1, app: 'app1' },
    { kind: 'lost', at: 5_000, op: 'a', ask: 1, why: 'timeout' },
  ] as const;

  test('takes silence for a violation', () => {
    expect(seen(say(...slow))).toEqual(['fail closed: app1 said nothing for 5000 ms']);
  });

  test('excuses the processes that waited for a processor, for that long', () => {
    const starved = (ms: number) => ({ kind: 'starved', at: 4_000, who: 'app1', ms }) as const;
    expect(seen(say(slow[0], starved(3_500), slow[1]))).toEqual([]);
    expect(seen(say(slow[0], starved(500), slow[1]))).toHaveLength(1);
    // Another process, and another time.
    expect(seen(say(slow[0], { ...starved(3_500), who: 'app2' }, slow[1]))).toHaveLength(1);
    expect(seen(say(slow[0], slow[1], { ...starved(3_500), at: 6_000 }))).toHaveLength(1);
  });

  test('lets an interceptor call a handler again under one claim, and no other execution', () => {
    const claimed = { kind: 'claimed', at: 1, who: 'app1', record: 'r', owner: 'o', token: 1, attempt: 1, sentAt: 0 };
    const began = { kind: 'began', at: 2, who: 'app1', op: 'a', token: 1, attempt: 1 };
    const entries = (again?: true) =>
      say({ ...claimed, takenFrom: null } as never, began as never, { ...began, at: 3, again } as never);
    expect(seen(entries(true))).toEqual([]);
    expect(seen(entries())).toEqual(['one winner: two executions have the token 1']);
  });

  test('expects no answer for a client that never came back', () => {
    const entries = (abandoned?: true) => {
      const [first, ...rest] = say(
        { kind: 'healed', at: 10 },
        { kind: 'ask', at: 5, op: 'a', ask: 1, app: 'app1' },
        { kind: 'lost', at: 20, op: 'a', ask: 1, why: 'broken' },
      );
      return [{ ...first, abandoned } as Entry, ...rest];
    };
    expect(seen(entries(true))).toEqual([]);
    expect(seen(entries())).toEqual(['available again: not answered within 3000 ms after the faults']);
  });
});

test('clients ask for less at a time while answers fail, and for more again when they are quick', async () => {
  const throttle = new Throttle(32);
  let underWay = 0;
  const begin = () => void throttle.free().then(() => underWay++);
  for (let i = 0; i < 40; i++) begin();
  await Promise.resolve();
  expect(underWay).toBe(8);
  for (let i = 0; i < 2_000; i++) throttle.learn(10, false);
  await Promise.resolve();
  expect(underWay).toBe(32);
  throttle.learn(10, true);
  for (let i = 0; i < 9; i++) throttle.release();
  await Promise.resolve();
  expect(underWay).toBe(33);
});
