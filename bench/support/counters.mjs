import { cpuOf } from './cpu.mjs';

/**
 * What the processes and servers of a variant have used so far, by their own statistics.
 *
 * @typedef {object} Counters
 * @property {number} appCpu microseconds
 * @property {number} databaseCpu
 * @property {number} redisCpu
 * @property {number} commits all of them, reading ones too
 * @property {number} writeCommits transactions that wrote, or tried to
 * @property {number} walBytes
 * @property {number} flushes of the write-ahead log
 * @property {number} statements while {@link countStatements} is on
 * @property {number} redisCommands
 */

/**
 * @typedef {object} Place where a variant runs
 * @property {import('./app.mjs').App} app
 * @property {import('./postgres.mjs').Postgres} postgres
 * @property {string} database
 * @property {readonly Redis[]} [redis]
 */

/** @typedef {{ pid: number, client: import('ioredis').Redis }} Redis */

// xmax of a snapshot is the next transaction id to be given out: only a transaction that writes takes one.
const READ = `
  SELECT d.xact_commit::float8 AS commits,
    pg_snapshot_xmax(pg_current_snapshot())::text::float8 AS "writeCommits",
    (pg_current_wal_insert_lsn() - '0/0')::float8 AS "walBytes",
    (SELECT sum(fsyncs)::float8 FROM pg_stat_io WHERE object = 'wal') AS flushes,
    (SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements s WHERE s.dbid = d.datid) AS statements
  FROM pg_stat_database d WHERE d.datname = $1`;

/**
 * @param {Place} place
 * @returns {Promise<Counters>}
 */
async function read({ app, postgres, database, redis = [] }) {
  const [row] = await postgres.query(READ, [database]);
  const commands = await Promise.all(redis.map(({ client }) => commandsOf(client)));
  return {
    appCpu: cpuOf(app.pid),
    databaseCpu: cpuOf(postgres.pid, { children: true }),
    redisCpu: redis.reduce((sum, { pid }) => sum + cpuOf(pid), 0),
    redisCommands: commands.reduce((sum, one) => sum + one, 0),
    .../** @type {any} */ (row),
  };
}

/** @param {import('ioredis').Redis} client */
async function commandsOf(client) {
  const stats = await client.info('commandstats');
  return [...stats.matchAll(/^cmdstat_(?!info)[^:]+:calls=(\d+)/gm)].reduce((sum, [, calls]) => sum + Number(calls), 0);
}

/**
 * Runs `work` and tells what it has used.
 *
 * @template T
 * @param {Place} place
 * @param {() => Promise<T>} work
 * @returns {Promise<{ result: T, used: Counters }>}
 */
export async function counting(place, work) {
  await place.app.ask({ ask: 'publish' });
  const before = await read(place);
  const result = await work();
  const { statements: ours = 0 } = await place.app.ask({ ask: 'publish' });
  const after = await read(place);
  const names = /** @type {(keyof Counters)[]} */ (Object.keys(after));
  const used = /** @type {Counters} */ (Object.fromEntries(names.map((name) => [name, after[name] - before[name]])));
  // Those that asked for the statistics themselves.
  used.commits -= ours;
  used.statements = Math.max(0, used.statements - ours);
  return { result, used };
}

/**
 * Statements are counted only on request, as counting them takes time.
 *
 * @param {import('./postgres.mjs').Postgres} postgres
 * @param {boolean} on
 */
export async function countStatements(postgres, on) {
  await postgres.query(`ALTER SYSTEM SET pg_stat_statements.track = ${on ? 'top' : 'none'}`);
  await postgres.query('SELECT pg_reload_conf()');
}
