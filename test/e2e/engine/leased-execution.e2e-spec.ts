import type { EntityManager } from 'typeorm';
import { CommitUnknownError, StoreRefusedError } from '../../../lib/engine/errors.js';
import type { Operation } from '../../../lib/engine/operation.js';
import { LeaseLostError, StepUnknownError } from '../../../lib/engine/steps.js';
import { StoreUnavailableError } from '../../../lib/testing/index.js';
import { type StoreFixture } from '../store/support.js';
import { until } from '../../support/until.js';
import {
  anOperation,
  DISCARD,
  duplicate,
  FAILED,
  openStoreFixture,
  OUTCOME,
  Process,
  RELEASE,
  SECOND,
  sleep,
  STORE,
  TestWakeUp,
  WAIT,
} from './support.js';

let fixture: StoreFixture;
beforeAll(async () => {
  fixture = await openStoreFixture();
  await fixture.dataSource.query('CREATE TABLE effect (id text PRIMARY KEY)');
});
afterAll(() => fixture?.close());

const effectOf = async ({ recordId }: Operation): Promise<number> =>
  ((await fixture.dataSource.query(`SELECT id FROM effect WHERE id = '${recordId}'`)) as unknown[]).length;

const cause = new Error('connection lost');
const lost = () => new StoreUnavailableError({ cause });

const closed = () =>
  new StoreUnavailableError({ cause: Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }) });

/** As while a table is restored. */
const missing = () => new StoreRefusedError({ cause, mayPass: true });

/** Lets another process take the record, as after a long silence of its owner. */
async function takeAway(operation: Operation): Promise<Process> {
  await fixture.expireLease(operation.recordId);
  const there = new Process(fixture);
  await there.begin(duplicate(operation));
  return there;
}

describe('an execution', () => {
  it('whose body throws leaves the key to the next, and throws the same', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    const error = new Error('out of stock');
    const leased = await here.begin(operation);
    await expect(leased.runToEnd(() => Promise.reject(error))).rejects.toBe(error);
    expect(here.typesOfEvents()).toEqual(['claimed', 'released']);
    expect(here.engine.isRunning).toBe(false);
    expect((await here.begin(operation)).execution.attempt).toBe(2);
  });

  it('whose handler cannot begin leaves the key to the next, and is reported once', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    const leased = await here.begin(operation);
    const reported: unknown[] = [];
    const error = new Error('no such handler');
    leased.run({
      begin: () => {
        throw error;
      },
      onRecorded: () => reported.push('recorded'),
      onFailure: (failure) => reported.push(failure),
    });
    await until(() => reported.length > 0);
    expect(reported).toEqual([error]);
    expect(here.typesOfEvents()).toEqual(['claimed', 'released']);
    expect((await here.begin(operation)).execution.attempt).toBe(2);
  });

  it('that is answered while it waits for its transaction does not begin', async () => {
    const here = new Process(fixture);
    const operation = anOperation({ transactional: true });
    const leased = await here.begin(operation);
    const reported: unknown[] = [];
    leased.run({
      begin: () => reported.push('begun'),
      onRecorded: (recorded) => reported.push(recorded),
      onFailure: (failure) => reported.push(failure),
    });
    leased.end(DISCARD);
    // By the answer, and by the transaction.
    await until(() => here.answered('release') === 2);
    expect(reported).toEqual([{ kind: 'freed' }]);
    expect((await here.begin(operation)).execution.attempt).toBe(1);
  });

  // As on a node of a cluster that lags behind.
  it('whose transaction does not see its claim is rolled back, and leaves the key to the next', async () => {
    const store = fixture.store();
    const lagging = Object.create(store, {
      transaction: {
        value: (work: Parameters<typeof store.transaction>[0]) =>
          store.transaction((transaction) =>
            work({
              ...transaction,
              completeLast: undefined,
              complete: async () => ({ held: false, awaited: false }),
            }),
          ),
      },
    }) as typeof store;
    const here = new Process(fixture, { store: lagging });
    const operation = anOperation({ transactional: true });
    expect(await here.run(operation)).toMatchObject({
      kind: 'rolledBack',
      error: { name: 'StoreUnavailableError', cause: { name: 'LeaseLostError' } },
    });
    expect(here.typesOfEvents()).toEqual(['claimed', 'released']);
    expect((await here.begin(operation)).execution.attempt).toBe(2);
  });

  it('that asks for it is not stored', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    const leased = await here.begin(operation);
    const finish = await leased.runToEnd(async () => {
      leased.execution.doNotStore();
      return STORE;
    });
    expect(finish).toEqual({ kind: 'freed' });
    expect((await here.begin(operation)).execution.attempt).toBe(2);
  });

  it('stores an error that is to be stored', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    expect(await here.run(operation, FAILED)).toEqual({ kind: 'stored' });
    expect(await here.engine.admit(operation)).toEqual({ kind: 'replay', outcome: OUTCOME });
  });

  it('that lost its record does not record its outcome, and gets the recorded one', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    const leased = await here.begin(operation);
    const { signal } = leased.execution;
    const there = await takeAway(operation);
    const finish = await leased.runToEnd(async () => STORE);
    expect(finish).toMatchObject({ kind: 'lost', recordState: { status: 'processing', token: 2 } });
    expect(signal.reason).toBeInstanceOf(LeaseLostError);
    const { recordId, endpoint } = operation;
    expect(here.events.slice(1)).toEqual([{ type: 'leaseLost', recordId, endpoint, attempt: 1, token: 1 }]);
    expect(here.engine.isRunning).toBe(false);
    expect(there.engine.isRunning).toBe(true);
  });

  it('that lost its record can neither release nor discard it', async () => {
    for (const ending of [RELEASE, DISCARD]) {
      const here = new Process(fixture);
      const operation = anOperation();
      const leased = await here.begin(operation);
      await takeAway(operation);
      expect(await leased.runToEnd(async () => ending)).toMatchObject({ kind: 'lost', recordState: { token: 2 } });
      expect(here.typesOfEvents()).toEqual(['claimed', 'leaseLost']);
      expect(await fixture.record(operation.recordId)).toMatchObject({ status: 'processing', token: 2 });
    }
  });

  // It reported a record as held that no operator has to resolve.
  it('that lost its record does not hold it', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    const leased = await here.begin(operation);
    const recorded = await leased.runToEnd(async () => {
      leased.steps.isUnknown = true;
      await takeAway(operation);
      return STORE;
    });
    expect(recorded).toMatchObject({ kind: 'lost', recordState: { status: 'processing', attempt: 2 } });
    expect(here.typesOfEvents()).toEqual(['claimed', 'leaseLost']);
  });

  it.each([lost(), missing()])('whose outcome is unknown is held within the lease: %p', async (error) => {
    const here = new Process(fixture);
    here.lose('before release', 2, error);
    const operation = anOperation();
    const leased = await here.begin(operation);
    leased.steps.isUnknown = true;
    expect(await leased.runToEnd(async () => STORE)).toEqual({ kind: 'held' });
    expect(here.count('release')).toBe(3);
    expect(await fixture.record(operation.recordId)).toMatchObject({ status: 'held' });
  });

  // It was reported as held, and its client told to stop, though a retry ran once the lease had run out.
  it('that cannot be held is unrecorded', async () => {
    const here = new Process(fixture);
    here.lose('before release', Infinity, lost());
    const leased = await here.begin(anOperation({ leaseMs: 600 }));
    leased.steps.isUnknown = true;
    expect(await leased.runToEnd(async () => STORE)).toMatchObject({ kind: 'unrecorded' });
    expect(here.typesOfEvents()).toEqual(['claimed', 'unrecorded']);
  });

  it('has one signal', async () => {
    const { execution } = await new Process(fixture).begin(anOperation());
    expect(execution.signal).toBe(execution.signal);
    expect(execution.signal.aborted).toBe(false);
  });

  it('sees a loss even if it asks for the signal after it', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    const leased = await here.begin(operation);
    await takeAway(operation);
    await leased.runToEnd(async () => STORE);
    expect(leased.execution.signal.aborted).toBe(true);
    expect(leased.execution.signal.reason).toBeInstanceOf(LeaseLostError);
  });

  it('has keys for downstream calls of its own, the same on each attempt', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    const first = await here.begin(operation);
    const derived = first.execution.deriveKey('charge');
    expect(derived).not.toBe(first.execution.deriveKey('refund'));
    await first.runToEnd(async () => RELEASE);
    const second = await here.begin(operation);
    expect(second.execution.deriveKey('charge')).toBe(derived);
    expect(second.execution.key).toBe(operation.key);
  });
});

