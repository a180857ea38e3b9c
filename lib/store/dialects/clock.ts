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

/** A database's clock, and instants in its tables, as SQL expressions. */
interface Clock {
  /** The instant `ms` milliseconds from now. */
  readonly after: (ms: number) => string;
  /** The milliseconds since an instant. */
  readonly since: (instant: string) => string;
  /** An instant with all its digits: a `Date` would lose PostgreSQL's microseconds. */
  readonly exact: (instant: string) => string;
  /** The instant in a parameter. */
  readonly parse: (parameter: string) => string;
}

const CLOCKS: Readonly<Record<DialectName, Clock>> = {
  postgres: {
    after: (ms) => `${POSTGRES_NOW} + ${ms} * interval '1 ms'`,
    since: (instant) => `extract(epoch FROM ${POSTGRES_NOW} - ${instant}) * 1000`,
    exact: (instant) => `CAST(${instant} AS text)`,
    parse: (parameter) => `CAST(${parameter} AS timestamptz)`,
  },
  mysql: inMilliseconds(MYSQL_NOW),
  sqlite: inMilliseconds(SQLITE_NOW),
};

function inMilliseconds(now: string): Clock {
  const same = (expression: string) => expression;
  return { after: (ms) => `${now} + ${ms}`, since: (instant) => `(${now} - ${instant})`, exact: same, parse: same };
}

/** Returns a condition: an instant of our tables, or the one `ms` milliseconds before it, has passed. */
export function isPast(dataSource: DataSource, instant: string, ms = 0): string {
  return `${instant} <= ${clockOf(dataSource).after(ms)}`;
}

/** Returns an expression: the milliseconds since an instant of our tables. */
export function millisecondsAgo(dataSource: DataSource, instant: string): string {
  return clockOf(dataSource).since(instant);
}

/** Returns an expression: an instant of our tables with all its digits, for {@link instantFrom}. */
export function wholeInstant(dataSource: DataSource, instant: string): string {
  return clockOf(dataSource).exact(instant);
}

/** Returns an expression: the instant in a parameter that has the form of {@link wholeInstant}. */
export function instantFrom(dataSource: DataSource, parameter: string): string {
  return clockOf(dataSource).parse(parameter);
}

function clockOf(dataSource: DataSource): Clock {
  return CLOCKS[dialectNameOf(dataSource)];
}
