import type { DataSource } from 'typeorm';

/** Databases with statements of their own; any other TypeORM driver is served by the portable set. */
export type DialectName = 'postgres' | 'mysql' | 'sqlite' | 'portable';

const portable = new WeakSet<DataSource>();

/** Has the portable statements used for a data source that has better ones. For tests, before it is initialized. */
export function usePortableStatements(dataSource: DataSource): void {
  portable.add(dataSource);
}

export function dialectNameOf(dataSource: DataSource): DialectName {
  if (portable.has(dataSource)) return 'portable';
  switch (dataSource.options.type) {
    case 'postgres':
      return 'postgres';
    case 'mysql':
    case 'mariadb':
      return 'mysql';
    case 'better-sqlite3':
      return 'sqlite';
    default:
      return 'portable';
  }
}
