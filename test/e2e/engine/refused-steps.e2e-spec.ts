import { jest } from '@jest/globals';
import { NestedOperationError, StoreRefusedError, UnreadableRecordError } from '../../../lib/engine/errors.js';
import type { LeasedExecution } from '../../../lib/engine/leased-execution.js';
import { LeaseLostError, StepUnknownError } from '../../../lib/engine/steps.js';
import type { StoreFixture } from '../store/support.js';
import { anOperation, duplicate, openStoreFixture, Process, RELEASE, STORE } from './support.js';

let fixture: StoreFixture;
let here: Process;
beforeAll(async () => (fixture = await openStoreFixture()));
afterAll(() => fixture?.close());
beforeEach(() => (here = new Process(fixture)));

const refused = () => new StoreRefusedError({ cause: new Error('value too long') });
/** As while a table is restored. */
const missing = () => new StoreRefusedError({ cause: new Error('no such table'), mayPass: true });
const exhausted = () => new NestedOperationError('step "charge"', 'POST /payments', 3);

describe('a step that has happened', () => {
  it('is recorded without its result where the store refuses it, and is not run again', async () => {
    const operation = anOperation();
    const leased = await here.begin(operation);
    here.lose('before step end', 1, refused());
    let charges = 0;
    const charge = () => leased.execution.step('charge', () => ++charges);
    await leased
      .runToEnd(async () => (await charge(), Promise.reject(new Error('out of stock'))))
      .catch(() => undefined);
    expect(here.event('notKept')).toMatchObject({ step: 'charge', error: { message: 'value too long' } });
    expect(await fixture.steps(operation.recordId)).toMatchObject([{ name: 'charge', status: 'done' }]);

    const retry = await new Process(fixture).begin(duplicate(operation));
    await expect(retry.execution.step('charge', () => ++charges)).rejects.toThrow(StepUnknownError);
    expect(charges).toBe(1);
  });

  it('holds the record where the store refuses every record of it', async () => {
    const operation = anOperation();
    const leased = await here.begin(operation);
    here.lose('before step end', Infinity, refused());
    const recorded = await leased.runToEnd(async () => {
      // A handler may catch it.
      const failure = await leased.execution.step('charge', () => 1).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(StepUnknownError);
      expect(failure).toMatchObject({ step: 'charge', cause: { message: 'value too long' } });
      return STORE;
    });
    expect(recorded).toMatchObject({ kind: 'held' });
    expect(here.count('step end')).toBe(2);
    expect(await new Process(fixture).admit(duplicate(operation))).toMatchObject({ refusal: { reason: 'held' } });
  });

  it('keeps its result where the store refuses every statement for a moment', async () => {
    const operation = anOperation();
    const { execution } = await here.begin(operation);
    here.lose('before step end', 3, missing());
    expect(await execution.step('charge', () => ({ amount: 12 }))).toEqual({ amount: 12 });
    expect(here.event('notKept')).toBeUndefined();
    expect(await fixture.steps(operation.recordId)).toMatchObject([{ name: 'charge', result: expect.anything() }]);
  });

  it.each([
    ['no connection is free', 'before step end', exhausted(), NestedOperationError],
    ['another execution has the record', 'after step end', new LeaseLostError(), LeaseLostError],
  ])('is recorded with its result, or not at all, where %s', async (_, point, error, expected) => {
    const { execution } = await here.begin(anOperation());
    here.lose(point, 1, error);
    await expect(execution.step('charge', () => 1)).rejects.toThrow(expected);
    expect(here.count('step end')).toBe(1);
    expect(here.event('notKept')).toBeUndefined();
  });
});

describe('the steps of an earlier attempt', () => {
  /** @param error of the first time that the steps are loaded */
  async function retryAfter(charge: () => number, error: Error) {
    const store = fixture.store();
    here = new Process(fixture, { store });
    jest.spyOn(store.steps, 'load').mockRejectedValueOnce(error);
    const operation = anOperation();
    const first = await here.begin(operation);
    await first.runToEnd(async () => (await first.execution.step('charge', charge), RELEASE));
    return here.begin(duplicate(operation));
  }

  it('are asked for again by the next step, where they could not be loaded', async () => {
    let charges = 0;
    const retry = await retryAfter(() => ++charges, refused());
    const charge = () => retry.execution.step('charge', () => ++charges);
    await expect(charge()).rejects.toThrow(StoreRefusedError);
    expect([await charge(), charges]).toEqual([1, 1]);
  });

  it('that cannot be read leave no outcome, though the handler catches the error', async () => {
    const retry = await retryAfter(() => 1, new UnreadableRecordError());
    const recorded = await retry.runToEnd(async () => {
      await retry.execution.step('charge', () => 2).catch(() => undefined);
      return STORE;
    });
    expect(recorded).toMatchObject({ kind: 'rolledBack', error: expect.any(UnreadableRecordError) });
    expect((await here.begin(duplicate(retry.operation))).execution.attempt).toBe(3);
  });
});

describe('a step that has happened, and is not on record when its handler fails', () => {
  const outOfStock = new Error('out of stock');

  async function fail(leased: LeasedExecution, charge: () => number, then: () => void = () => undefined) {
    const recorded = leased.runToEnd(async () => {
      await leased.execution.step('charge', charge).catch(() => undefined);
      then();
      throw outOfStock;
    });
    await expect(recorded).rejects.toBe(outOfStock);
  }

  it.each([false, true])('is recorded before the key is free (transactional: %s)', async (transactional) => {
    const operation = anOperation({ transactional });
    let charges = 0;
    here.lose('before step end', 1, exhausted());
    await fail(await here.begin(operation), () => ++charges);
    expect(here.asked.filter((call) => call === 'step end' || call === 'release')).toEqual([
      'step end',
      'step end',
      'release',
    ]);
    const retry = await new Process(fixture).begin(duplicate(operation));
    expect([await retry.execution.step('charge', () => ++charges), charges]).toEqual([1, 1]);
  });

  it.each([
    ['that a rollback has undone', true, () => undefined],
    ['for which no connection was free', false, () => here.lose('before step end', 1, exhausted())],
  ])('%s holds the record where the store refuses it', async (_, transactional, before) => {
    const operation = anOperation({ transactional });
    const leased = await here.begin(operation);
    before();
    await fail(
      leased,
      () => 1,
      () => here.lose('before step end', Infinity, refused()),
    );
    expect(here.typesOfEvents()).toEqual(['claimed', 'unrecorded', 'held']);
    expect(await new Process(fixture).admit(duplicate(operation))).toMatchObject({ refusal: { reason: 'held' } });
  });

  it('keeps its key for the lease where no connection becomes free', async () => {
    const operation = anOperation();
    here.lose('before step end', Infinity, exhausted());
    await fail(await here.begin(operation), () => 1);
    expect(here.typesOfEvents()).toEqual(['claimed', 'unrecorded']);
    expect(here.count('release')).toBe(0);
    expect(await new Process(fixture).admit(duplicate(operation))).toMatchObject({ refusal: { reason: 'running' } });
  });

  it('is no hindrance where it has failed', async () => {
    const operation = anOperation();
    here.lose('before step end', Infinity, exhausted());
    await fail(await here.begin(operation), () => {
      throw new Error('card declined');
    });
    expect(here.typesOfEvents()).toEqual(['claimed', 'released']);
    expect((await here.begin(duplicate(operation))).execution.attempt).toBe(2);
  });
});
