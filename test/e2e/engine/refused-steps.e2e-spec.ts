import { NestedOperationError, StoreRefusedError } from '../../../lib/engine/errors.js';
import { LeaseLostError, StepUnknownError } from '../../../lib/engine/steps.js';
import type { StoreFixture } from '../store/support.js';
import { anOperation, duplicate, openStoreFixture, Process, STORE } from './support.js';

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
