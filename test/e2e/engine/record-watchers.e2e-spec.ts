import type { RecordStore, RecordState } from '../../../lib/engine/ports/record-store.js';
import { RecordWatchers } from '../../../lib/engine/record-watchers.js';
import { aClaim, type StoreFixture, COMPLETION, ownership } from '../store/support.js';
import { until } from '../../support/until.js';
import { openStoreFixture, SECOND, sleep, TestWakeUp } from './support.js';

let fixture: StoreFixture;
let store: RecordStore;
let marks: number;
beforeAll(async () => void (fixture = await openStoreFixture()));
afterAll(() => fixture?.close());

beforeEach(() => {
  marks = 0;
  const real = fixture.store();
  const markAwaited: RecordStore['markAwaited'] = (recordId) => {
    marks++;
    return real.markAwaited(recordId);
  };
  store = Object.create(real, { markAwaited: { value: markAwaited } }) as RecordStore;
});

const running = (leaseMs = 30 * SECOND): Promise<RecordState> => store.claim(aClaim({ leaseMs }));

function changesOf(watches: RecordWatchers, recordId: string): number {
  return watches.get(recordId)?.changes ?? 0;
}

async function timeOf(work: Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await work;
  return performance.now() - startedAt;
}

/** Whether it resolves by itself: before any timer that is still to come. */
async function isResolved(work: Promise<unknown>): Promise<boolean> {
  let resolved = false;
  void work.then(() => (resolved = true));
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  return resolved;
}

describe('a watch over a channel', () => {
  it('is woken by an announcement', async () => {
    const wakeUp = new TestWakeUp();
    const watches = new RecordWatchers(store, wakeUp);
    const recordState = await running();
    const { recordId } = recordState;
    const watch = watches.join(recordId);
    await until(() => marks === 1);
    const seen = changesOf(watches, recordId);
    const waits = [1, 2].map(() => watch.changed(seen, 20 * SECOND, recordState));
    expect(await isResolved(Promise.any(waits))).toBe(false);
    await wakeUp.announce(recordId);
    expect(await isResolved(Promise.all(waits))).toBe(true);
    expect(changesOf(watches, recordId)).toBe(seen + 1);
    watch.leave();
  });

  it('does not miss what changed between the look and the wait', async () => {
    const wakeUp = new TestWakeUp();
    const watches = new RecordWatchers(store, wakeUp);
    const recordState = await running();
    const watch = watches.join(recordState.recordId);
    await until(() => marks === 1);
    const seen = changesOf(watches, recordState.recordId);
    await wakeUp.announce(recordState.recordId);
    expect(await isResolved(watch.changed(seen, 20 * SECOND, recordState))).toBe(true);
    watch.leave();
  });

  it('is one for all that wait, until the last has gone', async () => {
    const wakeUp = new TestWakeUp();
    const watches = new RecordWatchers(store, wakeUp);
    const recordState = await running();
    const { recordId } = recordState;
    const [one, other] = [watches.join(recordId), watches.join(recordId)];
    await until(() => marks === 1);
    expect(wakeUp.listening).toBe(1);
    one.leave();
    expect(wakeUp.listening).toBe(1);
    const woken = other.changed(changesOf(watches, recordId), 20 * SECOND, recordState);
    await wakeUp.announce(recordId);
    expect(await isResolved(woken)).toBe(true);
    other.leave();
    expect(wakeUp.listening).toBe(0);
    // A request that comes after that begins again.
    const next = watches.join(recordId);
    await until(() => wakeUp.listening === 1);
    expect(watches.get(recordId)?.currentRecord).toBeUndefined();
    next.leave();
  });

  it('closes a subscription that comes when no request waits any more, and marks nothing', async () => {
    const wakeUp = new TestWakeUp();
    const watches = new RecordWatchers(store, wakeUp);
    const { recordId } = await running();
    watches.join(recordId).leave();
    await sleep(50);
    expect(wakeUp.listening).toBe(0);
    expect(marks).toBe(0);
  });

  it('marks a record once for each owner', async () => {
    const watches = new RecordWatchers(store, new TestWakeUp());
    const recordState = await running();
    const watch = watches.join(recordState.recordId);
    const waits = [1, 2, 3].map(() => watch.changed(0, 300, recordState));
    await Promise.all(waits);
    expect(marks).toBe(1);
    await fixture.expireLease(recordState.recordId);
    const next = await store.claim({
      ...aClaim(),
      recordId: recordState.recordId,
      fingerprint: recordState.fingerprint,
    });
    expect(next.token).toBe(2);
    await Promise.all([1, 2].map(() => watch.changed(changesOf(watches, recordState.recordId), 100, next)));
    expect(marks).toBe(2);
    watch.leave();
  });

  it('looks again at once where the record was over before it could be marked', async () => {
    const watches = new RecordWatchers(store, new TestWakeUp());
    const recordState = await running();
    await store.complete(ownership(recordState), COMPLETION);
    const watch = watches.join(recordState.recordId);
    const waiting = watch.changed(changesOf(watches, recordState.recordId), 20 * SECOND, recordState);
    await until(() => marks === 1);
    await sleep(20);
    expect(await isResolved(waiting)).toBe(true);
    watch.leave();
  });

  it('has a look now and then all the same', async () => {
    const watches = new RecordWatchers(store, new TestWakeUp());
    const recordState = await running();
    const watch = watches.join(recordState.recordId);
    await until(() => marks === 1);
    const took = await timeOf(watch.changed(changesOf(watches, recordState.recordId), 20 * SECOND, recordState));
    // Half a second, give or take a half of that.
    expect(took).toBeGreaterThan(150);
    expect(took).toBeLessThan(5 * SECOND);
    watch.leave();
  });
});