describe('recording an outcome', () => {
  it('is tried again within the lease', async () => {
    const here = new Process(fixture);
    here.lose('before complete', 2, lost());
    expect(await here.run(anOperation())).toEqual({ kind: 'stored' });
    expect(here.count('complete')).toBe(3);
  });

  it('is found to have happened where only the answer was lost', async () => {
    const here = new Process(fixture);
    here.lose('after complete', 1, lost());
    const operation = anOperation();
    expect(await here.run(operation)).toEqual({ kind: 'stored' });
    expect(here.typesOfEvents()).toEqual(['claimed', 'completed']);
    expect(here.asked.slice(1)).toEqual(['complete', 'complete', 'read']);
  });

  it('of another attempt with the same outcome is not taken for ours', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    const leased = await here.begin(operation);
    await fixture.expireLease(operation.recordId);
    await new Process(fixture).run(duplicate(operation));
    expect(await leased.runToEnd(async () => STORE)).toMatchObject({
      kind: 'lost',
      recordState: { status: 'done', outcome: OUTCOME },
    });
  });

  it.each([
    ['has settled it by hand', 'done', async (recordId: string) => fixture.store().resolveHeld(recordId, OUTCOME)],
    ['has freed it', 'failed', async (recordId: string) => fixture.store().resolveHeld(recordId, null)],
    ['has to look', 'held', async () => undefined],
    ['has deleted it', undefined, async (recordId: string) => fixture.store().forget(recordId)],
  ])('is too late where an operator or a request %s', async (_, status, settle) => {
    const here = new Process(fixture);
    const operation = anOperation({ afterCrash: 'hold' });
    const leased = await here.begin(operation);
    await fixture.expireLease(operation.recordId);
    // Owner and token are still ours.
    expect(await new Process(fixture).engine.admit(operation)).toMatchObject({ refusal: { reason: 'held' } });
    await settle(operation.recordId);
    const finish = await leased.runToEnd(async () => STORE);
    expect(finish.kind).toBe('lost');
    expect((finish as { recordState?: { status: string } }).recordState?.status).toBe(status);
    expect(here.typesOfEvents()).toEqual(['claimed', 'leaseLost']);
  });

  it('is given up on when the lease has run out', async () => {
    const wakeUp = new TestWakeUp();
    const here = new Process(fixture, { observed: false, wakeUp });
    here.reach = ({ point }) => {
      if (point === 'before complete' || point === 'before read') throw lost();
    };
    const operation = anOperation({ leaseMs: 600 });
    const startedAt = performance.now();
    expect(await here.run(operation)).toEqual({ kind: 'unrecorded', error: expect.any(StoreUnavailableError) });
    expect(performance.now() - startedAt).toBeGreaterThan(150);
    expect(performance.now() - startedAt).toBeLessThan(5 * SECOND);
    expect(here.count('complete')).toBeGreaterThan(1);
    const { recordId, endpoint } = operation;
    const error = expect.objectContaining({ cause });
    expect(here.events).toEqual([{ type: 'unrecorded', recordId, endpoint, attempt: 1, token: 1, error }]);
    expect(here.engine.isRunning).toBe(false);
    // Requests that wait may read its outcome.
    expect(wakeUp.announced).toEqual([recordId]);
  });

  it('is not tried again where it fails for another reason', async () => {
    const here = new Process(fixture);
    here.lose('before complete', Infinity, new RangeError('too large'));
    expect(await here.run(anOperation())).toMatchObject({ kind: 'unrecorded', error: { message: 'too large' } });
    expect(here.count('complete')).toBe(1);
  });

  it.each([
    ['refuses it', new StoreRefusedError({ cause: new Error('too large') }), 2],
    ['closes the connection at each try, and answers otherwise', closed(), 4],
  ])('is recorded without its response where the store %s', async (_, error, tries) => {
    const here = new Process(fixture, { observed: false });
    here.lose('before complete', tries - 1, error);
    const operation = anOperation();
    expect(await here.run(operation)).toEqual({ kind: 'stored' });
    expect(here.count('complete')).toBe(tries);
    expect(here.events).toMatchObject([{ type: 'notKept', error: expect.any(Error) }]);
    expect(await new Process(fixture).engine.admit(operation)).toMatchObject({ refusal: { reason: 'gone' } });
  });

  it.each([
    ['restarts, and loses a last connection when it is back', closed(), 4],
    [
      'has no disk left',
      new StoreUnavailableError({ cause: Object.assign(new Error('could not extend file'), { code: '53100' }) }),
      0,
    ],
    ['refuses every statement for a moment', missing(), 0],
  ])('keeps its response where the store %s', async (_, error, answersFrom) => {
    const here = new Process(fixture, { observed: false });
    let tries = 0;
    here.reach = ({ point }) => {
      if (point === 'before complete' && ++tries < 5) throw error;
      if (point === 'before read' && tries < answersFrom) throw error;
    };
    const operation = anOperation();
    expect(await here.run(operation)).toEqual({ kind: 'stored' });
    expect(here.events).toEqual([]);
    expect(await new Process(fixture).engine.admit(operation)).toMatchObject({ kind: 'replay', outcome: OUTCOME });
  });

  // It was reported as recorded without its response.
  it('is not recorded without its response where the store refuses every statement', async () => {
    const here = new Process(fixture, { observed: false });
    here.lose('before complete', Infinity, missing());
    expect(await here.run(anOperation({ leaseMs: 600 }))).toMatchObject({ kind: 'unrecorded' });
    expect(here.events.map(({ type }) => type)).toEqual(['unrecorded']);
  });

  it('ends with the lease, or sooner, where the store refuses every record of it', async () => {
    const here = new Process(fixture, { observed: false });
    here.lose('before complete', Infinity, new StoreRefusedError({ cause: new Error('check violated') }));
    expect(await here.run(anOperation())).toMatchObject({
      kind: 'unrecorded',
      error: { cause: { message: 'check violated' } },
    });
    expect(here.count('complete')).toBe(2);
  });

  it('wakes those that wait, wherever the answer was lost', async () => {
    const wakeUp = new TestWakeUp();
    const here = new Process(fixture, { wakeUp });
    here.lose('after complete', 1, lost());
    const operation = anOperation();
    await here.run(operation);
    expect(wakeUp.announced).toEqual([operation.recordId]);
  });
});

