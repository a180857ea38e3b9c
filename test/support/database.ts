import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataSource } from 'typeorm';
import type { BetterSqlite3DataSourceOptions } from 'typeorm/driver/better-sqlite3/BetterSqlite3DataSourceOptions.js';
import type { MysqlDataSourceOptions } from 'typeorm/driver/mysql/MysqlDataSourceOptions.js';
import type { PostgresDataSourceOptions } from 'typeorm/driver/postgres/PostgresDataSourceOptions.js';

/** Whether a MySQL takes the place of MariaDB: see `startMariadb`. */
export const IS_MYSQL = process.env.MYSQLD !== undefined;

interface OptionsOf {
  postgres: PostgresDataSourceOptions;
  mariadb: MysqlDataSourceOptions;
  'better-sqlite3': BetterSqlite3DataSourceOptions;
}

export type TestDialect = keyof OptionsOf;

export interface TestDatabase<D extends TestDialect = TestDialect> {
  readonly dialect: D;
  /** For a `DataSource` or `TypeOrmModule.forRoot`; add entities, and `port` to go through a proxy. */
  readonly options: OptionsOf[D];
  drop(): Promise<void>;
}

/** A new, empty database. PostgreSQL and MariaDB need a project with servers (see jest.config.mjs). */
export async function createDatabase<D extends TestDialect>(dialect: D): Promise<TestDatabase<D>>;
export async function createDatabase(dialect: TestDialect): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`;
  switch (dialect) {
    case 'postgres': {
      const options = { type: 'postgres', ...server('TEST_PG_URL') } as const;
      await execute(options, `CREATE DATABASE ${name}`);
      return {
        dialect,
        options: { ...options, database: name },
        drop: () => execute(options, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
      };
    }
    case 'mariadb': {
      const options = { type: IS_MYSQL ? 'mysql' : 'mariadb', ...server('TEST_MARIADB_URL') } as const;
      await execute(options, `CREATE DATABASE ${name}`);
      return {
        dialect,
        options: { ...options, database: name },
        drop: () => execute(options, `DROP DATABASE IF EXISTS ${name}`),
      };
    }
    case 'better-sqlite3': {
      const folder = await mkdtemp(join(process.env.TEST_FOLDER ?? tmpdir(), 'idempotency-sqlite-'));
      return {
        dialect,
        options: { type: dialect, database: join(folder, 'test.sqlite'), enableWAL: true },
        drop: () => rm(folder, { recursive: true, force: true }),
      };
    }
  }
}

/** Runs a statement on a connection of its own to the database that the servers came with. */
async function execute(options: PostgresDataSourceOptions | MysqlDataSourceOptions, statement: string): Promise<void> {
  const dataSource = await new DataSource(options).initialize();
  try {
    await dataSource.query(statement);
  } finally {
    await dataSource.destroy();
  }
}

function server(variable: string) {
  const value = process.env[variable];
  if (!value) throw new Error(`${variable} is not set: this spec belongs into a project that starts the servers`);
  const url = new URL(value);
  return {
    host: url.hostname,
    port: Number(url.port),
    username: url.username,
    password: url.password,
    database: url.pathname.slice(1),
  };
}
