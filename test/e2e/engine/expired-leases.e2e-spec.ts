import { jest } from '@jest/globals';
import type { LeasedExecution } from '../../../lib/engine/leased-execution.js';
import type { Operation } from '../../../lib/engine/operation.js';
import type { RecordStore, StoreTransaction } from '../../../lib/engine/ports/record-store.js';
import { LeaseLostError } from '../../../lib/engine/steps.js';
import { StoreUnavailableError } from '../../../lib/testing/index.js';
import { type StoreFixture } from '../store/support.js';
import { anOperation, duplicate, HOUR, openStoreFixture, Process, sleep, STORE } from './support.js';

const LEASE_MS = 400;

let fixture: StoreFixture;
beforeAll(async () => void (fixture = await openStoreFixture()));
afterAll(() => fixture?.close());

/**
 * Found on three nodes of Galera, one of which was slow to apply what the others had committed: a commit of its own waits for that,
 * for longer than a short lease.
 */
describe('a claim that is answered once its lease is over', () => {
  /** The first answer keeps its process waiting until the lease is over, and for `meanwhile`. */
  function late(meanwhile: () => Promise<unknown> = async () => undefined): Process {
    const here = new Process(fixture);
    let answers = 0;
    here.reach = async ({ point }) => {
      if (point !== 'after claim' || answers++ > 0) return;
      await sleep(LEASE_MS + 20);
      await meanwhile();
    };
    return here;
  }

  it('does not begin where another execution has the record by then', async () => {
    const there = new Process(fixture);
    const operation = anOperation({ leaseMs: LEASE_MS });
    const here = late(() => there.begin(duplicate(operation, { leaseMs: 60_000 })));
    expect(await here.admit(operation)).toMatchObject({ kind: 'refuse', refusal: { reason: 'running' } });
  });

  it('begins under another lease where none has', async () => {
    const here = late();
    const operation = anOperation({ leaseMs: LEASE_MS });
    const leased = await here.begin(operation);
    expect(here.asked.slice(0, 2)).toEqual(['claim', 'renew']);
    expect(leased.execution.attempt).toBe(1);
    expect(await leased.runToEnd(async () => STORE)).toEqual({ kind: 'stored' });
  });

  it('is replayed where it is done by then', async () => {
    const there = new Process(fixture);
    const operation = anOperation({ leaseMs: LEASE_MS });
    const here = late(() => there.run(duplicate(operation)));
    expect(await here.admit(operation)).toMatchObject({ kind: 'replay' });
  });
});

/** A virtual machine that is paused, moved or restored: its monotonic clock stands still meanwhile, no timer fires, and the answer waits. */
describe('a claim whose machine was suspended for longer than its lease before the answer', () => {
  afterEach(() => jest.restoreAllMocks());

  function suspended(fixture: StoreFixture, operation: Operation, meanwhile: () => Promise<unknown>): Process {
    const here = new Process(fixture);
    here.reach = async ({ point }) => {
      if (point !== 'after claim') return;
      here.reach = () => undefined;
      await fixture.expireLease(operation.recordId);
      await meanwhile();
      const now = Date.now() + HOUR;
      jest.spyOn(Date, 'now').mockImplementation(() => now);
    };
    return here;
  }

  it('does not begin where another execution has the record by then', async () => {
    const operation = anOperation();
    const here = suspended(fixture, operation, () => new Process(fixture).begin(duplicate(operation)));
    expect(await here.admit(operation)).toMatchObject({ kind: 'refuse', refusal: { reason: 'running' } });
  });

  it('is replayed where it is done by then', async () => {
    const operation = anOperation();
    const here = suspended(fixture, operation, () => new Process(fixture).run(duplicate(operation)));
    expect(await here.admit(operation)).toMatchObject({ kind: 'replay' });
  });

  it('begins under another lease where none has', async () => {
    const operation = anOperation();
    const here = suspended(fixture, operation, async () => undefined);
    const leased = await here.begin(operation);
    expect(here.asked).toEqual(['claim', 'renew']);
    expect(await leased.execution.step('charge', () => 1)).toBe(1);
    expect(here.asked).toEqual(['claim', 'renew', 'step end']);
  });
});

describe('a transaction that finds no record of its own', () => {
  /** As a transaction on a node that has not applied the claim yet, which was taken through another node. */
  function behind(store: RecordStore): RecordStore {
    const transaction: RecordStore['transaction'] = (work, endpoint) =>
      store.transaction((begun) => {
        const nothing: StoreTransaction['complete'] = async () => ({ held: false, awaited: false });
        return work({ ...begun, complete: nothing, completeLast: undefined });
      }, endpoint);
    return new Proxy(store, {
      get: (target, name) => (name === 'transaction' ? transaction : Reflect.get(target, name)),
    });
  }

  it('frees the key where the record is its own all the same', async () => {
    const here = new Process(fixture, { store: behind(fixture.store()) });
    const operation = anOperation({ transactional: true });
    const leased = await here.begin(operation);
    const finish = await leased.runToEnd(async () => STORE);
    expect(finish).toMatchObject({ kind: 'rolledBack', error: expect.any(StoreUnavailableError) as unknown });
    const there = new Process(fixture);
    expect(await there.run(duplicate(operation))).toEqual({ kind: 'stored' });
  });
});

describe('a step that comes once the lease is over', () => {
  /** A heartbeat is on its way for as long as the lease lasts, as where the process or its store has stopped meanwhile. */
  async function silent(): Promise<{ here: Process; leased: LeasedExecution; operation: Operation }> {
    const here = new Process(fixture);
    const operation = anOperation({ leaseMs: LEASE_MS });
    const leased = await here.begin(operation);
    const forEver = new Promise<void>(() => undefined);
    here.reach = ({ point }) => (point === 'before renew' ? forEver : undefined);
    await sleep(LEASE_MS + 20);
    here.reach = () => undefined;
    return { here, leased, operation };
  }

  it('does not run where another execution has the record', async () => {
    const { leased, operation } = await silent();
    await new Process(fixture).begin(duplicate(operation, { leaseMs: 60_000 }));
    let ran = false;
    await expect(leased.execution.step('mail', () => (ran = true))).rejects.toThrow(LeaseLostError);
    expect(ran).toBe(false);
  });

  it('runs where none has', async () => {
    const { leased } = await silent();
    expect(await leased.execution.step('mail', () => 'sent')).toBe('sent');
    expect(await leased.runToEnd(async () => STORE)).toEqual({ kind: 'stored' });
  });
});
