import { unsupported } from '../../../lib/store/server-version.js';

test.each([
  ['postgres', 'PostgreSQL 12.22 on x86_64-pc-linux-gnu', 'PostgreSQL 12.22 is not supported', '13 or newer'],
  ['postgres', 'PostgreSQL 9.6.24 on x86_64', 'PostgreSQL 9.6 is not supported', '13 or newer'],
  ['mysql', '5.7.44-log', 'MySQL 5.7 is not supported', '8 or newer'],
  ['mysql', '10.5.23-MariaDB-1:10.5.23+maria~ubu2004', 'MariaDB 10.5 is not supported', '10.6 or newer'],
  ['mysql', '5.5.5-10.4.32-MariaDB-log', 'MariaDB 10.4 is not supported', '10.6 or newer'],
  ['sqlite', '3.34.1', 'SQLite 3.34 is not supported', '3.35 or newer'],
] as const)('%s: %s is too old', (dialect, version, what, needed) => {
  expect(unsupported(dialect, version)).toBe(`${what}: the statements need ${needed}`);
});

test.each([
  ['postgres', 'PostgreSQL 13.0 on x86_64-pc-linux-gnu'],
  ['postgres', 'PostgreSQL 18beta1 on x86_64-pc-linux-gnu'],
  ['postgres', 'CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu)'],
  ['mysql', '8.0.11'],
  ['mysql', '9.4.0-commercial'],
  ['mysql', '10.6.0-MariaDB'],
  ['mysql', '5.5.5-11.4.2-MariaDB-ubu2404'],
  ['mysql', '12.1.2-MariaDB'],
  ['sqlite', '3.35.0'],
  ['sqlite', '3.50.4'],
  ['sqlite', ''],
] as const)('%s: %s is supported, or not known', (dialect, version) => {
  expect(unsupported(dialect, version)).toBeUndefined();
});
