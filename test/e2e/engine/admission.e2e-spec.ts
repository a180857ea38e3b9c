import { randomBytes } from 'node:crypto';
import { LockUnavailableError, ShuttingDownError } from '../../../lib/engine/errors.js';
import { TOMBSTONE } from '../../../lib/engine/outcome.js';
import type { Claim, RecordState } from '../../../lib/engine/ports/record-store.js';
import { StoreUnavailableError } from '../../../lib/testing/index.js';
import type { StoreFixture } from '../store/support.js';
import { until } from '../../support/until.js';
import {
  anOperation,
  DISCARD,
  duplicate,
  HOUR,
  openStoreFixture,
  OUTCOME,
  Process,
  RELEASE,
  SECOND,
  sleep,
  STORE,
  TestLock,
  TestWakeUp,
  WAIT,
} from './support.js';

let fixture: StoreFixture;
beforeAll(async () => void (fixture = await openStoreFixture()));
afterAll(() => fixture?.close());

describe('a request', () => {
  it('runs once, and is answered from the record after that', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    const leased = await here.begin(operation);
    expect(here.engine.isRunning).toBe(true);
    expect(await leased.runToEnd(async () => STORE)).toEqual({ kind: 'stored' });
    expect(here.engine.isRunning).toBe(false);

    const again = await here.engine.admit(duplicate(operation));
    expect(again).toEqual({ kind: 'replay', outcome: OUTCOME });
    const { recordId, endpoint } = operation;
    const ms = expect.any(Number);
    expect(here.events).toEqual([
      { type: 'claimed', recordId, endpoint, attempt: 1, token: 1, takeMs: ms, takenOver: false },
      { type: 'completed', recordId, endpoint, attempt: 1, token: 1, takeMs: ms },
      { type: 'replayed', recordId, endpoint, waited: false },
    ]);
    for (const type of ['claimed', 'completed'] as const) {
      expect(here.event(type)!.takeMs).toBeGreaterThan(0);
      expect(here.event(type)!.takeMs).toBeLessThan(10 * SECOND);
    }
  });

  it('claims on the terms of its policy', async () => {
    const here = new Process(fixture);
    const claimOf = async (operation = anOperation()) => {
      await here.run(operation);
      return here.sites.findLast(({ claim }) => claim)!.claim as Claim;
    };
    const binding = randomBytes(16);
    const operation = anOperation(
      { leaseMs: 1_234, retentionMs: 5_678 },
      { binding, request: () => Buffer.from('asked'), route: 'POST /pay', scopeDigest: binding },
    );
    expect(await claimOf(operation)).toEqual({
      recordId: operation.recordId,
      owner: expect.stringMatching(/^[0-9a-f-]{36}$/),
      endpoint: 'POST /payments',
      route: 'POST /pay',
      scopeDigest: binding,
      fingerprint: operation.fingerprint,
      binding,
      request: Buffer.from('asked'),
      leaseMs: 1_234,
      retentionMs: 5_678,
      holdOnCrash: false,
      maxAttempts: 5,
      asyncCommit: false,
    });
    const terms = async (policy: Parameters<typeof anOperation>[0]) => {
      const { holdOnCrash, asyncCommit } = await claimOf(anOperation(policy));
      return { holdOnCrash, asyncCommit };
    };
    expect(await terms({ transactional: true })).toEqual({ holdOnCrash: false, asyncCommit: true });
    // What a crash would make it forget is what has to be held.
    expect(await terms({ transactional: true, afterCrash: 'hold' })).toEqual({ holdOnCrash: true, asyncCommit: false });
  });

  it('emits no event where nothing subscribes', async () => {
    const here = new Process(fixture, { observed: false });
    const operation = anOperation();
    const leased = await here.begin(operation);
    await here.engine.admit(duplicate(operation));
    const waiting = here.engine.admit(duplicate(operation, WAIT));
    await leased.runToEnd(async () => STORE);
    await waiting;
    await here.engine.admit(duplicate(operation, {}, { fingerprint: randomBytes(32) }));
    await here.run(anOperation(), RELEASE);
    await here.run(anOperation(), { kind: 'store', outcome: TOMBSTONE, failed: false, tombstone: TOMBSTONE });
    expect(here.events).toEqual([]);
  });

  it('takes over once the lease of an owner has run out', async () => {
    const [there, here] = [new Process(fixture), new Process(fixture)];
    const operation = anOperation();
    await there.begin(operation);
    await fixture.expireLease(operation.recordId);
    await here.run(duplicate(operation));
    expect(here.events.slice(0, 2)).toMatchObject([
      { type: 'claimed', attempt: 2, token: 2, takenOver: true },
      { type: 'takenOver', recordId: operation.recordId, attempt: 2, token: 2 },
    ]);
  });

  it('is held where its owner died and someone has to look', async () => {
    const here = new Process(fixture);
    const operation = anOperation({ afterCrash: 'hold' });
    await new Process(fixture).begin(operation);
    await fixture.expireLease(operation.recordId);
    expect(await here.engine.admit(operation)).toEqual({
      kind: 'refuse',
      refusal: { reason: 'held', exhausted: false },
    });
    const { recordId, endpoint } = operation;
    expect(here.events).toEqual([{ type: 'held', recordId, endpoint }]);
  });

  it('has no answer where that was not kept', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    await here.run(operation, { kind: 'store', outcome: TOMBSTONE, failed: false, tombstone: TOMBSTONE });
    expect(await here.engine.admit(operation)).toEqual({
      kind: 'refuse',
      refusal: { reason: 'gone', outcome: TOMBSTONE },
    });
    const { recordId, endpoint } = operation;
    expect(here.events.at(-1)).toEqual({ type: 'replayUnavailable', recordId, endpoint });
  });

  it('runs again where it was released, as the next attempt, and where it never began, as the first', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    expect(await here.run(operation, RELEASE)).toEqual({ kind: 'freed' });
    const { recordId, endpoint } = operation;
    expect(here.events.at(-1)).toEqual({ type: 'released', recordId, endpoint, attempt: 1, token: 1 });
    const second = await here.begin(operation);
    expect(second.execution.attempt).toBe(2);
    // Nothing was taken over: that owner had given it back.
    expect(here.typesOfEvents()).not.toContain('takenOver');
    await second.runToEnd(async () => RELEASE);

    const another = anOperation();
    expect(await here.run(another, DISCARD)).toEqual({ kind: 'freed' });
    expect((await here.begin(another)).execution.attempt).toBe(1);
  });
});

