import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import mysql from 'mysql2/promise';
import { MARIADB, MARIADB_INSTALL, need } from '../../support/binaries.mjs';
import { makeFolder, Server } from '../../support/servers.mjs';
import { until } from '../../support/until.js';
import { Network } from './network.js';

/** Where Debian puts libraries, which are no executables. */
const PROVIDER = '/usr/lib/galera/libgalera_smm.so';
const FAKETIME = `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu/faketime/libfaketimeMT.so.1`;

const NODES = 3;
/** How exactly a clock is read through a statement, in milliseconds. */
const CLOCK_TOLERANCE_MS = 100;
/** Of Debian's package. The copying of data from node to node does not work as root. */
const USER = 'mysql';

/** Shorter than Galera's, so that a node that is gone is noticed within two seconds. */
const PROVIDER_OPTIONS = [
  'evs.keepalive_period=PT0.5S',
  'evs.suspect_timeout=PT1.5S',
  'evs.inactive_check_period=PT0.5S',
  'evs.inactive_timeout=PT3S',
  'evs.install_timeout=PT3S',
  'gcache.size=32M',
].join(';');

/** How a test reaches a node, and the database that the applications use. */
const ACCOUNT = { user: 't', password: 't', database: 'test' } as const;

/** Three nodes of MariaDB Galera, all of which take writes. */
export class Galera {
  readonly nodes: GaleraNode[] = [];

  private constructor(readonly network: Network) {}

  /** @param clocks how far ahead the clocks of the nodes are, in milliseconds */
  static async start(clocks: readonly number[] = []): Promise<Galera> {
    const galera = new Galera(new Network(NODES));
    for (let number = 1; number <= NODES; number++) {
      const node = new GaleraNode(number, clocks[number - 1] ?? 0);
      galera.nodes.push(node);
      await node.start(number === 1);
    }
    return galera;
  }

  /** Certification failures and transactions undone for another node's, since each of the nodes started. */
  private conflictsOfNodes(): Promise<number[]> {
    const names = ['wsrep_local_cert_failures', 'wsrep_local_bf_aborts'];
    const of = async (node: GaleraNode) => {
      const counts = await Promise.all(names.map((name) => node.status(name).then(Number, () => 0)));
      return counts.reduce((one, other) => one + other, 0);
    };
    return Promise.all(this.nodes.map(of));
  }

  /** Counts conflicts from now on. A node that was restarted meanwhile counts from its start. */
  async countConflicts(): Promise<() => Promise<number>> {
    const before = await this.conflictsOfNodes();
    return async () => {
      const after = await this.conflictsOfNodes();
      return after.reduce((sum, count, i) => sum + (count < before[i] ? count : count - before[i]), 0);
    };
  }

  /** Waits until all nodes take statements again. */
  async heal(): Promise<void> {
    await until(async () => (await Promise.all(this.nodes.map((node) => node.isSynced()))).every(Boolean), 60_000);
  }

  async dispose(): Promise<void> {
    await Promise.all(this.nodes.map((node) => node.dispose()));
  }
}

export class GaleraNode {
  readonly host: string;
  readonly port = 3306;
  private readonly folder: string;
  private readonly data: string;
  private server: Server | undefined;
  /** Whether it begins a cluster, instead of joining one. */
  private founds = false;

  /** @param ahead of its clock, in milliseconds */
  constructor(
    readonly number: number,
    ahead: number,
  ) {
    this.host = Network.addressOf(number);
    this.folder = makeFolder(`galera${number}`);
    this.data = join(this.folder, 'data');
    writeFileSync(join(this.folder, 'clock'), offset(ahead));
  }

  /** Starts the node: with the data it has, or with a copy of another's. */
  async start(isFirst = false): Promise<void> {
    if (!this.server) {
      mkdirSync(this.data);
      execFileSync('chown', ['-R', USER, this.folder]);
      if (isFirst) install(this.data);
    }
    this.founds = isFirst;
    this.server ??= new Server({
      name: `node ${this.number}`,
      folder: this.folder,
      command: 'ip',
      args: () => this.command(),
      ready: 'ready for connections',
      stopSignal: 'SIGTERM',
      options: {
        env: {
          ...process.env,
          LD_PRELOAD: FAKETIME,
          FAKETIME_TIMESTAMP_FILE: join(this.folder, 'clock'),
          FAKETIME_DONT_FAKE_MONOTONIC: '1',
          FAKETIME_CACHE_DURATION: '1',
        },
      },
    });
    await this.server.start();
    await until(() => this.isSynced(), 60_000);
  }

  stop(): Promise<void> {
    return this.server!.stop();
  }

  kill(): Promise<void> {
    return this.server!.kill();
  }