describe('giving a record back', () => {
  it.each([
    ['released', RELEASE],
    ['discarded', DISCARD],
  ])('out of reach: nothing fails, and the lease runs out (%s)', async (_, ending) => {
    const here = new Process(fixture);
    here.lose('before release', Infinity, lost());
    const operation = anOperation();
    expect(await here.run(operation, ending)).toEqual({ kind: 'freed', isTaken: true });
    expect(here.typesOfEvents()).toEqual(['claimed', 'unrecorded']);
    expect(here.engine.isRunning).toBe(false);
    expect(await new Process(fixture).engine.admit(operation)).toMatchObject({ refusal: { reason: 'running' } });
  });

  it('does not hide a mistake', async () => {
    const here = new Process(fixture);
    here.lose('before release', Infinity, new TypeError('a mistake'));
    expect(await here.run(anOperation(), RELEASE)).toEqual({ kind: 'freed', isTaken: true });
    expect(here.events).toMatchObject([{ type: 'claimed' }, { type: 'unrecorded', error: { message: 'a mistake' } }]);
    expect(here.engine.isRunning).toBe(false);
  });

  it('that is lost already is reported once', async () => {
    const here = new Process(fixture);
    const operation = anOperation();
    const leased = await here.begin(operation);
    await takeAway(operation);
    here.lose('before read', Infinity, lost());
    expect(await leased.record(RELEASE)).toEqual({ kind: 'lost', recordState: undefined });
    expect(await leased.record(RELEASE)).toEqual({ kind: 'lost', recordState: undefined });
    expect(here.typesOfEvents()).toEqual(['claimed', 'leaseLost']);
    await leased.runToEnd(async () => RELEASE);
  });
});