describe.each(['same', 'other'])('the same key in the %s process', (where) => {
  it.each(['running', 'done'])('with another request, or of another caller: refused while it is %s', async (state) => {
    const here = new Process(fixture);
    const there = where === 'same' ? here : new Process(fixture);
    const binding = randomBytes(16);
    const operation = anOperation({}, { binding });
    const leased = await here.begin(operation);
    if (state === 'done') await leased.runToEnd(async () => STORE);

    const ask = async (terms: Parameters<typeof anOperation>[1]) => {
      const answer = await there.engine.admit(duplicate(operation, {}, terms));
      return answer.kind === 'refuse' ? answer.refusal.reason : answer.kind;
    };
    const fingerprint = randomBytes(32);
    expect(await ask({ fingerprint })).toBe('reused');
    expect(await ask({ binding: randomBytes(16) })).toBe('foreign');
    expect(await ask({ binding: null })).toBe('foreign');
    // A caller that may not see it does not learn that the request differs.
    expect(await ask({ binding: null, fingerprint })).toBe('foreign');
    expect(await ask({ binding: Buffer.from(binding) })).toBe(state === 'done' ? 'replay' : 'running');
    const { recordId, endpoint } = operation;
    const mismatches = there.events.filter(({ type }) => type === 'mismatch');
    const of = ['reused', 'foreign', 'foreign', 'foreign'];
    expect(mismatches).toEqual(of.map((one) => ({ type: 'mismatch', recordId, endpoint, of: one })));
  });

  it('is foreign to a caller where its own had no credentials', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    await here.begin(operation);
    const there = where === 'same' ? here : new Process(fixture);
    expect(await there.engine.admit(duplicate(operation, {}, { binding: randomBytes(16) }))).toEqual({
      kind: 'refuse',
      refusal: { reason: 'foreign' },
    });
  });
});