  pause(): void {
    this.server!.pause();
  }

  resume(): void {
    this.server!.resume();
  }

  /** Sets the node's clock ahead. Resolves once the node goes by it: libfaketime looks from time to time. */
  async setClock(ahead: number): Promise<void> {
    writeFileSync(join(this.folder, 'clock'), offset(ahead));
    const sql = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) / 1000 AS now";
    await until(async () => Math.abs(Number((await this.query(sql))[0].now) - Date.now() - ahead) < CLOCK_TOLERANCE_MS);
  }

  async dispose(): Promise<void> {
    await this.server?.dispose();
  }

  /** What the first node does as it starts; the others get it by copy. */
  private init(): string {
    const path = join(this.folder, 'init.sql');
    const { user, password, database } = ACCOUNT;
    const statements = [
      `CREATE DATABASE IF NOT EXISTS ${database} CHARACTER SET utf8mb4;`,
      `CREATE USER IF NOT EXISTS ${user}@'%' IDENTIFIED BY '${password}';`,
      `GRANT ALL ON *.* TO ${user}@'%' WITH GRANT OPTION;`,
    ];
    writeFileSync(path, statements.join('\n'));
    return path;
  }

  /** For an application. */
  get options() {
    const { user: username, password, database } = ACCOUNT;
    return { type: 'mariadb' as const, host: this.host, port: this.port, username, password, database };
  }

  connect(): Promise<mysql.Connection> {
    return mysql.createConnection({ host: this.host, port: this.port, ...ACCOUNT });
  }

  async query(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    const connection = await this.connect();
    try {
      return (await connection.query(sql, values))[0] as Record<string, unknown>[];
    } finally {
      connection.destroy();
    }
  }

  async status(name: string): Promise<string> {
    const [row] = await this.query('SHOW GLOBAL STATUS LIKE ?', [name]);
    return String(row.Value);
  }

  /**
   * Has the node apply nothing of the others until what it returns is called: it answers from the past, and what it commits itself
   * waits. The others do not wait for it.
   *
   * @param other a node by which to put something in its way
   */
  async lag(other: GaleraNode): Promise<() => Promise<void>> {
    await other.query('CREATE TABLE IF NOT EXISTS obstacle (id int PRIMARY KEY AUTO_INCREMENT)');
    await until(() => this.query('SELECT 1 FROM obstacle').catch(() => undefined));
    const holding = await this.connect();
    await holding.query('SET GLOBAL wsrep_desync = ON');
    await holding.query('LOCK TABLES obstacle READ');
    await other.query('INSERT INTO obstacle VALUES ()');
    return async () => {
      await holding.query('UNLOCK TABLES');
      await holding.query('SET GLOBAL wsrep_desync = OFF');
      holding.destroy();
      await until(() => this.isSynced());
    };
  }

  async isSynced(): Promise<boolean> {
    return (await this.status('wsrep_local_state_comment').catch(() => '')) === 'Synced';
  }

  private command(): string[] {
    const all = Array.from({ length: NODES }, (_, i) => Network.addressOf(i + 1));
    const peers = this.founds ? [] : all.filter((one) => one !== this.host);
    return [
      'netns',
      'exec',
      Network.nameOf(this.number),
      need(MARIADB),
      '--no-defaults',
      `--user=${USER}`,
      `--datadir=${this.data}`,
      ...(this.founds ? [`--init-file=${this.init()}`] : []),
      `--socket=${this.folder}/socket`,
      `--pid-file=${this.folder}/pid`,
      `--port=${this.port}`,
      '--bind-address=0.0.0.0',
      '--skip-name-resolve',
      '--character-set-server=utf8mb4',
      '--max-connections=200',
      '--innodb-buffer-pool-size=32M',
      '--innodb-flush-log-at-trx-commit=2',
      '--innodb-autoinc-lock-mode=2',
      '--binlog-format=ROW',
      '--wsrep-on=ON',
      `--wsrep-provider=${PROVIDER}`,
      `--wsrep-provider-options=${PROVIDER_OPTIONS}`,
      '--wsrep-cluster-name=test',
      `--wsrep-cluster-address=gcomm://${peers.join(',')}`,
      `--wsrep-node-address=${this.host}`,
      '--wsrep-sst-method=rsync',
      '--wsrep-slave-threads=1',
    ];
  }
}

function install(data: string): void {
  const args = ['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal', '--skip-test-db'];
  execFileSync(need(MARIADB_INSTALL), [...args, `--user=${USER}`], { stdio: 'ignore' });
}

/** As libfaketime reads it. */
function offset(ms: number): string {
  return `${ms < 0 ? '' : '+'}${(ms / 1_000).toFixed(3)}`;
}
