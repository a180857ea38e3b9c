import { Idempotent, IdempotencyModule } from '../../../lib/index.js';
import { resolveModuleOptions, resolveOperationOptions } from '../../../lib/options/resolve-options.js';

test('a retention below the lease: the window of a double click', () => {
  expect(resolveOperationOptions({ retention: '10s' }).policy).toMatchObject({ leaseMs: 30_000, retentionMs: 10_000 });
  expect(() => Idempotent({ retention: '10s' })).not.toThrow();
  expect(() => IdempotencyModule.forRoot({ lease: '10m', retention: '5m' })).not.toThrow();
});

test('a namespace is a name', () => {
  expect(resolveModuleOptions({}).namespace).toBeUndefined();
  expect(resolveModuleOptions({ namespace: undefined }).namespace).toBeUndefined();
  expect(resolveModuleOptions({ namespace: 'billing' }).namespace).toBe('billing');
  for (const namespace of ['', 7, null, {}] as never[]) {
    expect(() => IdempotencyModule.forRoot({ namespace })).toThrow(
      /^IdempotencyModule: option `namespace` must be a name that is not empty, not /,
    );
  }
  expect(() => Idempotent({ namespace: 'billing' } as object)).toThrow(/belongs in IdempotencyModule.forRoot\(\)/);
});
