import type { DataSource } from 'typeorm';
import { outsideRequests } from '../../engine/outside-requests.js';
import type { Mysql2ConnectionInternals, Mysql2PoolInternals } from '../../private-names/mysql2.js';
import { connectingDriverOf, mysqlDriverOf } from '../../private-names/typeorm.js';
import { initialized } from '../data-source.js';
import { ended, KEEP_ALIVE_AFTER_MS, type Pool } from './pools.js';

/** A `mysql2` connection with callbacks, as TypeORM returns it. */
export interface Mysql2Connection extends Mysql2ConnectionInternals {
  execute(sql: string | Mysql2Statement, values: readonly unknown[], done: Mysql2Callback): void;
  query(sql: string | Mysql2Statement, values: readonly unknown[], done: Mysql2Callback): void;
  release(): void;
  /** Closes the connection, and removes it from its pool. */
  destroy(): void;
  on(event: 'error' | 'end', listener: () => void): void;
  readonly stream?: { ref?(): void; unref?(): void };
}

export interface Mysql2Statement {
  readonly sql: string;
  readonly typeCast: (field: unknown, next: () => unknown) => unknown;
}

export type Mysql2Callback = (error: Error | null, result: unknown) => void;

interface Mysql2Pool extends Mysql2PoolInternals {
  getConnection(taken: (error: Error | null, connection: Mysql2Connection) => void): void;
  end(done: () => void): void;
  on(event: 'connection' | 'acquire' | 'release', listener: (connection: Mysql2Connection) => void): void;
  emit(event: 'connection', connection: Mysql2Connection): void;
}

/** The default of `connectionLimit` in `mysql2`. */
const DEFAULT_LIMIT = 10;

/**
 * Limits how long a statement waits for a locked row, by default 50 s, and for a locked table, by default a year (a day on MariaDB), in
 * which its connection would be missing. One second is the shortest, and MySQL has no limit for a single statement. A statement that
 * must wait longer runs again.
 *
 * A limit of what a SELECT returns would hold for SHOW VARIABLES, too.
 *
 * Commits each statement, whatever the server's or the application's default is, and reads nothing that is not committed: under READ
 * UNCOMMITTED, requests that wait would get outcomes that may still be rolled back. READ COMMITTED cannot write to a binary log of statements.
 */
const PREPARE_SESSION = [
  `SET SESSION innodb_lock_wait_timeout = 1, SESSION lock_wait_timeout = 1, SESSION autocommit = 1,
    SESSION sql_select_limit = 18446744073709551615`,
  'SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ',
];

const ignore = () => undefined;

/**
 * Returns the pool of the data source's primary.
 *
 * @param obtain takes a connection through TypeORM's driver
 */
export function sharedMysqlPool(
  dataSource: DataSource,
  obtain = () => connectingDriverOf<Mysql2Connection>(dataSource).obtainMasterConnection(),
): Pool<Mysql2Connection> {
  const driver = () => mysqlDriverOf<Mysql2Pool>(initialized(dataSource));
  const pool = () => driver().pool ?? driver().poolCluster?._nodes?.MASTER?.pool;
  const take = async () => {
    initialized(dataSource);
    return obtain();
  };
  const source = () => {
    const { pool: single, poolCluster } = mysqlDriverOf<Mysql2Pool>(dataSource);
    return dataSource.isInitialized ? (single ?? poolCluster) : undefined;
  };
  return poolOf(pool, take, { source });
}

/**
 * Returns a pool of the store's own, with the data source's settings. Its idle connections do not keep the process alive.
 *
 * @param connections the maximum; never more than the data source's own
 * @returns `undefined` where TypeORM's driver does not expose the settings of its pool
 */
export function ownMysqlPool(dataSource: DataSource, connections: number): Pool<Mysql2Connection> | undefined {
  const driver = mysqlDriverOf<Mysql2Pool>(initialized(dataSource));
  const { options } = driver;
  const settings = driver.createConnectionOptions?.(options, options.replication?.master ?? options);
  if (!settings || !driver.mysql.createPool) return undefined;
  // In `mysql2`, 0 means no limit.
  const most = Math.min(connections, Number(settings.connectionLimit ?? DEFAULT_LIMIT) || Infinity);
  const pool = driver.mysql.createPool({
    keepAliveInitialDelay: KEEP_ALIVE_AFTER_MS,
    ...settings,
    connectionLimit: most,
    maxIdle: most,
    waitForConnections: true,
    queueLimit: 0,
  });
  const open = new Set<Mysql2Connection>();
  pool.on('connection', (connection) => {
    open.add(connection);
    for (const event of ['error', 'end'] as const) connection.on(event, () => open.delete(connection));
    // The application's listeners prepare each connection, as by SET statements. They must see these as well.
    driver.pool?.emit('connection', connection);
    for (const statement of PREPARE_SESSION) connection.query(statement, [], ignore);
  });
  pool.on('acquire', (connection) => connection.stream?.ref?.());
  pool.on('release', (connection) => connection.stream?.unref?.());
  const take = () =>
    new Promise<Mysql2Connection>((resolve, reject) =>
      // `mysql2` opens a connection within this call.
      outsideRequests(() => pool.getConnection((error, connection) => (error ? reject(error) : resolve(connection)))),
    );
  return poolOf(() => pool, take, { most, open });
}

function poolOf(
  pool: () => Mysql2Pool | undefined,
  take: () => Promise<Mysql2Connection>,
  {
    most = Infinity,
    open,
    source,
  }: { most?: number; open?: ReadonlySet<Mysql2Connection>; source?: () => object | undefined },
): Pool<Mysql2Connection> {
  const free = () => pool()?._freeConnections?.length ?? 0;
  const all = () => pool()?._allConnections?.length ?? 0;
  return {
    get size() {
      return open?.size ?? all();
    },
    get source() {
      return source?.();
    },
    owns: (connection) => open?.has(connection) === true,
    get limit() {
      return pool()?.config?.connectionLimit || Infinity;
    },
    get isExhausted() {
      const limit = pool()?.config?.connectionLimit ?? 1;
      return free() === 0 && limit > 0 && all() >= limit;
    },
    take,
    limitTo(connections) {
      const config = pool()?.config;
      if (config) config.connectionLimit = Math.min(connections, most);
    },
    closeIdle() {
      for (let left = free(); left > 0; left--) take().then((connection) => connection.destroy(), ignore);
    },
    end: () => ended((done) => pool()?.end(done)),
  };
}
