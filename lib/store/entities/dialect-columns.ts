import { BaseEntity, Column, type ColumnOptions, type DataSource, type ValueTransformer } from 'typeorm';
import type { ColumnMetadata } from 'typeorm/metadata/ColumnMetadata.js';
import { dialectNameOf, type DialectName, isSupported } from '../dialects/dialect-name.js';
import { asBuffer, asDate, asMilliseconds } from './transformers.js';

/** A type of column for which the databases have no common name. */
export type DialectType = 'id' | 'name' | 'label' | 'digest' | 'bytes' | 'instant';

interface NativeType {
  readonly type: string;
  readonly length?: string;
  readonly charset?: string;
  readonly collation?: string;
  readonly transformer?: ValueTransformer;
}

/** Migrations use these too. Never change one: tables exist that have it. */
export const NATIVE_TYPES: Record<DialectName, Record<DialectType, NativeType>> = {
  postgres: {
    id: { type: 'uuid' },
    name: { type: 'varchar', length: '191' },
    label: { type: 'varchar', length: '255' },
    digest: { type: 'bytea', transformer: asBuffer },
    bytes: { type: 'bytea', transformer: asBuffer },
    instant: { type: 'timestamp with time zone', transformer: asDate },
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
    digest: { type: 'blob', transformer: asBuffer },
    bytes: { type: 'blob', transformer: asBuffer },
    instant: { type: 'bigint', transformer: asMilliseconds },
  },
};

const columns = new Map<object, Map<string, DialectType>>();

/** As `@Column` of TypeORM, with a type of the data source's dialect. */
export function DialectColumn(type: DialectType, options: ColumnOptions): PropertyDecorator {
  return (prototype, property) => {
    // A type that every driver knows. `useDataSource` replaces it.
    Column({ ...options, type: 'varchar' })(prototype, property);
    let ofEntity = columns.get(prototype.constructor);
    if (!ofEntity) columns.set(prototype.constructor, (ofEntity = new Map()));
    ofEntity.set(String(property), type);
  };
}

/**
 * An entity whose column types follow the data source. TypeORM fixes the types of decorators before it knows the database.
 * `useDataSource` is its documented hook: TypeORM calls it for each data source after it has built the metadata, and before
 * it synchronizes the schema.
 */
export abstract class DialectEntity extends BaseEntity {
  static override useDataSource(dataSource: DataSource | null): void {
    super.useDataSource(dataSource);
    // The module refuses other drivers at boot. An error here would make @nestjs/typeorm connect ten times first.
    if (!dataSource?.hasMetadata(this) || !isSupported(dataSource)) return;
    const native = NATIVE_TYPES[dialectNameOf(dataSource)];
    const typed = columns.get(this);
    const metadata = dataSource.getMetadata(this);
    for (const column of metadata.columns) {
      const type = typed?.get(column.propertyName);
      if (type) Object.assign(column, { length: '' }, native[type]);
      keepGivenName(column);
    }
    // TypeORM derives the name of an index from the names of its columns.
    for (const index of metadata.indices) index.build(dataSource.namingStrategy);
  }
}

/** Undoes naming strategies that also change given names: statements and migrations use the names as given. */
function keepGivenName(column: ColumnMetadata): void {
  const name = column.givenDatabaseName!;
  Object.assign(column, { databaseName: name, databasePath: name, databaseNameWithoutPrefixes: name });
}
