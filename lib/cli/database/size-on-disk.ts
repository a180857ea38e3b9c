import type { DataSource } from 'typeorm';
import { dialectNameOf } from '../../store/dialects/dialect-name.js';
import { IDEMPOTENCY_ENTITIES } from '../../store/entities/index.js';

/** Bytes of both tables with their indexes, as the database reports; `null` for SQLite, which has one file for all tables. */
export async function sizeOnDisk(dataSource: DataSource): Promise<number | null> {
  const tables = IDEMPOTENCY_ENTITIES.map((entity) => dataSource.getMetadata(entity));
  switch (dialectNameOf(dataSource)) {
    case 'postgres': {
      const names = tables.map(({ tablePath }) =>
        tablePath
          .split('.')
          .map((part) => dataSource.driver.escape(part))
          .join('.'),
      );
      // A partitioned table has no size of its own.
      return total(
        dataSource,
        `SELECT sum(coalesce(
           (SELECT sum(pg_total_relation_size(p.relid)) FROM pg_partition_tree(t.name::regclass) p WHERE p.isleaf),
           pg_total_relation_size(t.name::regclass))) AS size
         FROM unnest($1::text[]) AS t(name)`,
        [names],
      );
    }
    case 'mysql':
      return total(
        dataSource,
        `SELECT SUM(data_length + index_length) AS size FROM information_schema.tables
         WHERE table_schema = DATABASE() AND table_name IN (?, ?)`,
        tables.map(({ tableName }) => tableName),
      );
    case 'sqlite':
      return null;
  }
}

async function total(dataSource: DataSource, sql: string, parameters: unknown[]): Promise<number | null> {
  const [row] = await dataSource.query<{ size: string | number | null }[]>(sql, parameters);
  return row?.size === null || row?.size === undefined ? null : Number(row.size);
}
