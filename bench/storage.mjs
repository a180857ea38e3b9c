/**
 * `npm run bench:storage`: what records take on disk in PostgreSQL, claimed and completed by the library's own statements:
 * bytes of heap and index, WAL, the share of updates that touch no index, at several fillfactors; and what is left of the
 * space when records have been swept. `--records 50000 --body 300`.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { parseArgs } from 'node:util';
import { DataSource } from 'typeorm';
import { connectorFor } from '../dist/store/connectors/index.js';
import { IDEMPOTENCY_ENTITIES } from '../dist/store/entities/index.js';
import { IDEMPOTENCY_MIGRATIONS } from '../dist/store/migrations/index.js';
import { noSealer } from '../dist/store/sealer.js';
import { SqlRecordStore } from '../dist/store/sql-record-store.js';
import { startPostgres } from '../test/support/servers.mjs';
import { fixed, table } from './support/report.mjs';

const { values } = parseArgs({
  options: { records: { type: 'string', default: '50000' }, body: { type: 'string', default: '300' } },
});
const COUNT = Number(values.records);
const BODY = Number(values.body);
const AT_ONCE = 64;
const HOUR = 3_600_000;

const REQUEST = Buffer.from(
  JSON.stringify({
    method: 'POST',
    path: '/payments',
    mediaType: 'application/json',
    body: { amount: 1250, currency: 'EUR', customer: 'c-1042', reference: 'order 4711, two items' },
  }),
);
const HEAD = Buffer.from(
  JSON.stringify({
    headers: [
      ['Content-Type', 'application/json; charset=utf-8'],
      ['Content-Length', '300'],
      ['ETag', 'W/"12c-bwvmXqRL4dY0Gb1yTLvJXH3bAd8"'],
    ],
  }),
);

/** Different each time. */
const body = () =>
  Buffer.from(JSON.stringify({ id: randomUUID(), text: randomBytes((BODY - 57) >> 1).toString('hex') }));

const server = await startPostgres();
const dataSource = await new DataSource({
  type: 'postgres',
  host: '127.0.0.1',
  port: server.port,
  username: 'postgres',
  database: 'test',
  poolSize: 8,
  entities: [...IDEMPOTENCY_ENTITIES],
  migrations: [...IDEMPOTENCY_MIGRATIONS],
  migrationsRun: true,
}).initialize();
try {
  console.log(
    `${COUNT} records, a request of ${REQUEST.length} bytes, a head of ${HEAD.length}, a body of ${body().length}\n`,
  );
  const rows = [];
  for (const fillfactor of [25, 35, 50, 70, 100]) rows.push(await filled(fillfactor));
  console.log(
    table(['fillfactor', 'heap', 'primary key', 'index on expiry', 'all', 'WAL', 'updates without index'], rows),
  );
  console.log(await reused());
} finally {
  await dataSource.destroy();
  await server.dispose();
}

/** @param {number} fillfactor */
async function filled(fillfactor) {
  await ask('TRUNCATE idempotency_record');
  await ask(`ALTER TABLE idempotency_record SET (fillfactor = ${fillfactor}, autovacuum_enabled = off)`);
  await ask('CHECKPOINT');
  const [{ lsn }] = await ask('SELECT pg_current_wal_lsn() AS lsn');
  const before = await updates();
  await fill(24 * HOUR);
  const [{ wal }] = await ask(`SELECT pg_current_wal_lsn() - '${lsn}' AS wal`);
  const after = await updates();
  const hot = (after.hot - before.hot) / (after.all - before.all);
  const { heap, key, expiry } = await sizes();
  const each = (/** @type {number} */ bytes) => fixed(bytes / COUNT, 0);
  const shown = [heap, key, expiry, heap + key + expiry, Number(wal)].map(each);
  return [String(fillfactor), ...shown, `${fixed(hot * 100, 0)} %`];
}

async function reused() {
  await ask('TRUNCATE idempotency_record');
  await ask('ALTER TABLE idempotency_record SET (fillfactor = 50, autovacuum_enabled = off)');
  const lines = [];
  for (const [what, vacuum] of /** @type {const} */ ([
    ['filled', false],
    ['swept and filled again, not vacuumed', false],
    ['swept, vacuumed and filled again', true],
    ['swept, vacuumed and filled again', true],
  ])) {
    if (lines.length > 0) await sweep();
    if (vacuum) await ask('VACUUM (TRUNCATE off) idempotency_record');
    await fill(1);
    const { heap, key, expiry } = await sizes();
    lines.push([what, ...[heap, key, expiry].map((bytes) => `${fixed(bytes / 2 ** 20, 0)} MiB`)]);
  }
  return table(['', 'heap', 'primary key', 'index on expiry'], lines);
}

async function sweep() {
  const store = storeOf();
  while ((await store.sweep(1_000)) > 0);
}

/** @param {number} retentionMs */
async function fill(retentionMs) {
  const store = storeOf();
  let left = COUNT;
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      while (left-- > 0) {
        const { recordId, owner, token } = await store.claim({
          recordId: randomUUID(),
          owner: randomUUID(),
          endpoint: 'POST /payments',
          route: null,
          scopeDigest: null,
          fingerprint: randomBytes(32),
          binding: null,
          request: REQUEST,
          leaseMs: 30_000,
          retentionMs: Math.max(retentionMs, 1),
          maxAttempts: 5,
          holdOnCrash: false,
          asyncCommit: false,
        });
        await store.complete(
          { recordId, owner, token },
          { outcome: { code: 201, head: HEAD, body: body() }, retentionMs },
        );
      }
    }),
  );
}

function storeOf() {
  const settings = { timeoutMs: 30_000, sealer: noSealer, transactionHost: undefined };
  return new SqlRecordStore(dataSource, connectorFor(dataSource), settings);
}

async function sizes() {
  const [row] = await ask(`SELECT pg_table_size('idempotency_record') AS heap,
    (SELECT pg_relation_size(indexrelid) FROM pg_index WHERE indrelid = 'idempotency_record'::regclass AND indisprimary) AS key,
    (SELECT pg_relation_size(indexrelid) FROM pg_index WHERE indrelid = 'idempotency_record'::regclass AND NOT indisprimary) AS expiry`);
  return { heap: Number(row.heap), key: Number(row.key), expiry: Number(row.expiry) };
}

async function updates() {
  await ask('SELECT pg_stat_force_next_flush()');
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await ask('SELECT pg_stat_clear_snapshot()');
  const [row] = await ask(
    `SELECT n_tup_upd AS all, n_tup_hot_upd AS hot FROM pg_stat_user_tables WHERE relname = 'idempotency_record'`,
  );
  return { all: Number(row.all), hot: Number(row.hot) };
}

/**
 * @param {string} sql
 * @returns {Promise<Record<string, string>[]>}
 */
function ask(sql) {
  return dataSource.query(sql);
}