describe('a duplicate of what runs', () => {
  it('is refused at once, and asks the store of nothing where this process runs it', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    await here.begin(operation);
    here.asked.length = 0;
    expect(await here.engine.admit(operation)).toEqual({
      kind: 'refuse',
      refusal: { reason: 'running', retryAfterMs: SECOND },
    });
    expect(here.asked).toEqual([]);
    const { recordId, endpoint } = operation;
    expect(here.events.slice(1)).toEqual([{ type: 'conflict', recordId, endpoint }]);
  });

  it.each([
    [30 * SECOND, 5 * SECOND, 5 * SECOND],
    [3 * SECOND, SECOND + 1, 3 * SECOND],
    [900, SECOND, SECOND],
  ])('is refused with a retry time from the lease elsewhere, of %i ms', async (leaseMs, least, most) => {
    const operation = anOperation({ leaseMs });
    const leased = await new Process(fixture).begin(operation);
    const answer = await new Process(fixture).engine.admit(operation);
    const refusal = answer.kind === 'refuse' ? answer.refusal : undefined;
    expect(refusal?.reason).toBe('running');
    const { retryAfterMs } = refusal as { retryAfterMs: number };
    expect(retryAfterMs).toBeGreaterThanOrEqual(least);
    expect(retryAfterMs).toBeLessThanOrEqual(most);
    await leased.runToEnd(async () => RELEASE);
  });

  it('joins one that is still asking, and does not ask itself', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    const [first, second] = await Promise.all([here.engine.admit(operation), here.engine.admit(duplicate(operation))]);
    expect([first.kind, second.kind]).toEqual(['run', 'refuse']);
    expect(here.count('claim')).toBe(1);
  });

  it('waits for its outcome', async () => {
    const here = new Process(fixture);
    const operation = anOperation(WAIT);
    const leased = await here.begin(operation);
    here.asked.length = 0;
    const waiting = Promise.all([here.engine.admit(operation), here.engine.admit(operation)]);
    await sleep(100);
    await leased.runToEnd(async () => STORE);
    expect(await waiting).toEqual([0, 1].map(() => ({ kind: 'replay', outcome: OUTCOME })));
    expect(here.asked).toEqual(['complete']);
    const { recordId, endpoint } = operation;
    expect(here.events.slice(2)).toEqual(
      expect.arrayContaining([
        { type: 'replayed', recordId, endpoint, waited: true },
        { type: 'waited', recordId, endpoint, waitMs: expect.any(Number) },
      ]),
    );
    expect(here.event('waited')!.waitMs).toBeGreaterThan(95);
    expect(here.event('waited')!.waitMs).toBeLessThan(10 * SECOND);
  });

  it.each(['same', 'other'])('waits no longer than it may: in the %s process', async (where) => {
    const here = new Process(fixture);
    const operation = anOperation();
    await here.begin(operation);
    const there = where === 'same' ? here : new Process(fixture);
    const startedAt = performance.now();
    const answer = await there.engine.admit(duplicate(operation, { ...WAIT, waitTimeoutMs: 300 }));
    expect(answer).toMatchObject({ kind: 'refuse', refusal: { reason: 'running' } });
    expect(performance.now() - startedAt).toBeGreaterThan(290);
    expect(performance.now() - startedAt).toBeLessThan(5 * SECOND);
    expect(there.typesOfEvents().slice(-2)).toEqual(['conflict', 'waited']);
  });

  it.each(['same', 'other'])('runs where that ended without an outcome, in the %s process', async (where) => {
    const here = new Process(fixture);
    const operation = anOperation(WAIT);
    const leased = await here.begin(operation);
    const there = where === 'same' ? here : new Process(fixture);
    const waiting = there.begin(operation);
    await sleep(50);
    await leased.runToEnd(async () => RELEASE);
    expect((await waiting).execution.attempt).toBe(2);
  });

  it('emits no waited event where it did not wait', async () => {
    const here = new Process(fixture);
    const operation = anOperation(WAIT);
    await here.run(operation);
    await here.engine.admit(operation);
    expect(here.typesOfEvents()).toEqual(['claimed', 'completed', 'replayed']);
    expect(here.event('replayed')!.waited).toBe(false);
  });
});

