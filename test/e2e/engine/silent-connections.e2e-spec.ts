import type { StoreFixture } from '../store/support.js';
import { StoreUnavailableError } from '../../../lib/testing/index.js';
import { until } from '../../support/until.js';
import { anOperation, duplicate, openStoreFixture, Process, sleep, STORE } from './support.js';

let fixture: StoreFixture;
beforeAll(async () => (fixture = await openStoreFixture()));
afterAll(() => fixture?.close());

const LEASE_MS = 1_500;

/** The first call at a point goes over a connection that swallows it, and gets its error when all of the lease is over. */
function swallow(here: Process, point: string): void {
  let isFirst = true;
  here.reach = async (site) => {
    if (site.point !== point || !isFirst) return;
    isFirst = false;
    await sleep(LEASE_MS + 100);
    throw new StoreUnavailableError({ cause: new Error('no answer') });
  };
}

it('a lease is renewed over another connection where one swallows the renewal', async () => {
  const here = new Process(fixture);
  swallow(here, 'before renew');
  const operation = anOperation({ leaseMs: LEASE_MS });
  const leased = await here.begin(operation);
  const recorded = await leased.runToEnd(async () => {
    await sleep(LEASE_MS + 50);
    const { kind } = await new Process(fixture).engine.admit(duplicate(operation));
    expect(kind).toBe('refuse');
    // The error of the first renewal says nothing of the lease any more.
    await sleep(200);
    return STORE;
  });
  expect(recorded).toEqual({ kind: 'stored' });
  expect(here.typesOfEvents()).toEqual(['claimed', 'completed']);
});

it('an outcome is recorded over another connection where one swallows the completion', async () => {
  const here = new Process(fixture);
  swallow(here, 'before complete');
  const leased = await here.begin(anOperation({ leaseMs: LEASE_MS }));
  expect(await leased.runToEnd(async () => STORE)).toEqual({ kind: 'stored' });
  expect(here.count('complete')).toBe(2);
});

it('a renewal that is answered late does not shorten the lease', async () => {
  const here = new Process(fixture);
  let answer!: () => void;
  const late = new Promise<void>((resolve) => (answer = resolve));
  let renewedAt = Infinity;
  here.reach = ({ point }) => {
    if (point === 'before renew' && here.count('renew') === 2) renewedAt = performance.now();
    return point === 'after renew' && here.count('renew') === 1 ? late : undefined;
  };
  const leased = await here.begin(anOperation({ leaseMs: LEASE_MS }));
  await leased.runToEnd(async () => {
    await until(() => here.count('renew') > 1);
    here.lose('before renew');
    answer();
    await until(() => leased.execution.signal.aborted);
    expect(performance.now() - renewedAt).toBeGreaterThanOrEqual(LEASE_MS - 1);
    return STORE;
  });
});

it('no heartbeat follows the renewal that found the lease lost', async () => {
  const here = new Process(fixture);
  let fail!: (error: Error) => void;
  const swallowed = new Promise<void>((_, reject) => (fail = reject));
  here.reach = ({ point }) => (point === 'before renew' && here.count('renew') === 1 ? swallowed : undefined);
  const operation = anOperation({ leaseMs: LEASE_MS });
  const leased = await here.begin(operation);
  await leased.runToEnd(async () => {
    await until(() => here.count('renew') > 0);
    await fixture.dataSource.query(`UPDATE idempotency_record SET token = 9 WHERE id = '${operation.recordId}'`);
    await until(() => leased.execution.signal.aborted);
    fail(new StoreUnavailableError({ cause: new Error('no answer') }));
    await sleep(LEASE_MS);
    expect(here.count('renew')).toBe(2);
    return STORE;
  });
  expect(here.typesOfEvents()).toEqual(['claimed', 'leaseLost']);
});
