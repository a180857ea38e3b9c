import { Idempotent, IdempotencyModule } from '../../../lib/index.js';
import { resolveOperationOptions } from '../../../lib/options/resolve-options.js';

test('a retention below the lease: the window of a double click', () => {
  expect(resolveOperationOptions({ retention: '10s' }).policy).toMatchObject({ leaseMs: 30_000, retentionMs: 10_000 });
  expect(() => Idempotent({ retention: '10s' })).not.toThrow();
  expect(() => IdempotencyModule.forRoot({ lease: '10m', retention: '5m' })).not.toThrow();
});
