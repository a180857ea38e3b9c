import { BaseEntity, type ColumnType, type DataSource, type ValueTransformer } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { dialectNameOf, type DialectName, isSupported } from '../dialects/dialect-name.js';
import { asMilliseconds } from './transformers.js';

/** A column's type where TypeORM has no name for it that all databases share. */
export type DialectType = 'id' | 'name' | 'label' | 'digest' | 'bytes' | 'instant';

interface NativeType {
  readonly type: ColumnType;
  readonly length?: string;
  readonly charset?: string;
  readonly collation?: string;
  readonly transformer?: ValueTransformer;
}

const NATIVE_TYPES: Record<DialectName, Record<DialectType, NativeType>> = {
  postgres: {
    id: { type: 'uuid' },
    name: { type: 'varchar', length: '191' },
    label: { type: 'varchar', length: '255' },
    digest: { type: 'bytea' },
    bytes: { type: 'bytea' },
    instant: { type: 'timestamp with time zone' },
  },
  mysql: {
    id: { type: 'char', length: '36', charset: 'ascii', collation: 'ascii_bin' },
    name: { type: 'varchar', length: '191', charset: 'utf8mb4', collation: 'utf8mb4_bin' },
    label: { type: 'varchar', length: '255', charset: 'utf8mb4', collation: 'utf8mb4_bin' },
    digest: { type: 'varbinary', length: '32' },
    bytes: { type: 'longblob' },
    instant: { type: 'bigint', transformer: asMilliseconds },
  },
  sqlite: {
    id: { type: 'varchar', length: '36' },
    name: { type: 'varchar', length: '191' },
    label: { type: 'varchar', length: '255' },
    digest: { type: 'blob' },
    bytes: { type: 'blob' },
    instant: { type: 'bigint', transformer: asMilliseconds },
  },
};

const columns = new Map<object, Map<string, DialectType>>();

/** Declares the dialect's type of a column, beside `@Column`, which has to name a type that every driver knows. */
export function DialectTyped(type: DialectType): PropertyDecorator {
  return (prototype, property) => {
    let ofEntity = columns.get(prototype.constructor);
    if (!ofEntity) columns.set(prototype.constructor, (ofEntity = new Map()));
    ofEntity.set(String(property), type);
  };
}

/**
 * An entity whose column types follow the data source. TypeORM fixes a decorator's types before it knows the database,
 * and has no name for "bytes" or "an instant" that PostgreSQL, MySQL and SQLite share. `useDataSource` is its documented
 * hook: called for each data source once its metadata is built, and before it synchronizes a schema.
 */
export abstract class DialectEntity extends BaseEntity {
  static override useDataSource(dataSource: DataSource | null): void {
    super.useDataSource(dataSource);
    // The module refuses other drivers. An error here would make @nestjs/typeorm connect ten times before it fails.
    if (!dataSource?.hasMetadata(this) || !isSupported(dataSource)) return;
    const native = NATIVE_TYPES[dialectNameOf(dataSource)];
    const typed = columns.get(this);
    const metadata = dataSource.getMetadata(this);
    for (const column of metadata.columns) {
      const type = typed?.get(column.propertyName);
      if (type) Object.assign(column, { length: '' }, native[type]);
      keepGivenName(column);
    }
    // TypeORM derives an index's name from those of its columns.
    for (const index of metadata.indices) index.build(dataSource.namingStrategy);
  }
}

/**
 * Statements and migrations name columns as they are given here. A naming strategy that changes given names too would
 * have repositories and `synchronize` use others.
 */
function keepGivenName(column: ColumnMetadata): void {
  const name = column.givenDatabaseName!;
  Object.assign(column, { databaseName: name, databasePath: name, databaseNameWithoutPrefixes: name });
}
