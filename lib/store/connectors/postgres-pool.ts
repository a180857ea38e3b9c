import type { DataSource } from 'typeorm';
import type { PgPoolInternals } from '../../private-names/pg.js';
import { postgresPoolOf } from '../../private-names/typeorm.js';
import { initialized } from '../data-source.js';
import type { PgAnswer } from '../dialects/postgres.js';
import { ended, type Pool } from './pools.js';

/** What we use of a `pg` pool. */
interface PgPool extends PgPoolInternals<PgClientClass> {
  readonly totalCount: number;
  readonly idleCount: number;
  connect(taken: (error: unknown, client: PgClient, release: (error?: unknown) => void) => void): void;
  end(done: () => void): void;
  on(event: string, listener: (...args: unknown[]) => void): void;
  emit(event: string, ...args: unknown[]): void;
}

interface PgClientOptions {
  readonly password?: unknown;
  readonly connectionTimeoutMillis?: number;
}

type PgClientClass = new (options: PgClientOptions) => PgClient;

export interface PgClient {
  query(
    statement: {
      readonly name: string | undefined;
      readonly text: string;
      readonly values: unknown[] | undefined;
    },
    done: (error: Error | null, answer: PgAnswer) => void,
  ): void;
  end(): Promise<void>;
  /** Back to the pool, which closes it where there was an error. */
  release(error?: unknown): void;
  on(event: 'error', listener: () => void): void;
  off(event: 'error', listener: () => void): void;
}

/** How long a connection of our own may take to open, in milliseconds: a server that is gone for good sends no refusal. */
const CONNECT_WITHIN_MS = 10_000;

/**
 * So many connections stay open: claims go through one, and completions through another. `pg` sets a timer whenever it gets back a
 * connection that it may close, and the first request after a pause would have to open one and plan every statement again.
 */
const STAY_OPEN = 2;

/** A broken client emits an error, which ends the process without a listener. Its pool finds out by itself. */
const ignore = () => undefined;

/** The data source's pool; of its primary, as a replica may not have heard of a record yet. */
export function sharedPostgresPool(dataSource: DataSource): Pool<PgClient> {
  return poolOf(() => masterOf(dataSource));
}

/**
 * Connections like those of the data source and beside them. All but two are closed when they have been idle for `pg`'s own timeout.
 *
 * @param connections how many at the most; never more than the data source may have itself
 * @returns `undefined` for what only resembles a pool of `pg`, such as a database in memory: it has no options
 */
export function ownPostgresPool(dataSource: DataSource, connections: number): Pool<PgClient> | undefined {
  const master = masterOf(dataSource);
  const { options } = master;
  if (!options) return undefined;
  const PgPool = master.constructor as new (options: object) => PgPool;
  const most = Math.min(connections, options.max ?? Infinity);
  const pool = new PgPool({
    ...options,
    Client: options.connectionTimeoutMillis ? master.Client : withConnectTimeout(master.Client),
    password: options.password,
    max: most,
    min: Math.min(STAY_OPEN, most),
    allowExitOnIdle: true,
  });
  // What the application does with each connection, it does with these.
  for (const event of ['connect', 'error']) pool.on(event, (...args) => master.emit(event, ...args));
  let open = 0;
  pool.on('connect', () => open++);
  pool.on('remove', () => open--);
  return poolOf(() => pool, { most, open: () => open });
}

export function giveBackPostgres(client: PgClient, error: unknown): void {
  client.release(error);
  client.off('error', ignore);
}

/** As an option of the pool, it would cost a timer for each connection that is taken. */
function withConnectTimeout(PgClient: PgClientClass): PgClientClass {
  return class extends PgClient {
    constructor(options: PgClientOptions) {
      super({ ...options, password: options.password, connectionTimeoutMillis: CONNECT_WITHIN_MS });
    }
  };
}

function masterOf(dataSource: DataSource): PgPool {
  return postgresPoolOf(initialized(dataSource));
}

function poolOf(
  pool: () => PgPool,
  { most = Infinity, open = () => pool().totalCount }: { most?: number; open?: () => number } = {},
): Pool<PgClient> {
  return {
    get size() {
      return open();
    },
    get limit() {
      return pool().options?.max ?? Infinity;
    },
    get isExhausted() {
      const { idleCount, totalCount, options } = pool();
      return idleCount === 0 && totalCount >= (options?.max ?? 0);
    },
    take: () =>
      new Promise((resolve, reject) =>
        pool().connect((error, client) => {
          if (error) return reject(error);
          client.on('error', ignore);
          resolve(client);
        }),
      ),
    limitTo(connections) {
      const { options } = pool();
      if (options) options.max = Math.min(connections, most);
    },
    closeIdle() {
      for (let idle = pool().idleCount; idle > 0; idle--) {
        pool().connect((_error, _client, release) => release(true));
      }
    },
    end: () => ended((done) => pool().end(done)),
  };
}
