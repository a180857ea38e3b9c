import type { DataSource } from 'typeorm';
import { type DialectName, dialectNameOf } from './dialect-name.js';

/**
 * When the server received the statement; the same throughout a statement. A statement that waits for a lock does not read
 * the clock again, which is safe both ways. It may take a lease for valid that expired meanwhile. The lease that it writes
 * ends early, but never before its owner expects: the owner counts from when it sent the statement.
 */
export const POSTGRES_NOW = 'statement_timestamp()';

/** Milliseconds since 1970 on the server's clock, in any time zone of the session; the same throughout a statement. */
export const MYSQL_NOW = `(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)`;

/** Milliseconds since 1970, UTC; the same throughout a statement. */
export const SQLITE_NOW = `CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)`;

const NOW: Readonly<Record<DialectName, string>> = { postgres: POSTGRES_NOW, mysql: MYSQL_NOW, sqlite: SQLITE_NOW };

/** Returns a condition: an instant of our tables, or the one `ms` milliseconds before it, has passed. */
export function isPast(dataSource: DataSource, instant: string, ms = 0): string {
  const name = dialectNameOf(dataSource);
  return `${instant} <= ${NOW[name]} + ${name === 'postgres' ? `${ms} * interval '1 ms'` : ms}`;
}

/** Returns an expression: the milliseconds since an instant of our tables. */
export function millisecondsAgo(dataSource: DataSource, instant: string): string {
  const name = dialectNameOf(dataSource);
  const since = `${NOW[name]} - ${instant}`;
  return name === 'postgres' ? `extract(epoch FROM ${since}) * 1000` : `(${since})`;
}

/** Returns the parameter for an instant. TypeORM 0.3 would compare SQLite's numbers with a text. */
export function instantOf(dataSource: DataSource, instant: Date): Date | number {
  return dialectNameOf(dataSource) === 'postgres' ? instant : instant.getTime();
}

/** Returns an expression for {@link instantFrom}: an instant with all its digits. A `Date` would lose the microseconds. */
export function wholeInstant(dataSource: DataSource, instant: string): string {
  return dialectNameOf(dataSource) === 'postgres' ? `CAST(${instant} AS text)` : instant;
}

/** Returns an expression: the instant in a parameter that has the form of {@link wholeInstant}. */
export function instantFrom(dataSource: DataSource, parameter: string): string {
  return dialectNameOf(dataSource) === 'postgres' ? `CAST(${parameter} AS timestamptz)` : parameter;
}
