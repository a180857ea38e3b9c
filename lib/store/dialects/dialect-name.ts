import type { DataSource } from 'typeorm';

/** Databases with statements of their own; any other TypeORM driver is served by the portable set. */
export type DialectName = 'postgres' | 'mysql' | 'sqlite' | 'portable';

export function dialectNameOf(dataSource: DataSource): DialectName {
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
