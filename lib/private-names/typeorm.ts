/**
 * Undocumented names of TypeORM's drivers and query runners that the library uses. TypeORM offers no way to a driver's pool, and its
 * transactions take three round trips, of which two are avoidable. `test/e2e/module/private-names.e2e-spec.ts` fails
 * when one of these names changes.
 */
import type { DataSource, QueryRunner, SelectQueryBuilder } from 'typeorm';

/** Has `poolCluster` where the data source replicates, and else `pool`. */
export interface MysqlDriver<Pool> {
  /** The package `mysql2`, or the option `driver`. The store creates its own pool with it. */
  readonly mysql: { createPool?(options: object): Pool };
  readonly pool?: Pool;
  readonly poolCluster?: { readonly _nodes?: { readonly MASTER?: { readonly pool: Pool } } };
  /** A copy of the data source's, which `setOptions()` does not change: the pools of TypeORM are made with it. */
  readonly options: { readonly replication?: { readonly master: object } };
  /** Returns the data source's settings as the driver needs them, with TLS and time zone. */
  createConnectionOptions?(options: object, credentials: object): { readonly connectionLimit?: unknown };
}

/** The only method by which TypeORM takes connections on PostgreSQL and MySQL, and so the place to count them. */
export interface ConnectingDriver<Connection = unknown> {
  obtainMasterConnection(): Promise<Connection>;
}

/** Returns the primary's pool. A replica may not have a record yet. */
export function postgresPoolOf<Pool>({ driver }: DataSource): Pool {
  return (driver as unknown as { readonly master: Pool }).master;
}

export function mysqlDriverOf<Pool>({ driver }: DataSource): MysqlDriver<Pool> {
  return driver as unknown as MysqlDriver<Pool>;
}

export function connectingDriverOf<Connection>({ driver }: DataSource): ConnectingDriver<Connection> {
  return driver as unknown as ConnectingDriver<Connection>;
}

/** Returns the only connection of a data source. */
export function sqliteConnectionOf<Connection>({ driver }: DataSource): Connection {
  return (driver as unknown as { readonly databaseConnection: Connection }).databaseConnection;
}

/** Sets whether TypeORM assumes an open transaction, without nested ones, in which the next one would be a savepoint. */
export function setTransactionState(runner: QueryRunner, isTransactionActive: boolean): void {
  Object.assign(runner, { isTransactionActive, transactionDepth: Number(isTransactionActive) });
}

/**
 * Takes a query runner that is not to be released from those that `destroy()` of a data source releases. TypeORM's driver for PostgreSQL
 * repeats that until none is left, without a pause: the process would hang. The pool then waits until the connection is released.
 */
export function leaveToItsOwner(runner: QueryRunner): void {
  const { driver } = runner as unknown as { readonly driver: { readonly connectedQueryRunners?: QueryRunner[] } };
  const index = driver.connectedQueryRunners?.indexOf(runner) ?? -1;
  if (index >= 0) driver.connectedQueryRunners!.splice(index, 1);
}

/**
 * Makes a query read from the primary, and returns it: TypeORM sends reads to a replica, which may not have a record yet. A query of a
 * transaction stays in it.
 */
export function readFromPrimary<Query extends SelectQueryBuilder<object>>(query: Query): Query {
  const { connection: dataSource, queryRunner } = query as unknown as {
    readonly connection: DataSource;
    readonly queryRunner?: QueryRunner;
  };
  return Object.assign(query, { obtainQueryRunner: () => queryRunner ?? dataSource.createQueryRunner('master') });
}
