import { type DataSource, getMetadataArgsStorage } from 'typeorm';
import { type DialectName, dialectNameOf } from './dialects/dialect-name.js';
import type { PgConnection } from './dialects/postgres.js';
import { IdempotencyRecord, type IdempotencyStep } from './entities/index.js';

type OurEntity = typeof IdempotencyRecord | typeof IdempotencyStep;

/**
 * Returns the path of one of our tables, with the data source's schema, prefix and naming strategy.
 *
 * Migrations run on data sources that do not know the entities. There the path is built as TypeORM builds it: a migration
 * that made the table under another name would leave it missing for the statements.
 */
export function tablePathOf(dataSource: DataSource, entity: OurEntity): string {
  if (dataSource.hasMetadata(entity)) return dataSource.getMetadata(entity).tablePath;
  const { driver, namingStrategy } = dataSource;
  const { entityPrefix, schema } = dataSource.options as { entityPrefix?: string; schema?: string };
  const [given] = getMetadataArgsStorage().filterTables(entity);
  const name = namingStrategy.tableName(entity.name, given.name);
  return driver.buildTableName(entityPrefix ? namingStrategy.prefixTableName(entityPrefix, name) : name, schema);
}

/** Returns one of our tables as statements name it. */
export function quotedTable(dataSource: DataSource, entity: OurEntity): string {
  return quotedPath(dataSource, tablePathOf(dataSource, entity));
}

export function quotedPath({ driver }: DataSource, path: string): string {
  return path
    .split('.')
    .map((part) => driver.escape(part))
    .join('.');
}

/** Where PostgreSQL has the tables of a data source, and the role that its connections have when they are opened. */
interface TableLocation {
  /** Not quoted. */
  readonly schema: string;
  readonly role: string;
}

const locations = new WeakMap<DataSource, TableLocation>();

export function tableLocationOf(dataSource: DataSource): TableLocation | undefined {
  return locations.get(dataSource);
}

/**
 * Finds the tables on PostgreSQL, by a connection that no handler has moved to another schema or role.
 *
 * @throws the database's error where the table is missing
 */
export async function locateTables(dataSource: DataSource, on: PgConnection): Promise<void> {
  const { rows } = await on.query({
    text: `SELECT n.nspname AS schema, current_setting('role') AS role
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::regclass`,
    values: [quotedTable(dataSource, IdempotencyRecord)],
  });
  locations.set(dataSource, rows[0] as unknown as TableLocation);
}

/**
 * Returns one of our tables as the store's statements name it, with its schema. Applications that have a schema for each tenant
 * move their connections there (`SET search_path`, `USE`), and a name without a schema would be looked up there: a
 * transaction could not complete its record.
 */
export function tableOf(dataSource: DataSource, entity: OurEntity): string {
  const path = tablePathOf(dataSource, entity);
  const table = quotedPath(dataSource, path);
  const outer = outerOf(dataSource, path);
  return outer ? `${dataSource.driver.escape(outer)}.${table}` : table;
}

/** As {@link tableOf}, as a path for TypeORM, which splits it at each dot. */
export function wholePathOf(dataSource: DataSource, entity: OurEntity): string {
  const path = tablePathOf(dataSource, entity);
  const outer = outerOf(dataSource, path);
  return outer && !outer.includes('.') ? `${outer}.${path}` : path;
}

/** The schema or database that the tables of a data source are in, as far as it is known. */
const OUTER: Readonly<Record<DialectName, (dataSource: DataSource) => string | undefined>> = {
  postgres: (dataSource) => tableLocationOf(dataSource)?.schema,
  mysql: ({ driver }) => driver.database,
  sqlite: () => undefined,
};

/** Returns the schema or database of a path that names none. */
function outerOf(dataSource: DataSource, path: string): string | undefined {
  return path.includes('.') ? undefined : OUTER[dialectNameOf(dataSource)](dataSource);
}
