import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { need } from '../../support/binaries.mjs';
import { freePort } from '../../support/free-port.mjs';
import { call } from '../../support/http-client.js';
import { TcpProxy } from '../../support/proxy.js';
import { keep, makeFolder, Server, unprivileged } from '../../support/servers.mjs';
import { until } from '../../support/until.js';
import { query } from '../support/postgres.js';
import { processesBelow } from '../../support/processes.js';
import { ETCD, HAPROXY, PATRONI, POSTGRES } from './requirements.mjs';

/** How long a leader counts as alive that says nothing, in seconds. */
export const TTL = 10;
const LOOP_WAIT = 1;
/** How long a leader tries to reach etcd before it demotes itself, in seconds. */
const RETRY_TIMEOUT = 3;
/** Between two questions to Patroni, which has one thread for these and for its work, in milliseconds. */
const POLL = 300;
/** How long the cluster may take to become whole by itself, in milliseconds. */
const REPAIR_AFTER = 30_000;

const NAMES = ['pg1', 'pg2', 'pg3'] as const;
export type NodeName = (typeof NAMES)[number];

interface Member {
  readonly name: NodeName;
  readonly role: string;
  readonly state: string;
  readonly timeline?: number;
}

/** A Patroni with its PostgreSQL, and what lies between them and the others. */
export class Node {
  private constructor(
    readonly name: NodeName,
    readonly postgresPort: number,
    readonly restPort: number,
    /** Where the others find PostgreSQL and Patroni, and where this Patroni finds etcd. */
    private readonly links: readonly [postgres: TcpProxy, rest: TcpProxy, etcd: TcpProxy],
    readonly patroni: Server,
    private readonly data: string,
  ) {}

  static async prepare(name: NodeName, etcdPort: number): Promise<Node> {
    const postgresPort = await freePort();
    const restPort = await freePort();
    const links = [
      await TcpProxy.listen(postgresPort),
      await TcpProxy.listen(restPort),
      await TcpProxy.listen(etcdPort),
    ] as const;
    const folder = makeFolder(name);
    const data = join(folder, 'data');
    mkdirSync(data, { mode: 0o700 });
    const user = unprivileged();
    if (user.uid !== undefined) for (const one of [folder, data]) chownSync(one, user.uid, user.gid);
    const [postgres, rest, etcd] = links;
    const configuration = {
      scope: 'topology',
      name,
      restapi: { listen: `127.0.0.1:${restPort}`, connect_address: `127.0.0.1:${rest.port}` },
      // As a proxy: Patroni would ask etcd for its address, and go there past what lies between.
      etcd3: { hosts: [`127.0.0.1:${etcd.port}`], use_proxies: true },
      bootstrap: {
        dcs: {
          ttl: TTL,
          loop_wait: LOOP_WAIT,
          retry_timeout: RETRY_TIMEOUT,
          // A primary that has crashed is replaced, not started again.
          master_start_timeout: 0,
          synchronous_mode: true,
          // Without the texts of statements, which would leave no room for what Patroni says.
          postgresql: { use_pg_rewind: true, parameters: { max_connections: 200, log_min_error_statement: 'panic' } },
        },
        initdb: [{ encoding: 'UTF8' }, { locale: 'C' }, { auth: 'trust' }, 'data-checksums'],
      },
      postgresql: {
        listen: `127.0.0.1:${postgresPort}`,
        connect_address: `127.0.0.1:${postgres.port}`,
        data_dir: data,
        bin_dir: join(need(POSTGRES), '..'),
        pgpass: join(folder, 'pgpass'),
        authentication: {
          superuser: { username: 'postgres' },
          replication: { username: 'postgres' },
          rewind: { username: 'postgres' },
        },
        pg_hba: ['host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust'],
        parameters: { unix_socket_directories: folder },
      },
    };
    const file = join(folder, 'patroni.json');
    writeFileSync(file, JSON.stringify(configuration));
    const patroni = new Server({
      name: `patroni ${name}`,
      folder,
      command: need(PATRONI),
      args: () => [file],
      ready: 'no action. I am',
      stopSignal: 'SIGKILL',
      options: { ...user, cwd: folder, env: { PATH: process.env.PATH, HOME: folder, LC_ALL: 'C' } },
    });
    return new Node(name, postgresPort, restPort, links, patroni, data);
  }

  async start(): Promise<void> {
    await this.patroni.start();
    keep({ folder: this.data, pid: this.postmaster });
  }

  get postmaster(): number | undefined {
    const file = join(this.data, 'postmaster.pid');
    return existsSync(file) ? Number(readFileSync(file, 'utf8').split('\n')[0]) || undefined : undefined;
  }

  /** To PostgreSQL: its postmaster first, then the processes of its connections. */
  signalPostgres(signal: NodeJS.Signals): void {
    const { postmaster } = this;
    for (const pid of postmaster ? [postmaster, ...processesBelow(postmaster)] : []) kill(pid, signal);
  }

