import type { DataSourceOptions } from 'typeorm';
import { IDEMPOTENCY_ENTITIES } from '../../store/entities/index.js';
import { IDEMPOTENCY_MIGRATIONS } from '../../store/migrations/index.js';
import { usageError } from '../exit-codes.js';

export interface DatabaseSettings {
  readonly url: string;
  /** This and the next two: as in the application's data source. */
  readonly schema?: string;
  readonly entityPrefix?: string;
  readonly migrationsTable?: string;
  /** How long connecting may take, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** Whether to make an SQLite file that does not exist. For `migrations run`: elsewhere, a misspelt path would give an empty database. */
  readonly create: boolean;
}

type Driver = { readonly type: 'postgres' | 'mysql' | 'mariadb' | 'better-sqlite3'; readonly package: string };

const DRIVERS: Readonly<Record<string, Driver>> = {
  'postgres:': { type: 'postgres', package: 'pg' },
  'postgresql:': { type: 'postgres', package: 'pg' },
  'mysql:': { type: 'mysql', package: 'mysql2' },
  'mariadb:': { type: 'mariadb', package: 'mysql2' },
  'sqlite:': { type: 'better-sqlite3', package: 'better-sqlite3' },
};

/** @throws CliError for a URL of another database, without the URL, which may contain a password */
export function driverOf(url: string): Driver {
  const driver = DRIVERS[/^[a-z0-9]+:/i.exec(url)?.[0].toLowerCase() ?? ''];
  if (driver) return driver;
  throw usageError('The database URL must begin with postgres://, mysql://, mariadb:// or sqlite:');
}

export function dataSourceOptions(settings: DatabaseSettings): DataSourceOptions {
  const { url, schema, entityPrefix, migrationsTable } = settings;
  const { type } = driverOf(url);
  const common = {
    entities: [...IDEMPOTENCY_ENTITIES],
    migrations: [...IDEMPOTENCY_MIGRATIONS],
    synchronize: false,
    logging: false,
    ...(entityPrefix !== undefined && { entityPrefix }),
    ...(migrationsTable !== undefined && { migrationsTableName: migrationsTable }),
  };
  if (type === 'better-sqlite3') {
    if (schema !== undefined) throw usageError('SQLite has no schemas: leave --schema out');
    return { ...common, type, database: sqliteFile(url), fileMustExist: !settings.create };
  }
  if (!URL.canParse(url)) throw usageError('The database URL cannot be parsed: percent-encode what is special in it');
  if (type === 'postgres') {
    const connecting = { connectTimeoutMS: settings.connectTimeoutMs, applicationName: 'nestjs-idempotency' };
    return { ...common, ...connecting, type, url, ...(schema !== undefined && { schema }) };
  }
  if (schema !== undefined) throw usageError('--schema is for PostgreSQL: a MySQL schema is the database in the URL');
  return { ...common, ...mysqlOptions(new URL(url)), type, connectTimeout: settings.connectTimeoutMs };
}

/** With `?ssl=true`, connects by TLS and verifies the certificate. */
function mysqlOptions({ hostname, port, username, password, pathname, searchParams }: URL) {
  const unknown = [...searchParams.keys()].find((name) => name !== 'ssl');
  if (unknown !== undefined) throw usageError(`The database URL has a parameter that is not known: ${unknown}`);
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    ...(port !== '' && { port: Number(port) }),
    username: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)),
    ...(searchParams.get('ssl') === 'true' && { ssl: {} }),
  };
}

/** Takes `sqlite:file`, `sqlite:./file`, `sqlite:/file` and `sqlite:///file`. */
function sqliteFile(url: string): string {
  const file = decodeURIComponent(url.slice('sqlite:'.length).replace(/^\/\/(?=.)/, ''));
  if (file === '') throw usageError('The database URL names no file: sqlite:path/to/file');
  return file;
}
