/**
 * What the library uses of TypeORM's drivers and query runners that TypeORM does not document: it offers no way to a driver's own
 * pool, and its transactions take three round trips of which two are avoidable. `test/e2e/module/private-names.e2e-spec.ts` fails
 * when one of these names changes.
 */
import type { DataSource, QueryRunner } from 'typeorm';

interface PostgresDriver<Pool> {
  /** The primary's pool. A replica may not have heard of a record yet. */
  readonly master: Pool;
}

/** Either `pool` or `poolCluster` is there, by whether the data source replicates. */
export interface MysqlDriver<Pool> {
  /** The package `mysql2`, or what the application gave as `driver`: a pool of the store's own is made by it. */
  readonly mysql: { createPool?(options: object): Pool };
  readonly pool?: Pool;
  readonly poolCluster?: { readonly _nodes?: { readonly MASTER?: { readonly pool: Pool } } };
  /** The settings of the data source as the driver takes them, TLS and time zone included. */
  createConnectionOptions?(options: object, credentials: object): { readonly connectionLimit?: unknown };
}

/** Of PostgreSQL and MySQL: by this alone TypeORM takes connections, so that by this they are counted. */
export interface ConnectingDriver<Connection = unknown> {
  obtainMasterConnection(): Promise<Connection>;
}

interface SqliteDriver<Connection> {
  /** The only connection of a data source. */
  readonly databaseConnection: Connection;
}

export function postgresPoolOf<Pool>({ driver }: DataSource): Pool {
  return (driver as unknown as PostgresDriver<Pool>).master;
}

export function mysqlDriverOf<Pool>({ driver }: DataSource): MysqlDriver<Pool> {
  return driver as unknown as MysqlDriver<Pool>;
}

export function connectingDriverOf<Connection>({ driver }: DataSource): ConnectingDriver<Connection> {
  return driver as unknown as ConnectingDriver<Connection>;
}

export function sqliteConnectionOf<Connection>({ driver }: DataSource): Connection {
  return (driver as unknown as SqliteDriver<Connection>).databaseConnection;
}

/** Makes TypeORM believe that a transaction is open, or that none is. By this it decides whether the next one is a savepoint. */
export function setTransactionState(runner: QueryRunner, isTransactionActive: boolean): void {
  Object.assign(runner, { isTransactionActive, transactionDepth: Number(isTransactionActive) });
}

/**
 * Makes TypeORM end the whole transaction next. A handler may leave a nested transaction open: TypeORM would end that one alone, and
 * the connection would go back to the pool inside the operation's transaction. Its writes would be lost, though its outcome is sent.
 */
export function forgetSavepoints(runner: QueryRunner): void {
  Object.assign(runner, { transactionDepth: 1 });
}
