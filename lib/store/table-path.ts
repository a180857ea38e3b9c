import { type DataSource, getMetadataArgsStorage } from 'typeorm';
import type { IdempotencyRecord, IdempotencyStep } from './entities/index.js';

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
