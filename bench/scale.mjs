/**
 * `npm run bench:scale`: what a full table costs. Claims and replays with 0, 1 and 10 million records in it, the bytes a
 * record takes, and what the requests notice of the sweeper. `--millions 0,1` for fewer.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { nestApp } from './support/app.mjs';
import { answersOnly, fresh, run } from './support/keys.mjs';
import { Load } from './support/load.mjs';
import { measure, summarize } from './support/measure.mjs';
import { fixed, table } from './support/report.mjs';
import { Stage } from './support/stage.mjs';

const { values } = parseArgs({
  options: {
    millions: { type: 'string', default: '0,1,10' },
    rounds: { type: 'string', default: '5' },
    ms: { type: 'string', default: '1500' },
  },
});
const rounds = Number(values.rounds);
const ms = Number(values.ms);

/** Records written by one statement. */
const PART = 250_000;

/** No sweeper deletes more than that. */
const SWEPT_A_MS = 25;

const FILL = `
  INSERT INTO idempotency_record (id, owner, endpoint, fingerprint, request, status, token, attempt, hold_on_crash, awaited,
    lease_until, created_at, completed_at, expires_at, response_code, response_head, response_body)
  SELECT gen_random_uuid(), gen_random_uuid(), 'POST /charges', sha256(n::text::bytea),
    '{"method":"POST","path":"/charges","mediaType":"application/json","body":{"amount":1250,"currency":"EUR","customer":"c-1042"}}',
    'done', 1, 1, false, false, now(), now(), now(), date_trunc('minute', now() + $2::interval), 201,
    '{"headers":[["Content-Type","application/json; charset=utf-8"],["Content-Length","98"],["ETag","W/62-bwvmXqRL4dY0Gb1yTLvJXH3bAd8"]]}',
    convert_to('{"id":"' || gen_random_uuid() || '","amount":1250,"currency":"EUR","status":"charged"}', 'UTF8')
  FROM generate_series(1, $1::int) n`;

const load = new Load();
try {
  await Stage.use(process.execPath, async (stage) => {
    const postgres = await stage.postgres({ settings: ['--max_wal_size=8GB'] });
    console.log(await sizes(stage, postgres));
    console.log(await sweeping(stage, postgres));
  });
} finally {
  load.close();
}

/**
 * @param {Stage} stage
 * @param {import('./support/postgres.mjs').Postgres} postgres
 */
async function sizes(stage, postgres) {
  /** @type {import('./support/measure.mjs').Variant[]} */
  const variants = [];
  /** @type {string[][]} */
  const bytes = [];
  const names = values.millions.split(',').map((millions) => ({ name: `${millions} million`, count: +millions * 1e6 }));
  for (const [i, { name, count }] of names.entries()) {
    const place = await filled(stage, postgres, `scale${i}`, count);
    const keys = /** @type {const} */ ({ kind: 'cycle', prefix: 'replay', count: 1000 });
    if (count) bytes.push(await bytesOf(postgres, place.database, name));
    await run(place.app, '/charges', keys, load);
    const check = answersOnly(201);
    variants.push({ name: `${name}: fresh`, place, path: '/charges', keys: fresh('fresh'), check });
    variants.push({ name: `${name}: replay`, place, path: '/charges', keys: () => keys, check });
  }
  const samples = await measure(variants, { load, rounds, ms });
  const rows = ['fresh', 'replay'].flatMap((kind) =>
    names.map(({ name }) => {
      const baseline = of(samples, `${names[0].name}: ${kind}`);
      const { ratio, perSecond, p50 } = summarize(of(samples, `${name}: ${kind}`), baseline);
      return [`${kind}, ${name}`, fixed(ratio.p50), fixed(ratio.p99), fixed(perSecond, 0), fixed(p50)];
    }),
  );
  return [
    table(['records in the table', 'p50 to empty', 'p99 to empty', 'requests/s', 'p50 ms'], rows),
    '',
    table(['bytes a record', 'table', 'primary key', 'index on expiry'], bytes),
    '',
  ].join('\n');
}

/**
 * The sweeper of another process deletes expired records, while this one is measured.
 *
 * @param {Stage} stage
 * @param {import('./support/postgres.mjs').Postgres} postgres
 */
