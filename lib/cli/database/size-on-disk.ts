import type { DataSource } from 'typeorm';
import { dialectNameOf } from '../../store/dialects/dialect-name.js';
import { IDEMPOTENCY_ENTITIES } from '../../store/entities/index.js';
import { quotedTable } from '../../store/table-path.js';

/** Returns the bytes of both tables with their indexes; `null` for SQLite, which has one file for all tables. */
export async function sizeOnDisk(dataSource: DataSource): Promise<number | null> {
  switch (dialectNameOf(dataSource)) {
    case 'postgres':
      // A partitioned table has no size of its own.
      return total(
        dataSource,
        `SELECT sum(coalesce(
           (SELECT sum(pg_total_relation_size(p.relid)) FROM pg_partition_tree(t.name::regclass) p WHERE p.isleaf),
           pg_total_relation_size(t.name::regclass))) AS size
         FROM unnest($1::text[]) AS t(name)`,
        [IDEMPOTENCY_ENTITIES.map((entity) => quotedTable(dataSource, entity))],
      );
    case 'mysql':
      return total(
        dataSource,
        `SELECT SUM(data_length + index_length) AS size FROM information_schema.tables
         WHERE table_schema = DATABASE() AND table_name IN (?, ?)`,
        IDEMPOTENCY_ENTITIES.map((entity) => dataSource.getMetadata(entity).tableName),
      );
    case 'sqlite':
      return null;
  }
}

async function total(dataSource: DataSource, sql: string, parameters: unknown[]): Promise<number | null> {
  const [{ size }] = await dataSource.query<{ size: string | number | null }[]>(sql, parameters);
  return size === null ? null : Number(size);
}
