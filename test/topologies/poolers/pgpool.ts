import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { need } from '../../support/binaries.mjs';
import { freePort } from '../../support/free-port.mjs';
import { makeFolder, Server } from '../../support/servers.mjs';
import { PGPOOL } from './requirements.mjs';

/** Writes a log beside what it prints. */
const SCRIPT = 'exec "$0" -n -f "$1/pgpool.conf" -F "$1/pcp.conf" -a "$1/pool_hba.conf" > >(tee "$1/log") 2>&1';

/** pgpool in front of a primary and a standby, which gets whatever pgpool takes for a read. */
export class Pgpool {
  private constructor(
    private readonly server: Server,
    private readonly log: string,
  ) {}

  static async start(primary: number, standby: number): Promise<Pgpool> {
    const folder = makeFolder('pgpool');
    const settings = {
      backend_clustering_mode: 'streaming_replication',
      listen_addresses: '127.0.0.1',
      unix_socket_directories: folder,
      pcp_port: await freePort(),
      pcp_socket_dir: folder,
      wd_ipc_socket_dir: folder,
      pid_file_name: join(folder, 'pid'),
      logdir: folder,
      backend_hostname0: '127.0.0.1',
      backend_port0: primary,
      backend_weight0: 0,
      backend_flag0: 'ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER',
      backend_hostname1: '127.0.0.1',
      backend_port1: standby,
      backend_weight1: 1,
      backend_flag1: 'DISALLOW_TO_FAILOVER',
      load_balance_mode: 'on',
      sr_check_user: 'postgres',
      sr_check_database: 'postgres',
      health_check_period: 0,
      num_init_children: 64,
      max_pool: 1,
      log_per_node_statement: 'on',
    };
    writeFileSync(join(folder, 'pcp.conf'), '');
    const server = await new Server({
      name: 'pgpool',
      folder,
      command: 'bash',
      args: (port) => {
        const lines = Object.entries({ ...settings, port }).map(([name, value]) => `${name} = '${value}'\n`);
        writeFileSync(join(folder, 'pgpool.conf'), lines.join(''));
        return ['-c', SCRIPT, need(PGPOOL), folder];
      },
      ready: 'successfully started',
      stopSignal: 'SIGINT',
    }).start();
    return new Pgpool(server, join(folder, 'log'));
  }

  get port(): number {
    return this.server.port;
  }

  /** The statements that went to the standby, each once. */
  async atStandby(): Promise<string[]> {
    const sent = (await readFile(this.log, 'utf8')).matchAll(/DB node id: 1 .*?statement: (.*)/g);
    return [...new Set([...sent].map(([, statement]) => statement))];
  }

  dispose(): Promise<void> {
    return this.server.dispose();
  }
}
