import { setTimeout as sleep } from 'node:timers/promises';
import { Flight } from '../../../lib/engine/flights.js';
import type { Operation } from '../../../lib/engine/operation.js';
import { TOMBSTONE } from '../../../lib/engine/outcome.js';

const create = () => new Flight({} as Operation);

it('tells all that wait how it ended', async () => {
  const flight = create();
  const waiting = [flight.landed(10_000), flight.landed(10_000)];
  flight.land(TOMBSTONE);
  expect(await Promise.all(waiting)).toEqual([TOMBSTONE, TOMBSTONE]);
});

it('tells those that come late at once', async () => {
  const flight = create();
  flight.land(TOMBSTONE);
  const startedAt = performance.now();
  expect(await flight.landed(2_000)).toBe(TOMBSTONE);
  expect(performance.now() - startedAt).toBeLessThan(1_000);
});

it('keeps nobody longer than they would wait', async () => {
  const flight = create();
  const waiting = flight.landed(30);
  expect(await waiting).toBe('timeout');
  flight.land(TOMBSTONE);
  await sleep(5);
  expect(await waiting).toBe('timeout');
});
