import { causes, explain, reasonOf, says } from './driver-errors.js';

/** SQLite has one code for all mistakes in a statement. */
const IN_SQLITE = /^(SqliteError: )?(no such (table|column): |table \S+ has no column named )/;

/** What to do about a missing table or column. */
export const MISSING_TABLES =
  "the library's tables are missing or older than this version. Run the migrations of nestjs-idempotency/migrations, or " +
  'set `synchronize: true` in TypeOrmModule.forRoot() for development';

/** Returns whether a database error reports that a table or column does not exist. */
export function saysMissingTables(error: unknown): boolean {
  return says(error, 'missingTable') || causes(error).some(({ message }) => IN_SQLITE.test(message));
}

/** Describes an error of the store's own statements in one line, with advice where there is some. */
export function explainStore(error: unknown): string {
  return saysMissingTables(error) ? `${reasonOf(error)}: ${MISSING_TABLES}` : explain(error);
}
