import { type DataSource, getMetadataArgsStorage, type QueryRunner } from 'typeorm';
import { dialectNameOf } from './dialects/dialect-name.js';
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

/** The schemas in which PostgreSQL finds tables that the options name without one. */
const schemas = new WeakMap<DataSource, string>();

/** Finds out in which schema PostgreSQL has the tables. To be called before the first statement of the store. */
export async function findSchema(dataSource: DataSource, runner: QueryRunner): Promise<void> {
  const path = tablePathOf(dataSource, IdempotencyRecord);
  if (path.includes('.')) return;
  const [found] = (await runner.query(
    'SELECT relnamespace::regnamespace::text AS schema FROM pg_class WHERE oid = to_regclass($1)',
    [quotedPath(dataSource, path)],
  )) as { schema: string }[];
  if (found) schemas.set(dataSource, found.schema);
}

/**
 * Returns one of our tables as the store's statements name it, with its schema. Applications that have a schema for each tenant
 * move their connections there (`SET search_path`, `USE`), and a name without a schema would be looked up there: a
 * transaction could not complete its record.
 */
export function tableOf(dataSource: DataSource, entity: OurEntity): string {
  const path = tablePathOf(dataSource, entity);
  const table = quotedPath(dataSource, path);
  if (path.includes('.')) return table;
  const { driver } = dataSource;
  if (dialectNameOf(dataSource) === 'mysql')
    return driver.database ? `${driver.escape(driver.database)}.${table}` : table;
  const schema = schemas.get(dataSource);
  return schema === undefined ? table : `${schema}.${table}`;
}
