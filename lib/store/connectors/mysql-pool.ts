import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { initialized } from '../data-source.js';
import type { Pool } from './pools.js';

/** What TypeORM hands out: a `mysql2` connection with callbacks. */
export interface Mysql2Connection {
  execute(sql: string, values: readonly unknown[], done: Mysql2Callback): void;
  query(sql: string, values: readonly unknown[], done: Mysql2Callback): void;
  /** Back to the pool. */
  release(): void;
  /** Closes the connection, and takes it out of the pool. */
  destroy(): void;
  on(event: 'error' | 'end', listener: () => void): void;
  readonly stream?: { ref?(): void; unref?(): void };
}

export type Mysql2Callback = (error: Error | null, result: unknown) => void;

interface Mysql2Pool {
  // Not documented, and done without where they are missing.
  readonly config?: { connectionLimit: number };
  readonly _freeConnections?: { readonly length: number };
  readonly _allConnections?: { readonly length: number };
  getConnection(taken: (error: Error | null, connection: Mysql2Connection) => void): void;
  end(done: () => void): void;
  on(event: 'connection' | 'acquire' | 'release', listener: (connection: Mysql2Connection) => void): void;
  emit(event: 'connection', connection: Mysql2Connection): void;
}

/** What we use of TypeORM's driver. */
interface MysqlDriver {
  readonly mysql: { createPool?(options: object): Mysql2Pool };
  readonly pool?: Mysql2Pool;
  readonly poolCluster?: { readonly _nodes?: { readonly MASTER?: { readonly pool: Mysql2Pool } } };
  obtainMasterConnection(): Promise<Mysql2Connection>;
  createConnectionOptions?(options: object, credentials: object): { readonly connectionLimit?: unknown };
}

/** How long the end of a pool waits for its statements, in milliseconds. */
const END_AFTER_MS = 1_000;

/** What `mysql2` has where nothing is said. */
const DEFAULT_LIMIT = 10;

/**
 * The server's default for a locked row is 50 s, for which a connection would be missing. A whole second is the least; what
 * has to wait longer asks again. MySQL knows no such limit for a single statement.
 */
const LOCK_TIMEOUT = 'SET SESSION innodb_lock_wait_timeout = 1';

const ignore = () => undefined;

/** The data source's pool, of its primary. */
export function sharedMysqlPool(dataSource: DataSource): Pool<Mysql2Connection> {
  const driver = () => initialized(dataSource).driver as unknown as MysqlDriver;
  return {
    get size() {
      return masterOf(driver())?._allConnections?.length ?? 0;
    },
    get isExhausted() {
      const { config, _freeConnections: free, _allConnections: all } = masterOf(driver()) ?? {};
      if (!config || !free || !all) return true;
      return free.length === 0 && config.connectionLimit > 0 && all.length >= config.connectionLimit;
    },
    take: () => driver().obtainMasterConnection(),
    limitTo: ignore,
    closeIdle() {
      // `mysql2` does not tell of the connections that nobody uses.
      for (let idle = masterOf(driver())?._freeConnections?.length ?? 0; idle > 0; idle--) {
        driver()
          .obtainMasterConnection()
          .then((connection) => connection.destroy(), ignore);
      }
    },
    end: () => Promise.resolve(),
  };
}

/**
 * Connections like those of the data source and beside them. An idle one does not keep the process alive.
 *
 * @param connections how many at the most; never more than the data source may have itself
 * @returns `undefined` where TypeORM's driver does not tell what its pool is made of
 */
export function ownMysqlPool(dataSource: DataSource, connections: number): Pool<Mysql2Connection> | undefined {
  const driver = initialized(dataSource).driver as unknown as MysqlDriver;
  const { replication } = dataSource.options as { replication?: { master: object } };
  const settings = driver.createConnectionOptions?.(dataSource.options, replication?.master ?? dataSource.options);
  if (!settings || !driver.mysql.createPool) return undefined;
  // Zero means that there is no limit.
  const most = Math.min(connections, Number(settings.connectionLimit ?? DEFAULT_LIMIT) || Infinity);
  const pool = driver.mysql.createPool({
    ...settings,
    connectionLimit: most,
    maxIdle: most,
    waitForConnections: true,
    queueLimit: 0,
  });

  const open = new Set<Mysql2Connection>();
  const idle = new Set<Mysql2Connection>();
  /** How many wait for a connection, to be opened or given back. */
  let waiting = 0;
  pool.on('connection', (connection) => {
    open.add(connection);
    for (const event of ['error', 'end'] as const) {
      connection.on(event, () => {
        open.delete(connection);
        idle.delete(connection);
      });
    }
    connection.query(LOCK_TIMEOUT, [], ignore);
    // What the application does with each connection, it does with these.
    driver.pool?.emit('connection', connection);
  });
  pool.on('acquire', (connection) => {
    idle.delete(connection);
    connection.stream?.ref?.();
  });
  pool.on('release', (connection) => {
    idle.add(connection);
    connection.stream?.unref?.();
  });

  return {
    get size() {
      return open.size;
    },
    get isExhausted() {
      return idle.size === 0 && open.size + waiting >= most;
    },
    take: () =>
      new Promise((resolve, reject) => {
        const waits = idle.size === 0 ? 1 : 0;
        waiting += waits;
        pool.getConnection((error, connection) => {
          waiting -= waits;
          if (error) reject(error);
          else resolve(connection);
        });
      }),
    limitTo(limit) {
      if (pool.config) pool.config.connectionLimit = Math.min(limit, most);
    },
    closeIdle() {
      for (const connection of idle) {
        idle.delete(connection);
        open.delete(connection);
        connection.destroy();
      }
    },
    async end() {
      for (const connection of idle) connection.stream?.ref?.();
      const ended = new Promise<void>((resolve) => pool.end(resolve));
      await Promise.race([ended, sleep(END_AFTER_MS, undefined, { ref: false })]);
    },
  };
}

function masterOf({ pool, poolCluster }: MysqlDriver): Mysql2Pool | undefined {
  return pool ?? poolCluster?._nodes?.MASTER?.pool;
}
