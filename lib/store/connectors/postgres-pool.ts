import type { DataSource } from 'typeorm';
import { outsideRequests } from '../../engine/outside-requests.js';
import { cancelStatement, type PgCancelInternals, type PgPoolInternals } from '../../private-names/pg.js';
import { postgresPoolOf } from '../../private-names/typeorm.js';
import { initialized } from '../data-source.js';
import type { PgAnswer } from '../dialects/postgres.js';
import { ended, KEEP_ALIVE_AFTER_MS, type Pool } from './pools.js';

/** What the store needs of a `pg` pool. */
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
  readonly keepAlive?: boolean;
  readonly keepAliveInitialDelayMillis?: number;
  readonly connectionTimeoutMillis?: number;
}

type PgClientClass = new (options: PgClientOptions) => PgClient;

export interface PgClient extends PgCancelInternals {
  query(
    statement: {
      readonly name: string | undefined;
      readonly text: string;
      readonly values: unknown[] | undefined;
      readonly types?: { getTypeParser(type: number): (text: string) => unknown };
    },
    done: (error: Error | null, answer: PgAnswer) => void,
  ): void;
  connect(done: (error?: Error) => void): void;
  end(): Promise<void>;
  /** Returns the client to its pool, which closes it if there is an error. */
  release(error?: unknown): void;
  on(event: 'error', listener: () => void): void;
  off(event: 'error', listener: () => void): void;
}

/** How long a connection of the store's own may take to open: a server that is gone for good sends no refusal. */
const CONNECT_WITHIN_MS = 10_000;

/**
 * How many idle connections stay open: one for claims, one for completions. Without them, `pg` would set a timer for each
 * release. The first request after a pause would open a connection and plan each statement again.
 */
const MIN_CONNECTIONS = 2;

/** A broken client emits an error, which ends a process without a listener. Its pool notices by itself. */
const ignore = () => undefined;

/** Returns the pool of the data source's primary: a replica may not have a record yet. */
export function sharedPostgresPool(dataSource: DataSource): Pool<PgClient> {
  return poolOf(() => masterOf(dataSource), { source: () => postgresPoolOf<PgPool | undefined>(dataSource) });
}

/**
 * Returns a pool of the store's own, with the data source's settings. It closes all but two connections that stay idle for
 * `idleTimeoutMillis` of `pg`.
 *
 * @param connections the maximum; never more than the data source's own
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
    Client: clientOfStore(master.Client),
    password: options.password,
    max: most,
    min: Math.min(MIN_CONNECTIONS, most),
    allowExitOnIdle: true,
  });
  // The application's listeners prepare each connection, as by SET statements. They must see these as well.
  for (const event of ['connect', 'error']) pool.on(event, (...args) => master.emit(event, ...args));
  const open = new Set<unknown>();
  pool.on('connect', (client) => open.add(client));
  pool.on('remove', (client) => open.delete(client));
  return poolOf(() => pool, { most, open });
}

export function releasePostgres(client: PgClient, error: unknown): void {
  client.release(error);
  client.off('error', ignore);
}

/**
 * Closes a connection that waits for an answer, and has the server cancel its statement. While a statement waits for a lock, the server does
 * not notice that its client is gone. It would claim a record minutes later, for a process that has given up. And each request would leave
 * one more session, until the server accepts none.
 */
export function destroyPostgres(dataSource: DataSource, client: PgClient): void {
  const pool = postgresPoolOf<PgPool | undefined>(dataSource);
  if (pool?.options) cancelStatement(client, new pool.Client({ ...pool.options }));
  // `end()` does not wait for the statement.
  void client.end().catch(() => undefined);
}

/** Returns the options of a client with TCP keep-alive, unless the application has set that. */
export function keptAlive<Options extends PgClientOptions>(options: Options): Options {
  const keepAlive = { keepAlive: true, keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS };
  // The password is not enumerable.
  return { ...keepAlive, ...options, password: options.password };
}

function clientOfStore(PgClient: PgClientClass): PgClientClass {
  return class extends PgClient {
    constructor(options: PgClientOptions) {
      // As an option of the pool, the timeout would cost a timer each time that a connection is taken.
      const connectionTimeoutMillis = options.connectionTimeoutMillis || CONNECT_WITHIN_MS;
      super({ ...keptAlive(options), connectionTimeoutMillis });
    }

    override connect(done: (error?: Error) => void): void {
      outsideRequests(() => super.connect(done));
    }
  };
}

function masterOf(dataSource: DataSource): PgPool {
  return postgresPoolOf(initialized(dataSource));
}

/** @param open the connections of a pool of the store's own */
function poolOf(
  pool: () => PgPool,
  { most = Infinity, open, source }: { most?: number; open?: ReadonlySet<unknown>; source?: () => PgPool | undefined },
): Pool<PgClient> {
  return {
    get size() {
      return open ? open.size : pool().totalCount;
    },
    get source() {
      return source?.();
    },
    owns: (client) => open?.has(client) === true,
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
