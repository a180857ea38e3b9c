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

test('credentials are names of headers, in any case, and of cookies', () => {
  const of = (credentials?: object) => resolveModuleOptions({ credentials }).credentials;
  const headers = ['authorization', 'x-api-key'];
  expect(of()).toEqual({ headers, cookies: [] });
  expect(of({})).toEqual({ headers, cookies: [] });
  expect(of({ cookies: ['sid', 'b.id', 'sid'] })).toEqual({ headers, cookies: ['b.id', 'sid'] });
  expect(of({ headers: ['X-B', 'x-a', 'X-A'] })).toEqual({ headers: ['x-a', 'x-b'], cookies: [] });
  expect(of({ headers: [] })).toEqual({ headers: [], cookies: [] });
});

test.each([
  [{ header: ['X-A'] }, 'credentials.header', 'does not exist; there are headers, cookies'],
  [null, 'credentials', 'must be an object of headers, cookies'],
  [['X-A'], 'credentials', 'must be an object of headers, cookies'],
  [{ headers: 'X-A' }, 'credentials.headers', 'must be an array of strings, not "X-A"'],
  [{ headers: null }, 'credentials.headers', 'must be an array of strings, not null'],
  [{ headers: ['X A'] }, 'credentials.headers', 'must be the name of a header, not "X A"'],
  [{ headers: ['Cookie'] }, 'credentials.headers', 'must not name Cookie: name yours in `credentials.cookies`'],
  [{ cookies: 'sid' }, 'credentials.cookies', 'must be an array of strings, not "sid"'],
  [{ cookies: ['sid=a'] }, 'credentials.cookies', 'must hold names of cookies, not "sid=a"'],
  [{ cookies: [''] }, 'credentials.cookies', 'must hold names of cookies, not ""'],
])('credentials %j fail at boot', (credentials, option, problem) => {
  expect(() => IdempotencyModule.forRoot({ credentials } as never)).toThrow(
    `IdempotencyModule: option \`${option}\` ${problem}`,
  );
});

test('credentials are those of the whole module', () => {
  expect(() => Idempotent({ credentials: {} } as object)).toThrow(/belongs in IdempotencyModule.forRoot\(\)/);
});
