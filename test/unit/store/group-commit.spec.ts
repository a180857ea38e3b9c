import { jest } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { UnreadableRecordError } from '../../../lib/engine/errors.js';
import { GroupCommit, type GroupCommitSettings } from '../../../lib/store/group-commit.js';
import { until } from '../../support/until.js';

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

interface Item {
  readonly recordId: string;
  readonly n: number;
}

/** A database that answers when the test lets it. */
class Database {
  readonly batches: (readonly Item[])[] = [];
  private readonly answers: { resolve(): void; reject(error: Error): void }[] = [];

  readonly run = (items: readonly Item[]): Promise<readonly number[]> => {
    this.batches.push(items);
    return new Promise((resolve, reject) => {
      this.answers.push({ resolve: () => resolve(items.map((item) => item.n)), reject });
    });
  };

  async answer(batch: number, error?: Error): Promise<void> {
    if (error) this.answers[batch].reject(error);
    else this.answers[batch].resolve();
    await turn();
    await turn();
  }

  get sent(): string[][] {
    return this.batches.map((batch) => batch.map((item) => `${item.recordId}${item.n}`));
  }
}

describe('GroupCommit', () => {
  const settings: GroupCommitSettings = { maxBatch: 3, inFlight: 1, patienceMs: 60_000, isCommon: () => false };
  let database: Database;
  const group = (more: Partial<GroupCommitSettings> = {}) =>
    new GroupCommit<Item, number>(database.run, { ...settings, ...more }, (answer) => answer);

  beforeEach(() => {
    database = new Database();
  });
  afterEach(() => void jest.useRealTimers());

  it('sends together what comes in one turn of the event loop, and what comes meanwhile', async () => {
    const commits = group();
    const answers = [commits.add({ recordId: 'd', n: 1 }), commits.add({ recordId: 'c', n: 2 })];
    expect(database.sent).toEqual([]);
    await turn();
    expect(database.sent).toEqual([['c2', 'd1']]);
    answers.push(commits.add({ recordId: 'b', n: 3 }));
    await turn();
    answers.push(commits.add({ recordId: 'a', n: 4 }));
    await turn();
    await database.answer(0);
    expect(database.sent).toEqual([
      ['c2', 'd1'],
      ['a4', 'b3'],
    ]);
    await database.answer(1);
    expect(await Promise.all(answers)).toEqual([1, 2, 3, 4]);
  });

  it('never has one id twice in a batch, nor more than fit', async () => {
    const commits = group();
    const ids = ['a', 'a', 'b', 'c', 'd'];
    const answers = ids.map((recordId, n) => commits.add({ recordId, n }));
    await turn();
    for (let batch = 0; batch < 2; batch++) await database.answer(batch);
    expect(database.sent).toEqual([
      ['a0', 'b2', 'c3'],
      ['a1', 'd4'],
    ]);
    expect(await Promise.all(answers)).toEqual([0, 1, 2, 3, 4]);
  });

  it('has as many batches under way as it may', async () => {
    const commits = group({ inFlight: 2 });
    for (const [n, recordId] of ['a', 'b', 'c'].entries()) {
      void commits.add({ recordId, n });
      await turn();
    }
    expect(database.sent).toEqual([['a0'], ['b1']]);
    await database.answer(1);
    expect(database.sent).toEqual([['a0'], ['b1'], ['c2']]);
    for (const batch of [0, 2]) await database.answer(batch);
  });

  it('tries one by one what the database refuses together', async () => {
    const commits = group();
    const settled = Promise.allSettled(['a', 'b'].map((recordId, n) => commits.add({ recordId, n })));
    await turn();
    await database.answer(0, new Error('a bad row'));
    await database.answer(1, new Error('this one'));
    await database.answer(2);
    expect(database.sent).toEqual([['a0', 'b1'], ['a0'], ['b1']]);
    expect(await settled).toMatchObject([
      { reason: { name: 'StoreRefusedError', cause: new Error('this one') } },
      { value: 1 },
    ]);
  });

  it('does not, where the trouble is not with a row', async () => {
    const commits = group({ isCommon: () => true });
    const settled = Promise.allSettled(['a', 'b'].map((recordId, n) => commits.add({ recordId, n })));
    await turn();
    const lost = new Error('connection lost');
    await database.answer(0, lost);
    expect(database.sent).toEqual([['a0', 'b1']]);
    expect(await settled).toMatchObject([{ reason: { cause: lost } }, { reason: { cause: lost } }]);
  });

  it('gives the place of a batch without an answer to the next, and hands on the answer when it comes', async () => {
    const commits = group({ patienceMs: 1_000 });
    const late: number[] = [];
    const first = Promise.allSettled([commits.add({ recordId: 'a', n: 1 }, (answer) => late.push(answer))]);
    await sleep(500);
    const second = commits.add({ recordId: 'b', n: 2 });
    expect(await first).toMatchObject([
      { reason: { name: 'StoreUnavailableError', cause: new Error('no answer within 1000 ms') } },
    ]);
    await until(() => database.sent.length === 2);
    expect(database.sent).toEqual([['a1'], ['b2']]);
    await database.answer(0);
    expect(late).toEqual([1]);
    await database.answer(1);
    expect(await second).toBe(2);
  });

  it('survives a late answer that cannot be handed on, and a late error', async () => {
    // Its own clock: on a busy machine, the second item would be given up before it is sent.
    jest.useFakeTimers({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate'] });
    const commits = group({ patienceMs: 100, inFlight: 2 });
    const strays: unknown[] = [];
    const note = (error: unknown) => strays.push(error);
    process.on('unhandledRejection', note);
    const fail = () => {
      throw new Error('unreadable');
    };
    const first = Promise.allSettled([commits.add({ recordId: 'a', n: 1 }, fail)]);
    await turn();
    const second = Promise.allSettled([commits.add({ recordId: 'b', n: 2 })]);
    await turn();
    jest.advanceTimersByTime(100);
    expect([...(await first), ...(await second)].map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await database.answer(0);
    await database.answer(1, new Error('late'));
    process.off('unhandledRejection', note);
    expect(strays).toEqual([]);
  });

  it('fails the one item whose answer cannot be read', async () => {
    const unreadable = new UnreadableRecordError();
    const commits = new GroupCommit<Item, number>(database.run, settings, (answer) => {
      if (answer === 1) throw unreadable;
      return answer;
    });
    const settled = Promise.allSettled(['a', 'b'].map((recordId, n) => commits.add({ recordId, n })));
    await turn();
    await database.answer(0);
    expect(await settled).toMatchObject([{ value: 0 }, { reason: unreadable }]);
  });

  it('gives a place once, though the answer comes after all', async () => {
    const commits = group({ patienceMs: 1_000 });
    await Promise.allSettled([commits.add({ recordId: 'a', n: 1 })]);
    void commits.add({ recordId: 'b', n: 2 });
    await turn();
    await database.answer(0);
    void commits.add({ recordId: 'c', n: 3 });
    await turn();
    // The one that took the place is still under way.
    expect(database.sent).toEqual([['a1'], ['b2']]);
    await database.answer(1);
    expect(database.sent).toEqual([['a1'], ['b2'], ['c3']]);
    await database.answer(2);
  });

  it('does not send what waited too long', async () => {
    const commits = group({ patienceMs: 100 });
    const first = Promise.allSettled([commits.add({ recordId: 'a', n: 1 })]);
    await turn();
    const settled = Promise.allSettled([commits.add({ recordId: 'b', n: 2 })]);
    // The process stands still: the first batch cannot make room before the second has waited for too long.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    for (const [one] of [await first, await settled]) {
      expect(one).toMatchObject({ reason: { cause: new Error('no answer within 100 ms') } });
    }
    expect(database.sent).toEqual([['a1']]);
  });
});