  signalPatroni(signal: NodeJS.Signals): void {
    kill(this.patroni.pid, signal);
  }

  /** Between this node on one side, and etcd and the other nodes on the other. Applications still reach it. */
  partition(on: boolean): void {
    for (const link of this.links) link.blackhole(on);
  }

  loseEtcd(on: boolean): void {
    this.links[2].blackhole(on);
  }

  /** Whether Patroni says that it is the primary. */
  async isPrimary(): Promise<boolean> {
    const answer = await this.rest('GET', '/primary').catch(() => undefined);
    return answer?.status === 200;
  }

  rest(method: string, path: string, body?: object) {
    const signal = AbortSignal.timeout(20_000);
    return call(`http://127.0.0.1:${this.restPort}${path}`, { method, body, signal });
  }

  async dispose(): Promise<void> {
    this.signalPatroni('SIGCONT');
    this.signalPostgres('SIGCONT');
    const { postmaster } = this;
    await this.patroni.kill();
    kill(postmaster, 'SIGQUIT');
    await until(() => !kill(postmaster, 0)).catch(() => this.signalPostgres('SIGKILL'));
    keep({ folder: this.data, gone: true });
    await this.patroni.dispose();
    await Promise.all(this.links.map((link) => link.close()));
  }
}

/** Three nodes, etcd, and an HAProxy that leads applications to the primary. */
export class PatroniCluster {
  /** What an operator had to do since the last look. */
  readonly repairs: string[] = [];
  private isSynchronousAsked = false;

  private constructor(
    private readonly etcd: Server,
    /** The second one leaves sessions alone that lead to a primary which is none any more. */
    private readonly haproxies: readonly [Server, Server],
    readonly nodes: readonly Node[],
  ) {}

  static async start(): Promise<PatroniCluster> {
    const etcd = await startEtcd();
    const nodes: Node[] = [];
    for (const name of NAMES) nodes.push(await Node.prepare(name, etcd.port));
    await nodes[0].start();
    await Promise.all(nodes.slice(1).map((node) => node.start()));
    const haproxies = [
      await startHaproxy(nodes, ' on-marked-down shutdown-sessions'),
      await startHaproxy(nodes),
    ] as const;
    const cluster = new PatroniCluster(etcd, haproxies, nodes);
    await cluster.whole();
    const primary = await cluster.primary();
    await query(primary.postgresPort, 'CREATE DATABASE test', { database: 'postgres' });
    return cluster;
  }

  /** Where applications find the primary. */
  get port(): number {
    return this.haproxies[0].port;
  }

  /** The same, but sessions stay that lead to a primary which is none any more. */
  get portOfLastingSessions(): number {
    return this.haproxies[1].port;
  }

  /** Switches between synchronous and asynchronous replication. */
  async synchronous(on: boolean): Promise<void> {
    this.isSynchronousAsked = on;
    const primary = await this.primary();
    await primary.rest('PATCH', '/config', { synchronous_mode: on });
    await until(async () => (await this.isSynchronous()) === on, 30_000, POLL);
    // PostgreSQL follows first. Patroni switches over only to a standby that it has written down as synchronous.
    await until(async () => (await this.members()).some(({ role }) => role === 'sync_standby') === on, 30_000, POLL);
  }

  async primary(): Promise<Node> {
    for (const giveUpAt = Date.now() + 90_000; Date.now() < giveUpAt; await sleep(POLL)) {
      for (const node of this.nodes) if (await node.isPrimary()) return node;
    }
    throw new Error(`there is no primary: ${JSON.stringify(await this.members())}`);
  }

  /** Waits until another node than this is the primary, and takes writes. */
  async successorOf(old: Node): Promise<Node> {
    for (const giveUpAt = Date.now() + 90_000; Date.now() < giveUpAt; await sleep(POLL)) {
      for (const node of this.nodes) if (node !== old && (await node.isPrimary())) return node;
    }
    throw new Error(`${old.name} got no successor: ${JSON.stringify(await this.members())}`);
  }

  /** Waits until there is one primary, and all others follow it. Repairs what does not become so by itself. */
  async whole(): Promise<void> {
    let repairAt = Date.now() + REPAIR_AFTER;
    await until(
      async () => {
        const members = await this.members();
        const leaders = members.filter(({ role }) => role === 'leader');
        const standbys = (await this.standbys()).map(({ name }) => name);
        const isRunning =
          members.length === NAMES.length &&
          leaders.length === 1 &&
          members.every(({ name, role, state }) =>
            role === 'leader'
              ? state === 'running'
              : ['running', 'streaming'].includes(state) && standbys.includes(name),
          );
        // Without one on record, no standby may become the primary.
        const isWhole = isRunning && (!this.isSynchronousAsked || members.some(({ role }) => role === 'sync_standby'));
        if (!isWhole && leaders.length === 1 && Date.now() > repairAt) {
          const [{ name: leader }] = leaders;
          if (isRunning) await this.restartPatroni(leader);
          else await this.reinitialize(NAMES.filter((name) => name !== leader && !standbys.includes(name)));
          repairAt = Date.now() + REPAIR_AFTER;
        }
        return isWhole;
      },
      120_000,
      POLL,
    );
  }

