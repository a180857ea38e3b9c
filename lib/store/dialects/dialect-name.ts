import type { DataSource } from 'typeorm';

export type DialectName = 'postgres' | 'mysql' | 'sqlite';

/** By TypeORM's name of the driver. */
const DIALECTS = new Map<string, DialectName>([
  ['postgres', 'postgres'],
  ['mysql', 'mysql'],
  ['mariadb', 'mysql'],
  ['better-sqlite3', 'sqlite'],
]);

export function isSupported({ options }: DataSource): boolean {
  return DIALECTS.has(options.type);
}

/** @throws where the library has no statements for the data source's driver */
export function dialectNameOf({ options, driver }: DataSource): DialectName {
  const isMock = typeof (options as unknown as { type?: unknown } | undefined)?.type !== 'string' || !driver;
  if (isMock) {
    throw new Error(
      'IdempotencyModule: the data source is not one of TypeORM, but a mock. Give the test a DataSource on SQLite in memory, or leave ' +
        'IdempotencyModule out of the testing module and override its IdempotencyInterceptor',
    );
  }
  const name = DIALECTS.get(options.type);
  if (name) return name;
  throw new Error(
    `IdempotencyModule: TypeORM's driver "${options.type}" is not supported. Supported are ${[...DIALECTS.keys()].join(', ')}: ` +
      'use one of them, or name another data source in the option `dataSource`.',
  );
}
