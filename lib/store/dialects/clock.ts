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

/** How a dialect stores instants and computes with them, for the queries of operators. */
interface Instants {
  /** Returns an expression: the instant in `ms` milliseconds. */
  readonly in: (ms: number) => string;
  /** Returns an expression: the milliseconds since an instant. */
  readonly since: (instant: string) => string;
  /** Returns the parameter for an instant. */
  readonly parameter: (instant: Date) => Date | number;
  /** Returns an expression for {@link Instants.from}: an instant with all its digits. */
  readonly whole: (instant: string) => string;
  /** Returns an expression: the instant in a parameter that has the form of {@link Instants.whole}. */
  readonly from: (parameter: string) => string;
}

const TIMESTAMPS: Instants = {
  in: (ms) => `${POSTGRES_NOW} + ${ms} * interval '1 ms'`,
  since: (instant) => `extract(epoch FROM ${POSTGRES_NOW} - ${instant}) * 1000`,
  parameter: (instant) => instant,
  // A `Date` would lose the microseconds.
  whole: (instant) => `CAST(${instant} AS text)`,
  from: (parameter) => `CAST(${parameter} AS timestamptz)`,
};

function milliseconds(now: string): Instants {
  return {
    in: (ms) => `${now} + ${ms}`,
    since: (instant) => `(${now} - ${instant})`,
    // TypeORM 0.3 would compare SQLite's numbers with a text.
    parameter: (instant) => instant.getTime(),
    whole: (instant) => instant,
    from: (parameter) => parameter,
  };
}

const INSTANTS: Readonly<Record<DialectName, Instants>> = {
  postgres: TIMESTAMPS,
  mysql: milliseconds(MYSQL_NOW),
  sqlite: milliseconds(SQLITE_NOW),
};

/** Returns how the tables of a data source have instants. */
export function instantsOf(dataSource: DataSource): Instants {
  return INSTANTS[dialectNameOf(dataSource)];
}

/** Returns a condition: an instant of our tables, or the one `ms` milliseconds before it, has passed. */
export function isPast(dataSource: DataSource, instant: string, ms = 0): string {
  return `${instant} <= ${instantsOf(dataSource).in(ms)}`;
}
