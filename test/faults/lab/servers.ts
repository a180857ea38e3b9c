import { connect } from 'node:net';
import { readdirSync, readFileSync } from 'node:fs';
import { Disk } from './disk.js';
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
        : `mysql://t:t@127.0.0.1:${first.port}/test`;
    process.env[dialect === 'postgres' ? 'TEST_PG_URL' : 'TEST_MARIADB_URL'] = url;
    const disk = dialect === 'postgres' ? await Disk.mount(first.pid!) : undefined;
    return new Servers(dialect, first, redis, disk);
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

/** A process's children: PostgreSQL's backends. */
export function childrenOf(pid: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => parentOf(name) === pid)
    .map(Number);
}

function parentOf(pid: string): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}
