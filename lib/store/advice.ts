import { causes, reasonOf } from './driver-errors.js';
import { MISSING_TABLES, saysMissingTables } from './missing-tables.js';

/** SQLSTATE; MySQL's `--read-only`, read-only transaction and read-only mode; SQLite. */
const READ_ONLY = new Set<unknown>(['25006', 1290, 1792, 1836, 'SQLITE_READONLY']);

/** SQLSTATE; MySQL's refusals for a database, a table and a column; SQLite's authorizer. */
const MISSING_RIGHT = new Set<unknown>(['42501', 1044, 1142, 1143, 'SQLITE_AUTH', 'SQLITE_PERM']);

const TAKES_NO_WRITES =
  'the database takes no writes: it is a replica, a primary that was demoted, or a file without write permission. ' +
  'Connect to the primary';

const GRANT_RIGHTS =
  "the database user lacks a right. It needs SELECT, INSERT, UPDATE and DELETE on both of the library's tables, and on " +
  'PostgreSQL USAGE on their schema';

/** Returns whether a database error says that the database, or the connection, takes no writes. */
export function saysReadOnly(error: unknown): boolean {
  return says(READ_ONLY, error);
}

/** Describes an error of the store in one line: its cause with the database's code, and what to do about it, if known. */
export function explain(error: unknown): string {
  const advice = adviceOn(error);
  return advice ? `${reasonOf(error)}: ${advice}` : reasonOf(error);
}

function adviceOn(error: unknown): string | undefined {
  if (saysMissingTables(error)) return MISSING_TABLES;
  if (saysReadOnly(error)) return TAKES_NO_WRITES;
  return says(MISSING_RIGHT, error) ? GRANT_RIGHTS : undefined;
}

function says(codes: ReadonlySet<unknown>, error: unknown): boolean {
  return causes(error).some(({ code, errno }) => codes.has(code) || codes.has(errno));
}