describe('waiting for another process', () => {
  it('looks from time to time where nothing is announced', async () => {
    const [there, here] = [new Process(fixture), new Process(fixture)];
    const operation = anOperation(WAIT);
    const leased = await there.begin(operation);
    const waiting = here.engine.admit(operation);
    // Every 20 ms at first, and ever more seldom.
    await sleep(1_500);
    expect(here.count('claim')).toBeLessThan(16);
    await until(() => here.count('claim') > 3);
    await leased.runToEnd(async () => STORE);
    expect(await waiting).toEqual({ kind: 'replay', outcome: OUTCOME });
    expect(here.event('replayed')!.waited).toBe(true);
    const looks = here.count('claim');
    await sleep(600);
    expect(here.count('claim')).toBe(looks);
    // No waiter can be woken, so no waiter is marked.
    expect(here.count('read')).toBe(0);
  });

  it('is woken at once where it is announced', async () => {
    const wakeUp = new TestWakeUp();
    const [there, here] = [new Process(fixture, { wakeUp }), new Process(fixture, { wakeUp })];
    const operation = anOperation(WAIT);
    const leased = await there.begin(operation);
    const waiting = Promise.all([here.engine.admit(operation), here.engine.admit(operation)]);
    await until(() => here.asked.includes('read'));
    expect(wakeUp.listening).toBe(1);
    await sleep(30);
    const claims = here.count('claim');
    await leased.runToEnd(async () => STORE);
    expect(await waiting).toEqual([0, 1].map(() => ({ kind: 'replay', outcome: OUTCOME })));
    expect(wakeUp.announced).toEqual([operation.recordId]);
    // One of the two has asked for both.
    expect(here.count('claim') - claims).toBeLessThanOrEqual(2);
    await until(() => wakeUp.listening === 0);
  });

  it('announces nothing where no request waits', async () => {
    const wakeUp = new TestWakeUp();
    const here = new Process(fixture, { wakeUp });
    await here.run(anOperation());
    await here.run(anOperation(), RELEASE);
    expect(wakeUp.announced).toEqual([]);
  });

  it('looks as if nothing were announced where the channel cannot be reached', async () => {
    const wakeUp = new TestWakeUp();
    wakeUp.broken = true;
    const [there, here] = [new Process(fixture), new Process(fixture, { wakeUp })];
    const operation = anOperation(WAIT);
    const leased = await there.begin(operation);
    const waiting = here.engine.admit(operation);
    await until(() => here.count('claim') > 2);
    await leased.runToEnd(async () => STORE);
    expect(await waiting).toEqual({ kind: 'replay', outcome: OUTCOME });
  });

  it('looks now and then even so, as an announcement may be lost', async () => {
    const wakeUp = new TestWakeUp();
    const [there, here] = [new Process(fixture), new Process(fixture, { wakeUp })];
    const operation = anOperation(WAIT);
    const leased = await there.begin(operation);
    const waiting = here.engine.admit(operation);
    await until(() => here.asked.includes('read'));
    await leased.runToEnd(async () => STORE);
    expect(await waiting).toEqual({ kind: 'replay', outcome: OUTCOME });
    expect(here.count('claim')).toBeLessThan(4);
  });

  it('takes over soon after the lease has run out', async () => {
    const wakeUp = new TestWakeUp();
    const there = new Process(fixture);
    const here = new Process(fixture, { wakeUp });
    there.lose('before renew');
    const operation = anOperation({ ...WAIT, leaseMs: 700 });
    await there.begin(operation);
    const startedAt = performance.now();
    const leased = await here.begin(operation);
    expect(leased.execution.attempt).toBe(2);
    expect(performance.now() - startedAt).toBeGreaterThan(500);
    expect(performance.now() - startedAt).toBeLessThan(5 * SECOND);
    await leased.runToEnd(async () => STORE);
  });

  it('marks the record for each new owner that a request waits', async () => {
    const wakeUp = new TestWakeUp();
    const there = new Process(fixture, { wakeUp });
    const here = new Process(fixture, { wakeUp });
    const operation = anOperation(WAIT);
    const first = await there.begin(operation);
    const waiting = here.engine.admit(operation);
    await until(() => here.answered('read') === 1);
    // Another takes the key before the waiter can.
    const third = new Process(fixture, { wakeUp });
    await fixture.expireLease(operation.recordId);
    const second = await third.begin(operation);
    for (const wake of wakeUp.listeners.get(operation.recordId) ?? []) wake();
    await until(() => here.answered('read') === 2);
    await second.runToEnd(async () => STORE);
    expect(wakeUp.announced).toEqual([operation.recordId]);
    expect(await waiting).toEqual({ kind: 'replay', outcome: OUTCOME });
    expect(await first.runToEnd(async () => STORE)).toMatchObject({ kind: 'lost' });
  });

  it('count the lease, and what the claim took, from when they ask, though they have waited for long', async () => {
    const there = new Process(fixture);
    const here = new Process(fixture);
    const operation = anOperation(WAIT);
    await there.begin(operation);
    const askedAt = performance.now();
    const waiting = here.admit(duplicate(operation));
    await sleep(700);
    // A store that fails once is asked again, however long the request has waited.
    here.lose('before claim', 1);
    await fixture.expireLease(operation.recordId);
    expect(await waiting).toMatchObject({ kind: 'run' });
    expect(here.event('claimed')!.takeMs).toBeLessThan(performance.now() - askedAt - 650);
    expect(here.event('waited')!.waitMs).toBeGreaterThan(650);
  });

  it('uses the record state that waiters have read, and does not ask again', async () => {
    const wakeUp = new TestWakeUp();
    const there = new Process(fixture, { wakeUp });
    const here = new Process(fixture, { wakeUp });
    const operation = anOperation(WAIT);
    const leased = await there.begin(operation);
    const waiting = [here.admit(operation)];
    await until(() => here.count('read') === 1);
    await sleep(30);
    for (let i = 0; i < 5; i++) waiting.push(here.admit(duplicate(operation)));
    await sleep(30);
    expect(here.count('claim')).toBe(1);
    // A request that does not wait gets the current record state.
    expect(await here.engine.admit(duplicate(operation, { onConflict: 'reject' }))).toMatchObject({ kind: 'refuse' });
    expect(here.count('claim')).toBe(2);
    // And a state that waiters have read is compared like one that the store returns.
    expect(await here.engine.admit(duplicate(operation, {}, { fingerprint: randomBytes(32) }))).toMatchObject({
      refusal: { reason: 'reused' },
    });
    await leased.runToEnd(async () => STORE);
    const answers = await Promise.all(waiting);
    expect(answers).toEqual(answers.map(() => ({ kind: 'replay', outcome: OUTCOME })));
  });
});