describe('the lease', () => {
  it('is renewed for as long as the operation runs, and not after that', async () => {
    const here = new Process(fixture);
    const operation = anOperation({ leaseMs: 600 });
    const beganAt = performance.now();
    const leased = await here.begin(operation);
    const finish = await leased.runToEnd(async () => {
      await sleep(1_300);
      expect(await new Process(fixture).engine.admit(operation)).toMatchObject({ refusal: { reason: 'running' } });
      return STORE;
    });
    expect(finish).toEqual({ kind: 'stored' });
    const renewals = here.count('renew');
    // Each third of it.
    expect(renewals).toBeGreaterThan(2);
    expect(renewals).toBeLessThan(2 + (performance.now() - beganAt) / 150);
    await sleep(400);
    expect(here.count('renew')).toBe(renewals);
  });

  it('need not be renewed by an operation that is quick', async () => {
    const here = new Process(fixture);
    await here.run(anOperation({ leaseMs: 3 * SECOND }));
    expect(here.count('renew')).toBe(0);
  });

  it('is renewed again soon where that failed', async () => {
    const here = new Process(fixture);
    here.lose('before renew', 2, lost());
    const operation = anOperation({ leaseMs: 1_500 });
    const leased = await here.begin(operation);
    const finish = await leased.runToEnd(async () => {
      await sleep(1_900);
      expect(leased.execution.signal.aborted).toBe(false);
      return STORE;
    });
    expect(finish).toEqual({ kind: 'stored' });
    expect(here.typesOfEvents()).toEqual(['claimed', 'completed']);
    expect(here.count('renew')).toBeGreaterThan(2);
  });

  it('that was renewed allows for trying again as long as a new one', async () => {
    const here = new Process(fixture);
    let failures = 2;
    here.reach = ({ point }) => {
      if (point === 'before complete' && failures-- > 0) throw lost();
    };
    const leased = await here.begin(anOperation({ leaseMs: 1_500 }));
    const finish = await leased.runToEnd(async () => {
      await until(() => here.count('renew') > 0);
      await sleep(50);
      return STORE;
    });
    expect(finish).toEqual({ kind: 'stored' });
  });

  it('that was taken by another aborts the signal', async () => {
    const here = new Process(fixture);
    const operation = anOperation({ leaseMs: 600 });
    const leased = await here.begin(operation);
    await leased.runToEnd(async () => {
      const { signal } = leased.execution;
      await takeAway(operation);
      await until(() => signal.aborted);
      expect(signal.reason).toBeInstanceOf(LeaseLostError);
      const renewals = here.count('renew');
      await sleep(300);
      expect(here.count('renew')).toBe(renewals);
      return STORE;
    });
    // Once, though its end found the same.
    expect(here.typesOfEvents()).toEqual(['claimed', 'leaseLost']);
  });

  it('that could not be renewed is given up when it has run out, and not before', async () => {
    const here = new Process(fixture, { observed: false });
    const leaseMs = 700;
    const startedAt = performance.now();
    const leased = await here.begin(anOperation({ leaseMs }));
    here.lose('before renew', Infinity, lost());
    await leased.runToEnd(async () => {
      await until(() => leased.execution.signal.aborted);
      expect(performance.now() - startedAt).toBeGreaterThanOrEqual(leaseMs - 1);
      const renewals = here.count('renew');
      expect(renewals).toBeGreaterThan(2);
      await sleep(200);
      expect(here.count('renew')).toBe(renewals);
      return RELEASE;
    });
    expect(here.typesOfEvents()).toEqual(['leaseLost']);
  });

  it('is not lost where a renewal finds the end of its own execution, before that is answered', async () => {
    for (const [point, ending, last] of [
      ['after complete', STORE, 'completed'],
      ['after commit', STORE, 'completed'],
      ['after release', RELEASE, 'released'],
      ['after discard', DISCARD, 'released'],
    ] as const) {
      const here = new Process(fixture);
      here.reach = async (site) => {
        if (site.point !== point) return;
        const renewals = here.answered('renew');
        await until(() => here.answered('renew') > renewals);
      };
      const operation = anOperation({ leaseMs: 300, transactional: point === 'after commit' });
      const leased = await here.begin(operation);
      const { signal } = leased.execution;
      await leased.runToEnd(async () => ending);
      expect([point, ...here.typesOfEvents()]).toEqual([point, 'claimed', last]);
      expect(signal.aborted).toBe(false);
    }
  });

  it('is not lost by an execution that has ended while it was being renewed', async () => {
    for (const [where, fails] of [
      ['before renew', false],
      ['before renew', true],
      ['after renew', false],
    ]) {
      const here = new Process(fixture);
      let renewing = false;
      let resume!: () => void;
      const paused = new Promise<void>((resolve) => (resume = resolve));
      here.reach = async ({ point }) => {
        if (point !== where) return;
        renewing = true;
        await paused;
        if (fails) throw lost();
      };
      const leased = await here.begin(anOperation({ leaseMs: 300 }));
      await leased.runToEnd(async () => {
        await until(() => renewing);
        return STORE;
      });
      resume();
      await sleep(500);
      expect(here.count('renew')).toBe(1);
      expect(here.typesOfEvents()).toEqual(['claimed', 'completed']);
      expect(leased.execution.signal.aborted).toBe(false);
    }
  });
});

