import { InFlight } from '../../../lib/engine/in-flight.js';
import type { Operation } from '../../../lib/engine/operation.js';
import type { Claim } from '../../../lib/engine/ports/record-store.js';
import { TOMBSTONE } from '../../../lib/engine/outcome.js';
import type { LeasedExecution } from '../../../lib/engine/leased-execution.js';

const create = () => new InFlight({} as Operation, {} as Claim, 0);

it('wakes all that wait when it begins to run, and when it settles', async () => {
  const flight = create();
  const claimed = [flight.changed(), flight.changed()];
  flight.run({} as LeasedExecution);
  await Promise.all(claimed);
  expect(flight.phase).toBe('running');
  const settled = [flight.changed(60_000), flight.changed(60_000)];
  flight.settle({ outcome: TOMBSTONE });
  await Promise.all(settled);
  expect(flight).toMatchObject({ phase: 'settled', outcome: TOMBSTONE });
});

it('lets no request wait that comes late', async () => {
  const flight = create();
  flight.settle({ error: new Error('no') });
  await flight.changed();
  expect(flight.error).toEqual(new Error('no'));
});

it('keeps no request longer than it would wait', async () => {
  const flight = create();
  await flight.changed(1);
  expect(flight.phase).toBe('claiming');
});
