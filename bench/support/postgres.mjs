/** PostgreSQL as it ships: every commit is flushed to the disk before it is answered. */
import pg from 'pg';
import { startPostgres } from '../../test/support/servers.mjs';

/**
 * Applications wait for their turn for longer than the ten seconds after which `pg` closes an idle connection. What is measured
 * would be opening the pool again and preparing its statements, as happens to no service at work.
 */
const KEEP_CONNECTIONS = { extra: { idleTimeoutMillis: 0 } };

/**
 * @param {{ preload?: string, settings?: readonly string[] }} [options] `preload`: a library that the server runs with
 */
export async function startDurablePostgres({ preload, settings = [] } = {}) {
  const env = preload ? { LD_PRELOAD: preload } : {};
  return new Postgres(
    await startPostgres({ settings: ['--shared_preload_libraries=pg_stat_statements', ...settings], env }),
  );
}

/** A running server and a connection that administers it, in a database of its own. */
export class Postgres {
  /** @type {pg.Client | undefined} */
  #admin;

  /** @param {import('../../test/support/servers.mjs').Server} server */
  constructor(server) {
    this.server = server;
  }

  get pid() {
    return /** @type {number} */ (this.server.pid);
  }

  /**
   * @param {string} sql
   * @param {unknown[]} [values]
   * @returns {Promise<Record<string, any>[]>}
   */
  async query(sql, values) {
    this.#admin ??= await this.connect('postgres');
    return (await this.#admin.query(sql, values)).rows;
  }

  /** @param {string} database */
  async connect(database) {
    const client = new pg.Client({ host: '127.0.0.1', port: this.server.port, user: 'postgres', database });
    await client.connect();
    return client;
  }

  /**
   * @param {string} name
   * @returns {Promise<Record<string, unknown>>} options for TypeORM
   */
  async createDatabase(name) {
    await this.query(`CREATE DATABASE ${name}`);
    return this.options(name);
  }

  /** @param {string} database */
  options(database) {
    const { port } = this.server;
    return { type: 'postgres', host: '127.0.0.1', port, username: 'postgres', database, ...KEEP_CONNECTIONS };
  }

  async dispose() {
    await this.#admin?.end().catch(() => undefined);
    await this.server.dispose();
  }
}