describe('a wait', () => {
  it('ends after the time that was asked for', async () => {
    const watches = new RecordWatchers(store, new TestWakeUp());
    const recordState = await running();
    const watch = watches.join(recordState.recordId);
    await until(() => marks === 1);
    const took = await timeOf(watch.changed(changesOf(watches, recordState.recordId), 100, recordState));
    expect(took).toBeGreaterThan(90);
    // By itself: no look was due yet.
    expect(changesOf(watches, recordState.recordId)).toBe(0);
    watch.leave();
  });

  it('ends when the lease has run out, and not before', async () => {
    const watches = new RecordWatchers(store, new TestWakeUp());
    const recordState = await running(120);
    const watch = watches.join(recordState.recordId);
    const took = await timeOf(watch.changed(changesOf(watches, recordState.recordId), 20 * SECOND, recordState));
    expect(took).toBeGreaterThan(recordState.leaseLeftMs);
    watch.leave();
  });

  it('ends for all at once when the lease has run out, so that one look serves them', async () => {
    const watches = new RecordWatchers(store, new TestWakeUp());
    const recordState = await running(120);
    const watch = watches.join(recordState.recordId);
    const ended: number[] = [];
    const waits = Array.from({ length: 20 }, async () => {
      await watch.changed(0, 20 * SECOND, recordState);
      ended.push(changesOf(watches, recordState.recordId));
    });
    await Promise.all(waits);
    expect(ended).toEqual(Array(20).fill(1));
    expect(watch.currentRecord).toBeUndefined();
    watch.leave();
  });

  it('polls where there is no channel, ever more seldom', async () => {
    const watches = new RecordWatchers(store, undefined);
    const recordState = await running();
    const watch = watches.join(recordState.recordId);
    const pauses: number[] = [];
    for (let i = 0; i < 5; i++) {
      pauses.push(await timeOf(watch.changed(changesOf(watches, recordState.recordId), 20 * SECOND, recordState)));
    }
    expect(Math.min(...pauses)).toBeLessThan(200);
    expect(pauses[4]).toBeGreaterThan(140);
    expect(marks).toBe(0);
    watch.leave();
    const changes = changesOf(watches, recordState.recordId);
    await sleep(600);
    expect(changesOf(watches, recordState.recordId)).toBe(changes);
  });
});

describe('what is known of a record', () => {
  it('is what those that wait have seen, until it changes', async () => {
    const wakeUp = new TestWakeUp();
    const watches = new RecordWatchers(store, wakeUp);
    const recordState = await running();
    const { recordId } = recordState;
    expect(watches.get(recordId)?.currentRecord).toBeUndefined();
    const watch = watches.join(recordId);
    await until(() => marks === 1);
    expect(watches.get(recordId)?.currentRecord).toBeUndefined();
    const waiting = watch.changed(changesOf(watches, recordId), 20 * SECOND, recordState);
    expect(watches.get(recordId)?.currentRecord).toBe(recordState);
    await wakeUp.announce(recordId);
    await waiting;
    expect(watches.get(recordId)?.currentRecord).toBeUndefined();
    watch.leave();
  });

  it('is no longer known once the lease that was seen has run out', async () => {
    const watches = new RecordWatchers(store, new TestWakeUp());
    const recordState = await running(SECOND);
    const { recordId } = recordState;
    const watch = watches.join(recordId);
    await until(() => marks === 1);
    const wait = () => watch.changed(changesOf(watches, recordId), 20, recordState);
    await wait();
    expect(watches.get(recordId)?.currentRecord).toBe(recordState);
    // Seeing the same again does not make it newer.
    for (const giveUpAt = performance.now() + 1_050; performance.now() < giveUpAt;) await wait();
    expect(watches.get(recordId)?.currentRecord).toBeUndefined();
    watch.leave();
  });
});
