import { jest } from '@jest/globals';
import { until } from '../../support/until.js';
import type { StoreFixture } from '../store/support.js';
import { anOperation, openStoreFixture, Process, STORE } from './support.js';

let fixture: StoreFixture;
beforeAll(async () => (fixture = await openStoreFixture()));
afterAll(() => fixture?.close());
afterEach(() => jest.restoreAllMocks());

const MINUTE = 60_000;

it.each([
  [undefined, ['claimed', 'longRunning', 'completed']],
  [60 * MINUTE, ['claimed', 'completed']],
])('an execution that has run for ten minutes is reported once (maxDuration: %s)', async (maxDurationMs, events) => {
  const here = new Process(fixture);
  const leased = await here.begin(anOperation({ leaseMs: 600, maxDurationMs }));
  await leased.runToEnd(async () => {
    await until(() => here.answered('renew') > 0);
    expect(here.typesOfEvents()).toEqual(['claimed']);
    const now = performance.now.bind(performance);
    jest.spyOn(performance, 'now').mockImplementation(() => now() + 11 * MINUTE);
    const renewals = here.answered('renew');
    await until(() => here.answered('renew') > renewals + 1);
    return STORE;
  });
  expect(here.typesOfEvents()).toEqual(events);
});
