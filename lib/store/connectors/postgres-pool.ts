import { setTimeout as sleep } from 'node:timers/promises';

/** What we use of a `pg` pool. */
export interface PgPool {
  readonly options?: { readonly password?: unknown };
  connect(): Promise<PgClient>;
  end(): Promise<void>;
  on(event: string, listener: (...args: unknown[]) => void): void;
  emit(event: string, ...args: unknown[]): void;
}

export interface PgClient {
  query<Answer>(statement: { text: string; name?: string; values?: unknown[]; query_timeout: number }): Promise<Answer>;
  /** Back to the pool, which closes it where there was an error. */
  release(error?: unknown): void;
  on(event: 'error', listener: (error: unknown) => void): void;
  off(event: 'error', listener: (error: unknown) => void): void;
}

/** How long the end of a pool waits for its statements, in milliseconds. */
const END_AFTER = 1_000;

/**
 * A few connections of the store's own, like those of the data source and beside them. A statement of ours stands for
 * many requests, or keeps a lease: it is not to queue behind the statements of handlers, nor to go without a connection
 * where handlers hold them all.
 *
 * @param connections how many at the most; opened when needed, and closed when idle for as long as `pg` is told to wait
 */
export function poolBeside(master: PgPool, connections: number): PgPool {
  const { options = {} } = master;
  const Pool = master.constructor as new (options: object) => PgPool;
  // The password is there, but not enumerable.
  const pool = new Pool({ ...options, password: options.password, max: connections, min: 0, allowExitOnIdle: true });
  // What the application does with each connection, it does with these.
  for (const event of ['connect', 'error']) pool.on(event, (...args) => master.emit(event, ...args));
  return pool;
}

export async function endPool(pool: PgPool): Promise<void> {
  await Promise.race([pool.end(), sleep(END_AFTER, undefined, { ref: false })]);
}