describe('a transaction', () => {
  const TRANSACTIONAL = { transactional: true };

  async function work(here: Process, operation: Operation, ending = STORE) {
    const leased = await here.begin(operation);
    const finish = await leased.runToEnd(async () => {
      const manager = leased.execution.manager as EntityManager;
      await manager.query(`INSERT INTO effect VALUES ('${operation.recordId}')`);
      return ending;
    });
    expect(() => leased.execution.manager).toThrow('transactional operations only');
    return finish;
  }

  it('holds the writes and the outcome', async () => {
    const here = new Process(fixture);
    const operation = anOperation(TRANSACTIONAL);
    const leased = await here.begin(operation);
    const finish = await leased.runToEnd(async () => {
      const manager = leased.execution.manager as EntityManager;
      await manager.query(`INSERT INTO effect VALUES ('${operation.recordId}')`);
      return STORE;
    });
    expect(finish).toEqual({ kind: 'stored' });
    expect(await effectOf(operation)).toBe(1);
    expect(here.typesOfEvents()).toEqual(['claimed', 'completed']);
    expect(here.event('completed')!.takeMs).toBeGreaterThanOrEqual(0);
    expect(here.event('completed')!.takeMs).toBeLessThan(10 * SECOND);
    expect(await here.engine.admit(operation)).toEqual({ kind: 'replay', outcome: OUTCOME });
  });

  it('counts what recording takes from the end of the body', async () => {
    const here = new Process(fixture);
    const leased = await here.begin(anOperation(TRANSACTIONAL));
    const beganAt = performance.now();
    await leased.runToEnd(async () => {
      await sleep(500);
      return STORE;
    });
    expect(here.event('completed')!.takeMs).toBeLessThan(performance.now() - beganAt - 450);
  });

  it.each([
    ['an error, and keeps it', FAILED, 'stored', 'done', 1],
    ['an outcome that is not kept', RELEASE, 'freed', 'failed', 2],
    ['what never began', DISCARD, 'freed', undefined, 1],
  ])('is rolled back by %s', async (_, ending, kind, status, attempt) => {
    const here = new Process(fixture);
    const operation = anOperation(TRANSACTIONAL);
    expect(await work(here, operation, ending)).toEqual({ kind });
    expect(await effectOf(operation)).toBe(0);
    expect((await fixture.record(operation.recordId))?.status).toBe(status);
    if (kind === 'freed') expect((await here.begin(operation)).execution.attempt).toBe(attempt);
  });

  it('is rolled back where the execution asked not to be stored', async () => {
    const here = new Process(fixture);
    const operation = anOperation(TRANSACTIONAL);
    const leased = await here.begin(operation);
    const finish = await leased.runToEnd(async () => {
      await (leased.execution.manager as EntityManager).query(`INSERT INTO effect VALUES ('${operation.recordId}')`);
      leased.execution.doNotStore();
      return STORE;
    });
    expect(finish).toEqual({ kind: 'freed' });
    expect(await effectOf(operation)).toBe(0);
  });

  it('is rolled back by a body that throws, which is thrown on', async () => {
    const here = new Process(fixture);
    const operation = anOperation(TRANSACTIONAL);
    const leased = await here.begin(operation);
    const error = new StoreUnavailableError();
    await expect(leased.runToEnd(() => Promise.reject(error))).rejects.toBe(error);
    expect(here.typesOfEvents()).toEqual(['claimed', 'released']);
    expect((await here.begin(operation)).execution.attempt).toBe(2);
  });

  it('is rolled back where the record was lost', async () => {
    const here = new Process(fixture);
    const operation = anOperation(TRANSACTIONAL);
    const leased = await here.begin(operation);
    await takeAway(operation);
    const finish = await leased.runToEnd(async () => {
      await (leased.execution.manager as EntityManager).query(`INSERT INTO effect VALUES ('${operation.recordId}')`);
      return STORE;
    });
    expect(finish).toMatchObject({ kind: 'lost', recordState: { token: 2 } });
    expect(await effectOf(operation)).toBe(0);
    expect(here.typesOfEvents()).toEqual(['claimed', 'leaseLost']);
  });

  it('that cannot be begun leaves nothing behind', async () => {
    const store = fixture.store();
    const error = new StoreUnavailableError();
    const closed = Object.create(store, { transaction: { value: () => Promise.reject(error) } }) as typeof store;
    const here = new Process(fixture, { store: closed });
    const operation = anOperation(TRANSACTIONAL);
    let ran = false;
    const leased = await here.begin(operation);
    const finish = await leased.runToEnd(async () => {
      ran = true;
      return STORE;
    });
    expect(finish).toEqual({ kind: 'rolledBack', error });
    expect(ran).toBe(false);
    expect(await fixture.record(operation.recordId)).toBeNull();
  });

  it('that the database rolled back leaves the key to the next', async () => {
    const here = new Process(fixture);
    const error = new Error('deadlock');
    here.lose('before commit', 1, error);
    const operation = anOperation(TRANSACTIONAL);
    expect(await work(here, operation)).toEqual({ kind: 'rolledBack', error });
    expect(await effectOf(operation)).toBe(0);
    expect((await here.begin(operation)).execution.attempt).toBe(2);
  });

  it('whose COMMIT took place though its answer was lost is stored', async () => {
    const here = new Process(fixture);
    here.lose('after commit', 1);
    const operation = anOperation(TRANSACTIONAL);
    expect(await work(here, operation)).toEqual({ kind: 'stored' });
    expect(await effectOf(operation)).toBe(1);
    expect(here.typesOfEvents()).toEqual(['claimed', 'completed']);
  });

  it('is looked up again and again, within the lease', async () => {
    const here = new Process(fixture);
    let failures = 2;
    here.reach = ({ point }) => {
      if (point === 'after commit') throw lost();
      if (point === 'before renew' && failures-- > 0) throw lost();
    };
    const operation = anOperation(TRANSACTIONAL);
    expect(await work(here, operation)).toEqual({ kind: 'stored' });
    expect(here.count('renew')).toBe(3);
  });

  it('that cannot be looked up either is unrecorded', async () => {
    const here = new Process(fixture);
    here.reach = ({ point }) => {
      if (point === 'after commit' || point === 'before renew') throw lost();
    };
    const operation = anOperation({ ...TRANSACTIONAL, leaseMs: 600 });
    expect(await work(here, operation)).toEqual({ kind: 'unrecorded', error: expect.any(StoreUnavailableError) });
    // A heartbeat may see first that the lease is over.
    expect(here.typesOfEvents().filter((type) => type !== 'leaseLost')).toEqual(['claimed', 'unrecorded']);
  });

  it('whose COMMIT did not take place is rolled back, and the key is free', async () => {
    const store = fixture.store();
    const unknown = new CommitUnknownError();
    const cut = Object.create(store, {
      transaction: {
        value: (body: Parameters<typeof store.transaction>[0]) =>
          store
            .transaction(async (transaction) => {
              await body({ ...transaction, completeLast: undefined });
              throw new Error('cut before COMMIT');
            })
            .catch(() => Promise.reject(unknown)),
      },
    }) as typeof store;
    const here = new Process(fixture, { store: cut });
    const operation = anOperation(TRANSACTIONAL);
    expect(await work(here, operation)).toEqual({ kind: 'rolledBack', error: unknown });
    expect(await effectOf(operation)).toBe(0);
    expect((await here.begin(operation)).execution.attempt).toBe(2);
  });

  it('whose release fails, too, is rolled back, and the key is taken until the lease runs out', async () => {
    const store = fixture.store();
    const refusing = Object.create(store, {
      transaction: { value: () => Promise.reject(new Error('refused')) },
      discard: { value: () => Promise.reject(new Error('refused, too')) },
    }) as typeof store;
    const here = new Process(fixture, { store: refusing });
    const operation = anOperation(TRANSACTIONAL);
    expect(await work(here, operation)).toEqual({ kind: 'rolledBack', error: new Error('refused'), isTaken: true });
    expect(here.typesOfEvents()).toEqual(['claimed', 'unrecorded']);
  });

  it('whose record another has completed meanwhile is lost', async () => {
    const here = new Process(fixture);
    const operation = anOperation(TRANSACTIONAL);
    here.reach = async ({ point }) => {
      if (point !== 'after commit') return;
      await fixture.dataSource.query(`UPDATE idempotency_record SET token = 9 WHERE id = '${operation.recordId}'`);
      throw lost();
    };
    expect(await work(here, operation)).toMatchObject({ kind: 'lost', recordState: { token: 9, status: 'done' } });
    expect(here.typesOfEvents()).toEqual(['claimed', 'leaseLost']);
  });

  it('announces its outcome where the answer was lost', async () => {
    const wakeUp = new TestWakeUp();
    const here = new Process(fixture, { wakeUp });
    here.lose('after commit', 1);
    const operation = anOperation(TRANSACTIONAL);
    await work(here, operation);
    expect(wakeUp.announced).toEqual([operation.recordId]);
  });
});

