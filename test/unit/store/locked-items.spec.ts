import { GroupCommit } from '../../../lib/store/group-commit.js';
import { says } from '../../../lib/store/driver-errors.js';
import { until } from '../../support/until.js';

interface Item {
  readonly recordId: string;
}

const lockNotAvailable = () => Object.assign(new Error('canceling statement due to lock timeout'), { code: '55P03' });

/** A database some of whose rows are locked. */
class Database {
  readonly batches: string[] = [];
  /** How often each row is still found locked. */
  readonly locked = new Map<string, number>();

  mostAtOnce = 0;
  private atOnce = 0;

  readonly run = async (items: readonly Item[]): Promise<readonly string[]> => {
    const ids = items.map(({ recordId }) => recordId);
    this.batches.push(ids.join(''));
    this.mostAtOnce = Math.max(this.mostAtOnce, ++this.atOnce);
    await new Promise((resolve) => setImmediate(resolve));
    this.atOnce--;
    const locked = ids.filter((id) => (this.locked.get(id) ?? 0) > 0);
    if (locked.length === 0) return ids;
    for (const id of locked) this.locked.set(id, this.locked.get(id)! - 1);
    throw lockNotAvailable();
  };
}

describe('GroupCommit, of rows that others have locked', () => {
  let database: Database;
  let commits: GroupCommit<Item, string>;
  const add = (ids: string) => Promise.allSettled(ids.split('').map((recordId) => commits.add({ recordId })));

  const groupOf = (settings: { maxBatch: number; inFlight: number; patienceMs?: number }, run = database.run) =>
    new GroupCommit<Item, string>(run, { patienceMs: 60_000, isCommon: () => true, ...settings }, (id) => id);

  beforeEach(() => {
    database = new Database();
    commits = groupOf({ maxBatch: 8, inFlight: 1 });
  });

  it('answers the neighbours, and the locked one once it is free', async () => {
    // In the batch, and alone.
    database.locked.set('b', 2);
    expect(await add('abc')).toMatchObject([{ value: 'a' }, { value: 'b' }, { value: 'c' }]);
    const [together, ...alone] = database.batches;
    expect(together).toBe('abc');
    expect(alone.filter((batch) => batch !== 'b').sort()).toEqual(['a', 'c']);
  });

  it('keeps a row that is known to be locked out of batches, until it is found free', async () => {
    database.locked.set('b', Infinity);
    const [{ status, reason }] = (await add('b')) as PromiseRejectedResult[];
    expect({ status, locked: says((reason as Error).cause, 'locked') }).toEqual({ status: 'rejected', locked: true });
    const from = database.batches.length;
    database.locked.clear();
    expect(await add('abc')).toMatchObject([{ value: 'a' }, { value: 'b' }, { value: 'c' }]);
    expect(database.batches.slice(from).sort()).toEqual(['ac', 'b']);
    await add('abc');
    expect(database.batches.at(-1)).toBe('abc');
  });

  it('asks for locked rows one at a time, beside a batch, and fails each after a while', async () => {
    for (const id of 'abcdef') database.locked.set(id, Infinity);
    const settled = await add('abcdef');
    expect(settled.map(({ status }) => status)).toEqual(Array(6).fill('rejected'));
    expect(database.batches.filter((batch) => batch.length > 1)).toEqual(['abcdef']);
    expect(database.mostAtOnce).toBeLessThanOrEqual(2);
  });

  it('does not ask for what no request waits for any longer', async () => {
    commits = groupOf({ maxBatch: 8, inFlight: 1, patienceMs: 200 });
    for (const id of 'abcdefgh') database.locked.set(id, Infinity);
    const settled = (await add('abcdefgh')) as PromiseRejectedResult[];
    expect(settled.at(-1)).toMatchObject({ reason: { cause: new Error('no answer within 200 ms') } });
    expect(database.batches.filter((batch) => batch === 'h')).toHaveLength(1);
  });

  it('does not keep an item waiting for another, where as many may be under way as like', async () => {
    const { run } = database;
    let free!: () => void;
    const freed = new Promise<void>((resolve) => (free = resolve));
    const sent: string[] = [];
    const held = async (items: readonly Item[]) => {
      sent.push(...items.map(({ recordId }) => recordId));
      await freed;
      return run(items);
    };
    commits = groupOf({ maxBatch: 1, inFlight: Infinity }, held);
    const answers = add('abc');
    await until(() => sent.length === 3);
    free();
    expect(await answers).toMatchObject([{ value: 'a' }, { value: 'b' }, { value: 'c' }]);
  });
});
