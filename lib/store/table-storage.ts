import type { DataSource } from 'typeorm';
import type { DialectName } from './dialects/dialect-name.js';
import { IDEMPOTENCY_ENTITIES } from './entities/index.js';
import { tableOf } from './table-path.js';

type Flaw = 'unlogged' | 'engine' | 'key' | 'collation' | 'autocommit';

/** A table that loses or confuses records, or a session without autocommit. */
interface Flawed {
  readonly name: string;
  readonly flaw: Flaw;
  /** The engine, or the collation. */
  readonly found: string;
}

const IS_OURS = "CONCAT('`', table_schema, '`.`', table_name, '`') IN (?, ?)";

/** The names of columns that are unique together, in their order. */
const UNIQUE = `SELECT 1 FROM information_schema.statistics s
  WHERE s.table_schema = t.table_schema AND s.table_name = t.table_name AND s.non_unique = 0
  GROUP BY s.index_name HAVING GROUP_CONCAT(s.column_name ORDER BY s.column_name) IN ('id', 'name,record_id')`;

/**
 * Queries that return {@link Flawed} tables of two names. Without a key of its own columns, PostgreSQL refuses the statements. MySQL inserts
 * one record beside another, as where the table is partitioned by time, and the key had to take in that column.
 */
const QUERIES: Readonly<Record<DialectName, string | undefined>> = {
  postgres: `SELECT oid::regclass::text AS name, 'unlogged' AS flaw, '' AS found FROM pg_class
    WHERE oid IN (to_regclass($1), to_regclass($2)) AND relpersistence = 'u'`,
  mysql: `SELECT table_name AS name, 'engine' AS flaw, engine AS found FROM information_schema.tables
      WHERE ${IS_OURS} AND engine <> 'InnoDB'
    UNION ALL SELECT t.table_name, 'key', '' FROM information_schema.tables t
      WHERE ${IS_OURS} AND t.table_type <> 'VIEW' AND NOT EXISTS (${UNIQUE})
    UNION ALL SELECT table_name, 'collation', collation_name FROM information_schema.columns
      WHERE ${IS_OURS} AND column_name = 'name' AND collation_name NOT LIKE '%bin'
    UNION ALL SELECT '', 'autocommit', '' FROM DUAL WHERE @@autocommit = 0`,
  sqlite: undefined,
};

const MESSAGES: Readonly<Record<Flaw, (flawed: Flawed) => string>> = {
  unlogged: ({ name }) =>
    `The table ${name} is unlogged: a crash of the server empties it, and retries run again. ALTER TABLE ${name} SET LOGGED`,
  engine: ({ name, found }) =>
    `The table ${name} is of the engine ${found}, which has no transactions: a rollback leaves what it should undo. ALTER TABLE ${name} ENGINE = InnoDB`,
  key: ({ name }) =>
    `The table ${name} has another primary key than the migrations give it, so that nothing is unique: each retry runs again. Make it (id) for records and (record_id, name) for steps, and do not partition the table by another column`,
  collation: ({ name, found }) =>
    `The column name of the table ${name} has the collation ${found}, which takes different names of steps for the same: such a step is skipped. ALTER TABLE ${name} MODIFY name varchar(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL`,
  autocommit: () =>
    'The sessions of the data source have autocommit off: what a handler writes outside of a transaction may be lost, though its operation is recorded as done. Set autocommit = 1 on the server, or for these sessions',
};

/**
 * Returns a message if one of our tables, or a session, does not keep what it is given. Statements work all the same, and operations run
 * twice: after a crash, after a rollback, or at each retry. Without autocommit, their effects are lost.
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
  const copies = dialect === 'mysql' ? [...tables, ...tables, ...tables] : tables;
  const [flawed] = (await query(sql, copies)) as Flawed[];
  return flawed && MESSAGES[flawed.flaw](flawed);
}
