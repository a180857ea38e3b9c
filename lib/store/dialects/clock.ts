import type { DataSource } from 'typeorm';
import { dialectNameOf } from './dialect-name.js';

/** Milliseconds since 1970 on the server's clock, whatever time zone the session is in. The same within a statement. */
export const MYSQL_NOW = `(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)`;

/** Milliseconds since 1970, UTC; the same within a statement. */
export const SQLITE_NOW = `CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)`;

const POSTGRES_NOW = 'CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint)';

const NOW_OF = new Map<string, string>([
  ['postgres', POSTGRES_NOW],
  ['aurora-postgres', POSTGRES_NOW],
  ['cockroachdb', POSTGRES_NOW],
  ['mysql', MYSQL_NOW],
  ['mariadb', MYSQL_NOW],
  ['aurora-mysql', MYSQL_NOW],
  ['mssql', `DATEDIFF_BIG(millisecond, '1970-01-01', SYSUTCDATETIME())`],
  ['sap', `CAST(NANO100_BETWEEN(TO_TIMESTAMP('1970-01-01'), CURRENT_UTCTIMESTAMP) / 10000 AS BIGINT)`],
  ...['better-sqlite3', 'sqlite', 'sqljs', 'expo', 'capacitor', 'cordova', 'react-native', 'nativescript'].map(
    (type) => [type, SQLITE_NOW] as const,
  ),
]);

/** The database's own clock as an expression: milliseconds since 1970, UTC. */
export function clockOf({ options }: DataSource): string {
  const now = NOW_OF.get(options.type);
  if (now) return now;
  throw new Error(`IdempotencyModule: the "${options.type}" driver of TypeORM is not supported`);
}

/** A condition: whether an instant of ours, or the one `ms` milliseconds before it, has come by the database's clock. */
export function isPast(dataSource: DataSource, instant: string, ms = 0): string {
  return dialectNameOf(dataSource) === 'postgres'
    ? `${instant} <= clock_timestamp() + ${ms} * interval '1 ms'`
    : `${instant} <= ${clockOf(dataSource)} + ${ms}`;
}

/** An expression: for how many milliseconds an instant of ours has been past. */
export function millisecondsAgo(dataSource: DataSource, instant: string): string {
  return dialectNameOf(dataSource) === 'postgres'
    ? `extract(epoch FROM clock_timestamp() - ${instant}) * 1000`
    : `(${clockOf(dataSource)} - ${instant})`;
}