describe('a step', () => {
  /** Runs `body` within a first attempt, and lets the next take over. */
  async function interrupted(
    operation: Operation,
    body: (step: Awaited<ReturnType<Process['begin']>>['execution']['step']) => Promise<unknown>,
  ) {
    const here = new Process(fixture);
    const { execution } = await here.begin(operation);
    await body(execution.step.bind(execution));
    await fixture.expireLease(operation.recordId);
    const there = new Process(fixture);
    const leased = await there.begin(duplicate(operation));
    return { there, leased, execution: leased.execution };
  }
  const never = () => new Promise<never>(() => undefined);
  /** With a step that failed, which could not be recorded: it may have happened. */
  const leaveUnknown = async (on: Process, operation: Operation) => {
    const leased = await on.begin(operation);
    on.lose('before step end', 1, new TypeError('a mistake'));
    await leased.runToEnd(async () => {
      await leased.execution.step('charge', () => Promise.reject(new Error('timed out'))).catch(() => undefined);
      return RELEASE;
    });
  };
  const notAgain = () => Promise.reject(new Error('run again'));
  const HOLD = { afterCrash: 'hold' } as const;

  it('that completed is not run again', async () => {
    const operation = anOperation();
    const { execution, there } = await interrupted(operation, async (step) => {
      expect(await step('charge', () => ({ id: 7 }))).toEqual({ id: 7 });
      expect(await step('nothing', () => undefined)).toBeUndefined();
    });
    expect(await execution.step('charge', notAgain)).toEqual({ id: 7 });
    expect(await execution.step('nothing', notAgain)).toBeUndefined();
    expect(await execution.step('new', () => 1)).toBe(1);
    // What is on record was looked up once.
    expect(there.count('read')).toBe(1);
    expect(there.asked).not.toContain('step begin');
  });

  it('of a first attempt costs one write', async () => {
    const here = new Process(fixture);
    const { execution } = await here.begin(anOperation());
    expect(await execution.step('charge', () => 1)).toBe(1);
    expect(here.asked).toEqual(['claim', 'step end']);
  });

  it.each([
    ['where its outcome matters after a crash', HOLD, {}],
    ['where it can be verified', {}, { verify: () => undefined }],
  ])('is noted before it begins %s', async (_, policy, options) => {
    const here = new Process(fixture);
    const operation = anOperation(policy);
    const { execution } = await here.begin(operation);
    await execution.step(
      'charge',
      async () => {
        expect(await fixture.steps(operation.recordId)).toMatchObject([{ name: 'charge', status: 'begun' }]);
      },
      options,
    );
    expect(await fixture.steps(operation.recordId)).toMatchObject([{ name: 'charge', status: 'done' }]);
    expect(here.asked).toEqual(['claim', 'step begin', 'step end']);
  });

  // To look whether it was an Observable threw, the step counted as failed, and charged again.
  it('whose result refuses to be read is done', async () => {
    const refusing = new Proxy(
      {},
      {
        get(_target, name) {
          if (name === 'then') return undefined;
          throw new TypeError(`there is no ${String(name)}`);
        },
      },
    );
    const { execution } = await new Process(fixture).begin(anOperation());
    let charges = 0;
    const charge = () => execution.step('charge', () => (charges++, refusing));
    expect((await charge()) === refusing).toBe(true);
    await expect(charge()).rejects.toThrow('named twice');
    expect(charges).toBe(1);
  });

  it('that threw is run again', async () => {
    const error = new Error('declined');
    const operation = anOperation();
    const { execution: again } = await interrupted(operation, async (step) => {
      await expect(step('charge', () => Promise.reject(error))).rejects.toBe(error);
      expect(await fixture.steps(operation.recordId)).toMatchObject([{ name: 'charge', status: 'failed' }]);
    });
    expect(await again.step('charge', () => 2)).toBe(2);
    expect(await fixture.steps(operation.recordId)).toMatchObject([{ name: 'charge', status: 'done' }]);
  });

  it('that threw is run again even where an unknown outcome would be held, as it is known', async () => {
    const here = new Process(fixture);
    const operation = anOperation(HOLD);
    const first = await here.begin(operation);
    await first.runToEnd(async () => {
      await expect(first.execution.step('charge', () => Promise.reject(new Error('declined')))).rejects.toThrow();
      return RELEASE;
    });
    const second = await here.begin(operation);
    expect(await second.execution.step('charge', () => 2)).toBe(2);
    expect(await second.runToEnd(async () => STORE)).toEqual({ kind: 'stored' });
  });

  it('that threw is verified before it is run again', async () => {
    const { execution } = await interrupted(anOperation(), async (step) => {
      const timedOut = step('charge', () => Promise.reject(new Error('timed out')), { verify: () => undefined });
      await expect(timedOut).rejects.toThrow('timed out');
    });
    expect(await execution.step('charge', notAgain, { verify: () => 'charged' })).toBe('charged');
  });

  it('that was interrupted is verified: it happened', async () => {
    const operation = anOperation();
    const { execution, there } = await interrupted(operation, async (step) => {
      void step('charge', never, { verify: () => undefined });
      await sleep(50);
    });
    expect(await execution.step('charge', notAgain, { verify: async () => ({ id: 3 }) })).toEqual({ id: 3 });
    expect(there.asked.slice(1)).toEqual(['read', 'step end']);
    expect(await fixture.steps(operation.recordId)).toMatchObject([
      { status: 'done', result: Buffer.from('{"id":3}') },
    ]);
  });

  it('that was interrupted is verified: it did not happen', async () => {
    const operation = anOperation();
    const { execution } = await interrupted(operation, async (step) => {
      void step('charge', never, { verify: () => undefined });
      await sleep(50);
    });
    expect(await execution.step('charge', () => 'now', { verify: () => undefined })).toBe('now');
  });

  it('that was interrupted and cannot be verified is run again', async () => {
    const { execution } = await interrupted(anOperation(), async (step) => {
      void step('charge', never, { verify: () => undefined });
      await sleep(50);
    });
    expect(await execution.step('charge', () => 'again')).toBe('again');
  });

  it.each([false, true])('whose outcome is unknown holds the record (transactional: %s)', async (transactional) => {
    const here = new Process(fixture);
    const operation = anOperation({ ...HOLD, transactional });
    await leaveUnknown(here, duplicate(operation, { transactional: false }));

    const leased = await here.begin(operation);
    const finish = await leased.runToEnd(async () => {
      await expect(leased.execution.step('charge', notAgain)).rejects.toThrow(new StepUnknownError('charge'));
      return STORE;
    });
    expect(finish).toEqual({ kind: 'held' });
    const { recordId, endpoint } = operation;
    expect(here.events.at(-1)).toEqual({ type: 'held', recordId, endpoint, attempt: 2, token: 2 });
    expect(here.engine.isRunning).toBe(false);
    expect(await new Process(fixture).engine.admit(operation)).toMatchObject({ refusal: { reason: 'held' } });
  });

  // A retry after the lease would have run the step again, though its client had read that a person decides.
  it.each([
    ['is out of reach', 'before hold'],
    ['loses its answers', 'after hold'],
  ])('that says that its outcome is unknown holds the record, though the store %s for a moment', async (_, point) => {
    const here = new Process(fixture);
    const operation = anOperation();
    const leased = await here.begin(operation);
    here.lose(point, 2, lost());
    const finish = await leased.runToEnd(async () => {
      await leased.execution
        .step('charge', () => Promise.reject(new StepUnknownError('charge')))
        .catch(() => undefined);
      return STORE;
    });
    expect(finish).toEqual({ kind: 'held' });
    expect(here.typesOfEvents()).toEqual(['claimed', 'held']);
    expect(await fixture.record(operation.recordId)).toMatchObject({ status: 'held' });
  });

  it('whose outcome is unknown emits no event where nothing subscribes', async () => {
    const here = new Process(fixture, { observed: false });
    const operation = anOperation(HOLD);
    await leaveUnknown(here, operation);
    const leased = await here.begin(operation);
    const finish = await leased.runToEnd(async () => {
      await leased.execution.step('charge', notAgain).catch(() => undefined);
      return STORE;
    });
    expect(finish).toEqual({ kind: 'held' });
    expect(here.events).toEqual([]);
  });

  it('of an execution that lost its record is not recorded, and says so', async () => {
    for (const options of [{}, { verify: () => undefined }]) {
      const here = new Process(fixture);
      const operation = anOperation();
      const { execution } = await here.begin(operation);
      await takeAway(operation);
      await expect(execution.step('charge', () => 1, options)).rejects.toThrow(LeaseLostError);
      expect(await fixture.steps(operation.recordId)).toEqual([]);
    }
  });

  it.each([lost(), missing()])('is recorded again and again within the lease: %p', async (error) => {
    const here = new Process(fixture);
    here.lose('before step end', 2, error);
    const operation = anOperation();
    const { execution } = await here.begin(operation);
    expect(await execution.step('charge', () => 1)).toBe(1);
    expect(here.count('step end')).toBe(3);
  });

  it('that threw throws the same though that cannot be recorded', async () => {
    const here = new Process(fixture);
    here.lose('before step end', Infinity, new TypeError('a mistake'));
    const { execution } = await here.begin(anOperation());
    const error = new Error('declined');
    await expect(execution.step('charge', () => Promise.reject(error))).rejects.toBe(error);
    expect(here.count('step end')).toBe(1);
  });

  it('has a name of its own, of 1 to 191 characters', async () => {
    const { execution } = await new Process(fixture).begin(anOperation());
    await expect(execution.step('', () => 1)).rejects.toThrow(RangeError);
    await expect(execution.step('x'.repeat(192), () => 1)).rejects.toThrow('1 to 191');
    expect(await execution.step('x'.repeat(191), () => 1)).toBe(1);
    await expect(execution.step('x'.repeat(191), () => 1)).rejects.toThrow('named twice');
    expect(await execution.step('x', () => 1)).toBe(1);
  });

  it('outlives the transaction that is rolled back, though it was recorded on its connection', async () => {
    const here = new Process(fixture);
    const operation = anOperation({ transactional: true });
    const leased = await here.begin(operation);
    await leased.runToEnd(async () => {
      await leased.execution.step('reserve', () => 1);
      return FAILED;
    });
    expect(await fixture.steps(operation.recordId)).toMatchObject([{ name: 'reserve', status: 'done' }]);
  });
});

it('a waiter is not left alone when the operation ends in any way', async () => {
  for (const policy of [{}, { transactional: true }]) {
    for (const ending of [STORE, FAILED, RELEASE, DISCARD]) {
      const here = new Process(fixture);
      const operation = anOperation({ ...WAIT, ...policy });
      const leased = await here.begin(operation);
      const waiting = here.engine.admit(operation);
      await leased.runToEnd(async () => ending);
      expect((await waiting).kind).toBe(ending.kind === 'store' ? 'replay' : 'run');
    }
  }
});
