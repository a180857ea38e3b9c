import type { DataSource } from 'typeorm';
import { dialectNameOf } from './dialect-name.js';

/**
 * When the server received the statement; the same within a statement. A statement that waits for a lock does not read the clock
 * again: it takes a lease for valid that ran out meanwhile, and the lease that it writes ends sooner, but never before its owner
 * expects, who counts from when it sent the statement.
 */
export const POSTGRES_NOW = 'statement_timestamp()';

/** Milliseconds since 1970 on the server's clock, whatever time zone the session is in. The same within a statement. */
export const MYSQL_NOW = `(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)`;

/** Milliseconds since 1970, UTC; the same within a statement. */
export const SQLITE_NOW = `CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)`;

/** A condition: whether an instant of ours, or the one `ms` milliseconds before it, has come by the database's clock. */
export function isPast(dataSource: DataSource, instant: string, ms = 0): string {
  switch (dialectNameOf(dataSource)) {
    case 'postgres':
      return `${instant} <= ${POSTGRES_NOW} + ${ms} * interval '1 ms'`;
    case 'mysql':
      return `${instant} <= ${MYSQL_NOW} + ${ms}`;
    case 'sqlite':
      return `${instant} <= ${SQLITE_NOW} + ${ms}`;
  }
}

/** An expression: for how many milliseconds an instant of ours has been past. */
export function millisecondsAgo(dataSource: DataSource, instant: string): string {
  switch (dialectNameOf(dataSource)) {
    case 'postgres':
      return `extract(epoch FROM ${POSTGRES_NOW} - ${instant}) * 1000`;
    case 'mysql':
      return `(${MYSQL_NOW} - ${instant})`;
    case 'sqlite':
      return `(${SQLITE_NOW} - ${instant})`;
  }
}

/** An expression: an instant of ours with all its digits, for {@link instantFrom}. A `Date` has no microseconds. */
export function wholeInstant(dataSource: DataSource, instant: string): string {
  return dialectNameOf(dataSource) === 'postgres' ? `CAST(${instant} AS text)` : instant;
}

/** An expression: the instant that a parameter has as {@link wholeInstant} returned it. */
export function instantFrom(dataSource: DataSource, parameter: string): string {
  return dialectNameOf(dataSource) === 'postgres' ? `CAST(${parameter} AS timestamptz)` : parameter;
}
