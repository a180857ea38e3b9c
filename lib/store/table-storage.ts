import type { DataSource } from 'typeorm';
import type { DialectName } from './dialects/dialect-name.js';
import { IDEMPOTENCY_ENTITIES } from './entities/index.js';
import { tableOf } from './table-path.js';

/** Queries that return the tables, of two names, that lose records: an unlogged one, and one without transactions. */
const QUERIES: Partial<Record<DialectName, string>> = {
  postgres: `SELECT oid::regclass::text AS name, 'unlogged' AS storage FROM pg_class
    WHERE oid IN (to_regclass($1), to_regclass($2)) AND relpersistence = 'u'`,
  mysql: `SELECT table_name AS name, engine AS storage FROM information_schema.tables
    WHERE CONCAT('\`', table_schema, '\`.\`', table_name, '\`') IN (?, ?) AND engine <> 'InnoDB'`,
};

/**
 * Returns a message if one of our tables cannot keep what it is given. Both kinds work until the server crashes, or a transaction
 * is rolled back: then operations run twice.
 *
 * @param query runs a statement on the data source
 */
export async function unsafeStorage(
  dataSource: DataSource,
  dialect: DialectName,
  query: (sql: string, parameters: unknown[]) => Promise<unknown>,
): Promise<string | undefined> {
  const sql = QUERIES[dialect];
  if (!sql) return undefined;
  const tables = IDEMPOTENCY_ENTITIES.map((entity) => tableOf(dataSource, entity));
  const [found] = (await query(sql, tables)) as { name: string; storage: string }[];
  if (!found) return undefined;
  const { name, storage } = found;
  return dialect === 'postgres'
    ? `The table ${name} is unlogged: a crash of the server empties it, and retries run again. ALTER TABLE ${name} SET LOGGED`
    : `The table ${name} is of the engine ${storage}, which has no transactions: a rollback leaves what it should undo. ALTER TABLE ${name} ENGINE = InnoDB`;
}
