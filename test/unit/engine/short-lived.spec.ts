import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { ShortLivedMap } from '../../../lib/engine/short-lived.js';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as (options: { type: 'minor' | 'major' }) => void;

const mebibytesInOldSpace = () =>
  getHeapSpaceStatistics().find(({ space_name: name }) => name === 'old_space')!.space_used_size / 2 ** 20;

interface Entries {
  set(key: number, value: object): unknown;
  delete(key: number): unknown;
}

/**
 * The most that 10,000 requests of 2 KB have in the old generation, of which 32 run at a time, in MiB. The map itself has reached
 * it before.
 */
function mostKept(entries: Entries): number {
  const inFlight = 32;
  let at = 0;
  const turn = () => {
    entries.set(
      at,
      Array.from({ length: 250 }, () => at),
    );
    entries.delete(at - inFlight);
    at++;
  };
  while (at < 1000) turn();
  gc({ type: 'major' });
  gc({ type: 'minor' });
  gc({ type: 'minor' });
  const before = mebibytesInOldSpace();
  let most = 0;
  while (at < 11_000) {
    turn();
    if (at % 500 !== 0) continue;
    gc({ type: 'minor' });
    most = Math.max(most, mebibytesInOldSpace() - before);
  }
  return most;
}

describe('ShortLivedMap', () => {
  it('lets go of what was deleted without a major collection', () => {
    expect(mostKept(new ShortLivedMap<number, object>())).toBeLessThan(2);
  });

  // The day this fails, V8 lets go by itself, and a Map will do.
  it('is needed, as a Map keeps what was deleted', () => {
    expect(mostKept(new Map<number, object>())).toBeGreaterThan(5);
  });

  it('has what was added and not deleted, in the order of adding, however often it moves', () => {
    const map = new ShortLivedMap<number, string>();
    for (let i = 0; i < 1000; i++) {
      map.set(i, `value ${i}`);
      if (i % 10 !== 0) map.delete(i);
    }
    expect([map.delete(1), map.delete(10), map.has(10)]).toEqual([false, true, false]);
    map.set(10, 'value 10');
    expect(map.size).toBe(100);
    const tens = Array.from({ length: 100 }, (_, i) => [i * 10, `value ${i * 10}`]);
    expect([...map]).toEqual([...tens.filter(([i]) => i !== 10), [10, 'value 10']]);
    expect([map.get(990), map.has(990), map.get(991), map.has(991)]).toEqual(['value 990', true, undefined, false]);
  });

  it('leaves out what is deleted while it is iterated over, and goes on after it has moved', () => {
    const map = new ShortLivedMap<number, number>();
    for (let i = 0; i < 200; i++) map.set(i, i);
    const met: number[] = [];
    for (const [key] of map) {
      met.push(key);
      for (let i = key; i < key + 150; i++) map.delete(i);
    }
    expect(met).toEqual([0, 150]);
  });
});
