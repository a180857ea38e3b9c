import { jest } from '@jest/globals';
import { LeaseLostError, StepResult } from '../../../lib/engine/steps.js';
import { until } from '../../support/until.js';
import type { StoreFixture } from '../store/support.js';
import { anOperation, duplicate, HOUR, openStoreFixture, Process, RELEASE, STORE } from './support.js';

let fixture: StoreFixture;
beforeAll(async () => (fixture = await openStoreFixture()));
afterAll(() => fixture?.close());
afterEach(() => jest.restoreAllMocks());

const never = () => new Promise<never>(() => undefined);

it('a step does not begin on a machine that was suspended for longer than its lease', async () => {
  const here = new Process(fixture);
  const operation = anOperation();
  const { execution } = await here.begin(operation);
  expect(await execution.step('reserve', () => 1)).toBe(1);
  await fixture.expireLease(operation.recordId);
  await new Process(fixture).begin(duplicate(operation));
  // The monotonic clock stands still meanwhile, and no timer fires.
  const now = Date.now() + HOUR;
  jest.spyOn(Date, 'now').mockImplementation(() => now);
  const charge = jest.fn();
  await expect(execution.step('charge', charge)).rejects.toThrow(LeaseLostError);
  expect(charge).not.toHaveBeenCalled();
});

it('a clock that was set forward costs a step a renewal, and nothing else', async () => {
  const here = new Process(fixture);
  const { execution } = await here.begin(anOperation());
  const now = Date.now() + HOUR;
  jest.spyOn(Date, 'now').mockImplementation(() => now);
  expect(await execution.step('charge', () => 1)).toBe(1);
  expect(await execution.step('ship', () => 2)).toBe(2);
  expect(here.asked).toEqual(['claim', 'renew', 'step end', 'step end']);
});

it.each([false, true])(
  'a step that hangs does not keep an operation past its `maxDuration` (transactional: %s)',
  async (transactional) => {
    const here = new Process(fixture);
    const operation = anOperation({ transactional, leaseMs: 300, maxDurationMs: 50 });
    const leased = await here.begin(operation);
    const recorded = await leased.runToEnd(async () => {
      void leased.execution.step('charge', never);
      return RELEASE;
    });
    expect(recorded).toEqual({ kind: 'freed' });
    expect(here.typesOfEvents()).toEqual(['claimed', 'overran', 'leaseLost', 'released']);
    expect(here.engine.isRunning).toBe(false);
  },
);

it('a step that the handler does not wait for is recorded before its outcome', async () => {
  const here = new Process(fixture);
  const operation = anOperation();
  const leased = await here.begin(operation);
  let mail!: () => void;
  const recorded = leased.runToEnd(async () => {
    void leased.execution.step('mail', () => new Promise<void>((resolve) => (mail = resolve)));
    return STORE;
  });
  await until(() => mail);
  mail();
  expect(await recorded).toEqual({ kind: 'stored' });
  expect(here.asked).toEqual(['claim', 'step end', 'complete']);
  expect(await fixture.steps(operation.recordId)).toMatchObject([{ name: 'mail', status: 'done' }]);
});

it('`verify` says by false that a step did not happen, as `exists()` does', async () => {
  for (const [found, expected] of [
    [false, 'run'],
    [new StepResult(false), false],
  ] as const) {
    const here = new Process(fixture);
    const operation = anOperation();
    const { execution } = await here.begin(operation);
    void execution.step('mail', never, { verify: () => undefined });
    await until(async () => (await fixture.steps(operation.recordId)).length > 0);
    await fixture.expireLease(operation.recordId);
    const { execution: next } = await new Process(fixture).begin(duplicate(operation));
    expect(await next.step<string | boolean>('mail', () => 'run', { verify: () => found })).toBe(expected);
  }
});
