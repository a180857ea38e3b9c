import { causes, explain, reasonOf } from './driver-errors.js';

/** Undefined table and undefined column: PostgreSQL's SQLSTATE, MySQL's numbers, SQLite's words. */
const SQLSTATE = new Set<unknown>(['42P01', '42703']);
const ERRNO = new Set<unknown>([1146, 1054]);
const MESSAGE = /^(SqliteError: )?(no such (table|column): |table \S+ has no column named )/;

/** What to do about a missing table or column. */
export const MISSING_TABLES =
  "the library's tables are missing or older than this version. Run the migrations of nestjs-idempotency/migrations, or " +
  'set `synchronize: true` in TypeOrmModule.forRoot() for development';

/** Returns whether a database error reports that a table or column does not exist. */
export function saysMissingTables(error: unknown): boolean {
  return causes(error).some(
    ({ code, errno, message }) => SQLSTATE.has(code) || ERRNO.has(errno) || MESSAGE.test(message),
  );
}

/** Describes an error of the store's own statements in one line, with advice where there is some. */
export function explainStore(error: unknown): string {
  return saysMissingTables(error) ? `${reasonOf(error)}: ${MISSING_TABLES}` : explain(error);
}