  /**
   * Copies standbys from the primary again. Patroni 3.0 may start PostgreSQL twice as it demotes it, so that pg_rewind fails for a
   * server that runs: its options that remove the data directory then would take it from under that server.
   */
  private async reinitialize(names: readonly NodeName[]): Promise<void> {
    for (const node of this.nodes.filter(({ name }) => names.includes(name))) {
      this.repairs.push(`${node.name} had to be copied again`);
      await node.rest('POST', '/reinitialize', { force: true }).catch(() => undefined);
    }
  }

  /**
   * A Patroni 3.0 that stood still may keep what it has read of etcd before: it finds forever that the record of its synchronous
   * standby was `updated by someone else`. Its PostgreSQL goes on meanwhile.
   */
  private async restartPatroni(name: NodeName): Promise<void> {
    this.repairs.push(`Patroni of ${name} had to be started again`);
    const { patroni } = this.nodes.find((node) => node.name === name)!;
    await patroni.kill();
    await patroni.start();
  }

  /** What Patroni printed last, to find out what has happened. */
  get story(): string {
    return this.nodes.map(({ name, patroni }) => `--- ${name}\n${patroni.output}`).join('\n');
  }

  async dispose(): Promise<void> {
    await Promise.all(this.haproxies.map((haproxy) => haproxy.dispose()));
    await Promise.all(this.nodes.map((node) => node.dispose()));
    await this.etcd.dispose();
  }

  private async isSynchronous(): Promise<boolean> {
    return (await this.standbys()).some(({ state }) => state === 'sync');
  }

  /** Those that follow the primary. */
  private async standbys(): Promise<{ name: string; state: string }[]> {
    const { postgresPort } = await this.primary();
    const sql =
      "SELECT application_name AS name, sync_state AS state FROM pg_stat_replication WHERE state = 'streaming'";
    const rows = await query(postgresPort, sql, { database: 'postgres' }).catch(() => []);
    return rows.map(({ name, state }) => ({ name: String(name), state: String(state) }));
  }

  private async members(): Promise<Member[]> {
    for (const node of this.nodes) {
      const answer = await node.rest('GET', '/cluster').catch(() => undefined);
      if (answer?.status === 200) return (JSON.parse(answer.body) as { members: Member[] }).members;
    }
    return [];
  }
}

async function startEtcd(): Promise<Server> {
  const folder = makeFolder('etcd');
  const peers = await freePort();
  return new Server({
    name: 'etcd',
    folder,
    command: need(ETCD),
    args: (port) => [
      `--data-dir=${join(folder, 'data')}`,
      `--listen-client-urls=http://127.0.0.1:${port}`,
      `--advertise-client-urls=http://127.0.0.1:${port}`,
      `--listen-peer-urls=http://127.0.0.1:${peers}`,
      `--initial-advertise-peer-urls=http://127.0.0.1:${peers}`,
      `--initial-cluster=default=http://127.0.0.1:${peers}`,
    ],
    ready: 'serving insecure client requests',
    stopSignal: 'SIGTERM',
  }).start();
}

async function startHaproxy(nodes: readonly Node[], onMarkedDown = ''): Promise<Server> {
  const folder = makeFolder('haproxy');
  const file = join(folder, 'haproxy.cfg');
  return new Server({
    name: 'haproxy',
    folder,
    command: need(HAPROXY),
    args: (port) => {
      const lines = [
        'global',
        '  maxconn 1000',
        'defaults',
        '  mode tcp',
        '  timeout connect 1s',
        '  timeout client 1h',
        '  timeout server 1h',
        '  timeout check 1s',
        'listen primary',
        `  bind 127.0.0.1:${port}`,
        // No body in its answer: HAProxy resets the connection after the status, and Patroni would log that as an exception.
        '  option httpchk OPTIONS /primary',
        '  http-check expect status 200',
        `  default-server inter 1s fall 2 rise 1${onMarkedDown}`,
        ...nodes.map((node) => `  server ${node.name} 127.0.0.1:${node.postgresPort} check port ${node.restPort}`),
      ];
      writeFileSync(file, `${lines.join('\n')}\n`);
      return ['-W', '-f', file];
    },
    ready: 'Loading success',
    stopSignal: 'SIGTERM',
  }).start();
}

/** Whether the process was there to get it. */
function kill(pid: number | undefined, signal: NodeJS.Signals | 0): boolean {
  try {
    return pid !== undefined && process.kill(pid, signal);
  } catch {
    return false;
  }
}