describe('the lock', () => {
  it('is held while the operation runs, for as long as the lease', async () => {
    const lock = new TestLock();
    const here = new Process(fixture, { lock });
    const operation = anOperation({ leaseMs: 12_000 });
    const leased = await here.begin(operation);
    expect([...lock.held]).toEqual([operation.recordId]);
    expect(lock.ttls).toEqual([12_000]);
    await leased.runToEnd(async () => STORE);
    expect(lock.held.size).toBe(0);
  });

  it('is renewed whenever the lease is', async () => {
    const lock = new TestLock();
    const leased = await new Process(fixture, { lock }).begin(anOperation({ leaseMs: 600 }));
    await until(() => lock.renewals >= 2);
    await leased.runToEnd(async () => STORE);
  });

  it('is given back where the record has its outcome already', async () => {
    const lock = new TestLock();
    const operation = anOperation();
    await new Process(fixture).run(operation);
    expect(await new Process(fixture, { lock }).engine.admit(operation)).toMatchObject({ kind: 'replay' });
    expect(lock.held.size).toBe(0);
    expect(lock.ttls).toHaveLength(1);
  });

  it('is given back where the claim fails', async () => {
    const lock = new TestLock();
    const here = new Process(fixture, { lock });
    here.lose('before claim', 1, new TypeError('a mistake'));
    await expect(here.engine.admit(anOperation())).rejects.toThrow('a mistake');
    expect(lock.held.size).toBe(0);
    expect(lock.ttls).toHaveLength(1);
  });

  it('held by another: the existing record is read, and nothing claimed', async () => {
    const lock = new TestLock();
    lock.answer = { kind: 'contended' };
    const [there, here] = [new Process(fixture), new Process(fixture, { lock })];
    const operation = anOperation();
    const leased = await there.begin(operation);
    expect(await here.engine.admit(operation)).toMatchObject({ kind: 'refuse', refusal: { reason: 'running' } });
    await leased.runToEnd(async () => STORE);
    expect(await here.engine.admit(operation)).toEqual({ kind: 'replay', outcome: OUTCOME });
    // However long ago that was.
    await fixture.expireLease(operation.recordId);
    expect(await here.engine.admit(operation)).toEqual({ kind: 'replay', outcome: OUTCOME });
    expect(here.asked).toEqual(['read', 'read', 'read']);
  });

  it.each([
    ['there is no record', async () => undefined],
    [
      'it was released',
      async (operation: ReturnType<typeof anOperation>) => new Process(fixture).run(operation, RELEASE),
    ],
    [
      'its owner fell silent',
      async (operation: ReturnType<typeof anOperation>) => {
        await new Process(fixture).begin(operation);
        await fixture.expireLease(operation.recordId);
      },
    ],
  ])('left behind: the operation runs where %s', async (_, prepare) => {
    const lock = new TestLock();
    lock.answer = { kind: 'contended' };
    const here = new Process(fixture, { lock });
    const operation = anOperation();
    await prepare(operation);
    await expect(here.run(operation)).resolves.toEqual({ kind: 'stored' });
    expect(here.asked).toEqual(['read', 'claim', 'complete']);
  });

  it('out of reach: the database alone decides, and says so', async () => {
    const lock = new TestLock();
    lock.answer = { kind: 'unavailable', reason: 'no quorum' };
    const here = new Process(fixture, { lock, observed: false });
    const operation = anOperation();
    expect(await here.run(operation)).toEqual({ kind: 'stored' });
    const { recordId, endpoint } = operation;
    expect(here.events).toEqual([{ type: 'lockDegraded', recordId, endpoint, reason: 'no quorum' }]);
  });

  it('out of reach, where it may not be: refused', async () => {
    const lock = new TestLock();
    lock.answer = { kind: 'unavailable', reason: 'no quorum' };
    const here = new Process(fixture, { lock, onLockUnavailable: 'reject', observed: false });
    const operation = anOperation();
    await expect(here.engine.admit(operation)).rejects.toThrow(new LockUnavailableError('no quorum'));
    expect(here.asked).toEqual([]);
    const { recordId, endpoint } = operation;
    expect(here.events).toEqual([{ type: 'lockUnavailable', recordId, endpoint, reason: 'no quorum' }]);
  });
});