async function sweeping(stage, postgres) {
  const place = await filled(stage, postgres, 'sweeping', 0);
  const client = await postgres.connect('sweeping');
  const left = async () => {
    const { rows } = await client.query(
      'SELECT count(*)::int AS count FROM idempotency_record WHERE expires_at < now()',
    );
    return /** @type {number} */ (rows[0].count);
  };
  /** @type {import('./support/app.mjs').App | undefined} */
  let sweeper;
  const ended = async () => {
    if (sweeper && !(await left())) throw new Error('The sweeper was done before the measurement');
    while (await left()) await sleep(200);
    await sweeper?.stop();
    sweeper = undefined;
  };
  const begin = async () => {
    await ended();
    await fill(postgres, 'sweeping', ms * SWEPT_A_MS, '-1 hour');
    sweeper = await records(stage, postgres, 'sweeping', { sweep: { every: '50ms' } });
  };
  const variant = { place, path: '/charges', check: answersOnly(201) };
  const variants = [
    { ...variant, name: 'quiet', keys: fresh('quiet'), prepare: ended },
    { ...variant, name: 'sweeping', keys: fresh('sweeping'), prepare: begin },
  ];
  const samples = await measure(variants, { load, rounds, ms });
  await ended();
  await client.end();
  const { ratio } = summarize(of(samples, 'sweeping'), of(samples, 'quiet'));
  return (
    `While the sweeper deletes: ${fixed(ratio.perSecond)} of the requests a second without it, ` +
    `p50 ${fixed(ratio.p50)}, p99 ${fixed(ratio.p99)} of those without it.`
  );
}

/**
 * A database with so many records of other requests in it, and an application on it.
 *
 * @param {Stage} stage
 * @param {import('./support/postgres.mjs').Postgres} postgres
 * @param {string} database
 * @param {number} count
 */
async function filled(stage, postgres, database, count) {
  await postgres.createDatabase(database);
  const app = await records(stage, postgres, database);
  const startedAt = performance.now();
  await fill(postgres, database, count, '1 day');
  if (count) console.log(`${count} records written in ${fixed((performance.now() - startedAt) / 1000, 0)} s`);
  return { app, postgres, database };
}

/**
 * @param {Stage} stage
 * @param {import('./support/postgres.mjs').Postgres} postgres
 * @param {string} database
 * @param {object} [module] further options
 */
async function records(stage, postgres, database, module) {
  return stage.app(await nestApp('records'), { platform: 'express', database: postgres.options(database), module });
}

/**
 * Writes finished records as the route of the bench leaves them, in the order in which they come: that of their ids is
 * random, so that indexes grow as they do in service.
 *
 * @param {import('./support/postgres.mjs').Postgres} postgres
 * @param {string} database
 * @param {number} count
 * @param {string} expiresIn
 */
async function fill(postgres, database, count, expiresIn) {
  const client = await postgres.connect(database);
  try {
    await client.query('SET synchronous_commit = off');
    for (let left = count; left > 0; left -= PART) {
      await client.query(FILL, [Math.min(PART, Math.round(left)), expiresIn]);
    }
    if (count > PART) await client.query('VACUUM ANALYZE idempotency_record');
  } finally {
    await client.end();
  }
}

/**
 * @param {import('./support/postgres.mjs').Postgres} postgres
 * @param {string} database
 * @param {string} name
 */
async function bytesOf(postgres, database, name) {
  const client = await postgres.connect(database);
  try {
    const { rows } = await client.query(`
      SELECT pg_table_size('idempotency_record')::float8 AS table, (SELECT count(*)::float8 FROM idempotency_record) AS count`);
    const indexes = await client.query(`
      SELECT pg_relation_size(indexrelid)::float8 AS size FROM pg_index
      WHERE indrelid = 'idempotency_record'::regclass ORDER BY indisprimary DESC`);
    const [{ table: heap, count }] = rows;
    return [name, fixed(heap / count, 0), ...indexes.rows.map(({ size }) => fixed(size / count, 0))];
  } finally {
    await client.end();
  }
}

/**
 * @param {Map<string, import('./support/measure.mjs').Sample[]>} samples
 * @param {string} name
 */
function of(samples, name) {
  return /** @type {import('./support/measure.mjs').Sample[]} */ (samples.get(name));
}
