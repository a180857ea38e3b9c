import { connect } from 'node:net';
import { join } from 'node:path';
import { createConnection } from 'mysql2/promise';
import pg from 'pg';
import { Disk } from './disk.js';
import type { Random } from './random.js';
import { IS_MYSQL } from '../../support/database.js';
import { processesBelow } from '../../support/processes.js';
import { startMariadb, startPostgres, startRedis, startTogether, type Server } from '../../support/servers.mjs';

export type LabDialect = 'postgres' | 'mariadb';

/** The servers that all runs share. */
export class Servers {
  private constructor(
    readonly dialect: LabDialect,
    readonly database: Server,
    readonly redis: readonly Server[],
    /** Where the tables are, if they are on a disk that can be filled up. */
    readonly disk: Disk | undefined,
  ) {}

  static async start(dialect: LabDialect): Promise<Servers> {
    const database = dialect === 'postgres' ? startPostgres() : startMariadb();
    const [first, ...redis] = await startTogether([database, ...Array.from({ length: 5 }, () => startRedis())]);
    const url =
      dialect === 'postgres'
        ? `postgres://postgres:postgres@127.0.0.1:${first.port}/test`
        : `mysql://lab:lab@127.0.0.1:${first.port}/test`;
    process.env[dialect === 'postgres' ? 'TEST_PG_URL' : 'TEST_MARIADB_URL'] = url;
    const disk = dialect === 'postgres' ? await Disk.mount(first.pid!) : undefined;
    const servers = new Servers(dialect, first, redis, disk);
    // A user that may do everything may also write to a server that is read-only.
    if (dialect === 'mariadb') {
      await servers.query(
        "CREATE USER lab@'127.0.0.1' IDENTIFIED BY 'lab'",
        "GRANT ALL ON *.* TO lab@'127.0.0.1'",
        `REVOKE SUPER, ${IS_MYSQL ? 'CONNECTION_ADMIN' : 'READ ONLY ADMIN'} ON *.* FROM lab@'127.0.0.1'`,
      );
    }
    return servers;
  }

  /** Has the database accept no writes, or accept them again; connections stay. Returns whether the server could be reached. */
  async readOnly(on: boolean): Promise<boolean> {
    const statements =
      this.dialect === 'postgres'
        ? [`ALTER SYSTEM SET default_transaction_read_only = ${on}`, 'SELECT pg_reload_conf()']
        : [`SET GLOBAL read_only = ${on}`];
    return this.query(...statements).then(
      () => true,
      () => false,
    );
  }

  /** On PostgreSQL, all others go down with it, and the server recovers. */
  async killOneBackend(random: Random): Promise<void> {
    if (this.dialect === 'postgres') {
      const children = processesBelow(this.database.pid!);
      if (children.length) process.kill(random.pick(children), 'SIGKILL');
      return;
    }
    const [rows = []] = await this.query("SELECT id FROM information_schema.processlist WHERE user = 'lab'").catch(
      () => [],
    );
    if (rows.length) await this.query(`KILL ${String(random.pick(rows).id)}`).catch(() => []);
  }

  /** As an administrator, past every proxy. Returns the rows of each statement. */
  private async query(...statements: string[]): Promise<Record<string, unknown>[][]> {
    const rows: Record<string, unknown>[][] = [];
    if (this.dialect === 'postgres') {
      const client = new pg.Client({
        host: '127.0.0.1',
        port: this.database.port,
        user: 'postgres',
        database: 'postgres',
        connectionTimeoutMillis: 2_000,
        query_timeout: 5_000,
      });
      client.on('error', () => undefined);
      try {
        await client.connect();
        for (const statement of statements) rows.push((await client.query<Record<string, unknown>>(statement)).rows);
      } finally {
        client.end().catch(() => undefined);
      }
      return rows;
    }
    const socketPath = join(this.database.folder, 'socket');
    const connection = await createConnection({ socketPath, user: 'root', connectTimeout: 2_000 });
    connection.on('error', () => undefined);
    try {
      for (const sql of statements) rows.push((await connection.query({ sql, timeout: 5_000 }))[0] as (typeof rows)[0]);
    } finally {
      connection.destroy();
    }
    return rows;
  }

  async dispose(): Promise<void> {
    await Promise.all([this.database, ...this.redis].map((server) => server.dispose()));
    this.disk?.unmount();
  }
}

/** Forgets everything that a Redis node holds. */
export function flush({ port }: Server): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  socket.resume();
  socket.end('FLUSHALL\r\n');
  // A node that is down has forgotten everything.
  return new Promise((resolve) => socket.once('close', () => resolve()));
}