describe('a store that does not answer', () => {
  it('is asked again for a moment, under the same owner', async () => {
    const here = new Process(fixture);
    here.lose('after claim', 2);
    const operation = anOperation();
    const leased = await here.begin(operation);
    expect(leased.execution).toMatchObject({ attempt: 1, token: 1 });
    const owners = here.sites.flatMap(({ claim }) => (claim ? [claim.owner] : []));
    expect(here.count('claim')).toBe(3);
    expect(new Set(owners).size).toBe(1);
    await leased.runToEnd(async () => STORE);
  });

  it('does not run what became unknown while the answer to its claim was lost', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    let failures = 1;
    here.reach = async ({ point, claim }) => {
      if (point !== 'after claim' || failures-- === 0) return;
      await fixture.store().hold({ recordId: operation.recordId, owner: claim!.owner, token: 1 });
      throw new StoreUnavailableError();
    };
    expect(await here.engine.admit(operation)).toEqual({
      kind: 'refuse',
      refusal: { reason: 'held', exhausted: false },
    });
    expect(here.engine.isRunning).toBe(false);
  });

  it('is given up on after a second or so, and asked again by the next request', async () => {
    const here = new Process(fixture, { observed: false });
    const operation = anOperation();
    const cause = new Error('connection refused');
    here.lose('before claim', Infinity, new StoreUnavailableError({ cause }));
    const startedAt = performance.now();
    await expect(here.engine.admit(operation)).rejects.toThrow(StoreUnavailableError);
    expect(performance.now() - startedAt).toBeGreaterThan(200);
    expect(performance.now() - startedAt).toBeLessThan(5 * SECOND);
    expect(here.count('claim')).toBeGreaterThan(2);
    const { recordId, endpoint } = operation;
    expect(here.events).toEqual([{ type: 'storeUnavailable', recordId, endpoint, error: cause, refused: false }]);
    here.lose('before claim', 0);
    expect(await here.run(operation)).toEqual({ kind: 'stored' });
  });

  it('is not asked again where it is not the connection that failed', async () => {
    const here = new Process(fixture);
    here.lose('before claim', 1, new TypeError('a mistake'));
    await expect(here.engine.admit(anOperation())).rejects.toThrow('a mistake');
    expect(here.count('claim')).toBe(1);
    expect(here.events).toEqual([]);
  });

  it.each(['before', 'after'])('has to give back a claim that it made late, %s it was given up on', async (when) => {
    const store = fixture.store();
    let late: (() => void) | undefined;
    const slow = Object.create(store, {
      claim: {
        value: async (claim: Claim, onLate: (record: RecordState) => void) => {
          const record = await store.claim(claim);
          if (when === 'before') onLate(record);
          else late ??= () => onLate(record);
          throw new StoreUnavailableError();
        },
      },
    }) as typeof store;
    const here = new Process(fixture, { store: slow });
    const operation = anOperation();
    await expect(here.engine.admit(operation)).rejects.toThrow(StoreUnavailableError);
    late?.();
    await until(() => here.answered('release') > 0);
    expect((await new Process(fixture).begin(operation)).execution.attempt).toBe(1);
  });

  it('does not take a claim from an execution that got through in the end', async () => {
    const store = fixture.store();
    let lost = 0;
    const slow = Object.create(store, {
      claim: {
        value: async (claim: Claim, onLate: (record: RecordState) => void) => {
          const record = await store.claim(claim);
          if (lost++ > 0) return record;
          onLate(record);
          throw new StoreUnavailableError();
        },
      },
    }) as typeof store;
    const here = new Process(fixture, { store: slow });
    const leased = await here.begin(anOperation());
    await sleep(50);
    expect(await leased.runToEnd(async () => STORE)).toEqual({ kind: 'stored' });
    expect(here.count('release')).toBe(0);
  });

  it('says late that another has the record: that one keeps it', async () => {
    const operation = anOperation();
    const owner = await new Process(fixture).begin(operation);
    const store = fixture.store();
    const slow = Object.create(store, {
      claim: {
        value: async (claim: Claim, onLate: (record: RecordState) => void) => {
          onLate(await store.claim(claim));
          throw new StoreUnavailableError();
        },
      },
    }) as typeof store;
    const here = new Process(fixture, { store: slow });
    await expect(here.engine.admit(operation)).rejects.toThrow(StoreUnavailableError);
    await sleep(50);
    expect(here.count('release')).toBe(0);
    expect(await owner.runToEnd(async () => STORE)).toEqual({ kind: 'stored' });
  });
});

