import { type DataSource, getMetadataArgsStorage } from 'typeorm';
import type { IdempotencyRecord, IdempotencyStep } from './entities/index.js';

/**
 * Returns the path of one of our tables, with the data source's schema, prefix and naming strategy.
 *
 * Migrations run on data sources that do not know the entities. There the path is built as TypeORM builds it for an
 * entity: a table made under another name than the statements use would look missing after its migration ran.
 */
export function tablePathOf(dataSource: DataSource, entity: typeof IdempotencyRecord | typeof IdempotencyStep): string {
  if (dataSource.hasMetadata(entity)) return dataSource.getMetadata(entity).tablePath;
  const { driver, namingStrategy } = dataSource;
  const { entityPrefix, schema } = dataSource.options as { entityPrefix?: string; schema?: string };
  const [given] = getMetadataArgsStorage().filterTables(entity);
  const name = namingStrategy.tableName(entity.name, given.name);
  return driver.buildTableName(entityPrefix ? namingStrategy.prefixTableName(entityPrefix, name) : name, schema);
}

/** Returns a table's path as statements name it. */
export function quotedPath({ driver }: DataSource, path: string): string {
  return path
    .split('.')
    .map((part) => driver.escape(part))
    .join('.');
}