describe('an engine that shuts down', () => {
  it('resolves at once where nothing runs', async () => {
    const here = new Process(fixture);
    await here.run(anOperation());
    await here.engine.drain();
    expect(here.engine.isRunning).toBe(false);
  });

  it('waits for all that runs', async () => {
    const here = new Process(fixture);
    const leased = [await here.begin(anOperation()), await here.begin(anOperation())];
    let drained = false;
    const draining = here.engine.drain().then(() => (drained = true));
    await leased[0].runToEnd(async () => STORE);
    await sleep(20);
    expect(drained).toBe(false);
    await leased[1].runToEnd(async () => RELEASE);
    await draining;
  });

  it('begins nothing new, and answers what it can', async () => {
    const [there, here] = [new Process(fixture), new Process(fixture)];
    const [done, running, failed, silent] = [anOperation(), anOperation(), anOperation(), anOperation()];
    await there.run(done);
    await there.begin(running);
    await there.run(failed, RELEASE);
    await there.begin(silent);
    await fixture.expireLease(silent.recordId);
    await here.engine.drain();
    expect(await here.engine.admit(done)).toEqual({ kind: 'replay', outcome: OUTCOME });
    expect(await here.engine.admit(running)).toMatchObject({ kind: 'refuse', refusal: { reason: 'running' } });
    for (const operation of [failed, silent, anOperation()]) {
      await expect(here.engine.admit(operation)).rejects.toThrow(ShuttingDownError);
    }
    expect(here.count('claim')).toBe(0);
  });

  it('waits for no execution of another process, once its own have ended', async () => {
    const wakeUp = new TestWakeUp();
    const [there, here] = [new Process(fixture), new Process(fixture, { wakeUp })];
    const running = anOperation({ ...WAIT, waitTimeoutMs: HOUR });
    await there.begin(running);
    const own = await here.begin(anOperation());
    const waiting = here.admit(duplicate(running));
    await until(() => wakeUp.listening === 1);
    const draining = here.engine.drain();
    const late = here.admit(duplicate(running));
    await own.runToEnd(async () => STORE);
    await draining;
    const tooLate = here.admit(duplicate(running));
    for (const answer of await Promise.all([waiting, late, tooLate])) {
      expect(answer).toMatchObject({ kind: 'refuse', refusal: { reason: 'running' } });
    }
    expect(wakeUp.listening).toBe(0);
  });

  it('gives its own executions and those of others the time to answer a duplicate that waits', async () => {
    const wakeUp = new TestWakeUp();
    const [there, here] = [new Process(fixture, { wakeUp }), new Process(fixture, { wakeUp })];
    const running = anOperation({ ...WAIT, waitTimeoutMs: HOUR });
    const elsewhere = await there.begin(running);
    const own = await here.begin(anOperation());
    const draining = here.engine.drain();
    const waiting = here.admit(duplicate(running));
    await until(() => wakeUp.listening === 1);
    await elsewhere.runToEnd(async () => STORE);
    expect(await waiting).toEqual({ kind: 'replay', outcome: OUTCOME });
    await own.runToEnd(async () => STORE);
    await draining;
  });
});

it('keeps an outcome for as long as its retention says', async () => {
  const here = new Process(fixture);
  const [short, long] = [anOperation({ retentionMs: HOUR }), anOperation({ retentionMs: HOUR })];
  await here.run(short);
  const leased = await here.begin(long);
  await leased.runToEnd(async () => {
    for (const ms of [0, -1, NaN, Infinity])
      expect(() => leased.execution.setRetention(ms)).toThrow('milliseconds above zero');
    leased.execution.setRetention(72 * HOUR);
    return STORE;
  });
  const [a, b] = [(await fixture.record(short.recordId))!, (await fixture.record(long.recordId))!];
  expect((b.expiresAt!.getTime() - a.expiresAt!.getTime()) / HOUR).toBeCloseTo(71, 0);
});
