/**
 * `npm run bench:memory`: what slow clients, keys in flight and waiters hold, whether it is given back, and whether requests
 * leave anything behind. Fails where a bound is broken. `--full`: a million requests instead of 100,000. `--only slow`,
 * `--only keys` and `--only growth` measure a part, `--platform` one of the two.
 */
import { parseArgs } from 'node:util';
import { nestApp } from './support/app.mjs';
import { Load } from './support/load.mjs';
import { broken, endInEveryWay, SCENARIOS } from './support/memory.mjs';
import { fixed, table } from './support/report.mjs';
import { Stage } from './support/stage.mjs';

const { values } = parseArgs({
  options: {
    full: { type: 'boolean', default: false },
    only: { type: 'string' },
    platform: { type: 'string' },
    clients: { type: 'string', default: '1000' },
    keys: { type: 'string', default: '100000' },
    waiters: { type: 'string', default: '10000' },
  },
});
const requests = values.full ? 1_000_000 : 100_000;
const PARTS = 10;

/** The bounds, in bytes. */
const MOST_FOR_A_KEY = 8_192;
const MOST_FOR_A_WAITER = 6_144;
const MOST_LEFT_BEHIND = 64;
const MOST_GROWTH = 8;

/** @type {string[]} */
const problems = [];

/** @param {import('./support/postgres.mjs').Postgres} postgres */
async function slowClients(postgres, /** @type {Stage} */ stage) {
  for (const platform of values.platform ? [values.platform] : ['express', 'fastify']) {
    const database = await postgres.createDatabase(platform);
    const settings = { platform, database, logger: false };
    const app = await stage.app(await nestApp('memory'), settings, { execArgv: ['--expose-gc'] });
    /** @type {string[][]} */
    const rows = [];
    for (const scenario of SCENARIOS) {
      // Compiles the code, and makes tables grow.
      await scenario.run(app, 20);
      const measured = await scenario.run(app, Number(values.clients));
      const { clients, each, bare, left } = measured;
      rows.push([scenario.name, ...[clients, bare, each, scenario.bound, left].map((value) => fixed(value, 0))]);
      problems.push(...broken(scenario, measured).map((problem) => `${platform}: ${problem}`));
    }
    console.log(`\nOn ${platform}, a client that:`);
    console.log(table(['', 'clients', 'bare handler, bytes', 'more with the library', 'at most', 'left behind'], rows));
    const left = Object.entries(await endInEveryWay(app, 100));
    console.log(left.length === 0 ? 'However requests end, nothing of them is left.' : left);
    problems.push(...left.map(([way, kept]) => `${platform}: ${way}: ${JSON.stringify(kept)} left`));
  }
}

/** @param {import('./support/postgres.mjs').Postgres} postgres */
async function keysAndWaiters(postgres, /** @type {Stage} */ stage) {
  const database = await postgres.createDatabase('keys');
  const start = async () =>
    stage.app(
      await nestApp('records'),
      { platform: 'fastify', database, module: { lease: '10m' } },
      { execArgv: ['--expose-gc'] },
    );
  const app = await start();
  const other = await start();

  /** @type {string[][]} */
  const rows = [];
  const hold = async (
    /** @type {string} */ name,
    /** @type {number} */ count,
    /** @type {boolean} */ same,
    /** @type {boolean} */ elsewhere,
  ) => {
    const prefix = name.replaceAll(/\W/g, '');
    // Compiles the code, and lets the pools grow.
    await app.ask({ ask: 'hold', prefix: `${prefix}warm`, count: 2000, same: false });
    const before = await app.ask({ ask: 'finish' });
    if (elsewhere) await other.ask({ ask: 'hold', prefix, count: 1, same: true });
    const held = elsewhere
      ? await app.ask({ ask: 'wait', prefix, count })
      : await app.ask({ ask: 'hold', prefix, count, same });
    if (elsewhere) await other.ask({ ask: 'finish' });
    const after = await app.ask({ ask: 'finish' });
    const each = (held.bytes - before.bytes) / count;
    const left = (after.bytes - before.bytes) / count;
    const most = same ? MOST_FOR_A_WAITER : MOST_FOR_A_KEY;
    rows.push([name, String(count), fixed(each, 0), String(most), fixed(left, 0)]);
    if (each > most) problems.push(`${name}: ${fixed(each, 0)} bytes each, at most ${most}`);
    if (left > MOST_LEFT_BEHIND) problems.push(`${name}: ${fixed(left, 0)} bytes left behind by each`);
  };
  await hold('keys in flight', Number(values.keys), false, false);
  await hold('waiters for a key, in-process', Number(values.waiters), true, false);
  await hold('waiters for a key that runs elsewhere', Number(values.waiters), true, true);
  console.log(`\n${table(['', 'count', 'bytes each', 'at most', 'left behind, each'], rows)}`);
}

/** @param {import('./support/postgres.mjs').Postgres} postgres */
async function growth(postgres, /** @type {Stage} */ stage) {
  const database = await postgres.createDatabase('growth');
  const app = await stage.app(
    await nestApp('records'),
    { platform: 'fastify', database },
    { execArgv: ['--expose-gc'] },
  );
  const load = new Load();
  try {
    console.log(`\n${requests} requests, memory after each tenth of them (after garbage collection):`);
    /** @type {number[]} */
    const sizes = [];
    for (let part = 0; part <= PARTS; part++) {
      const keys = /** @type {const} */ ({ kind: 'fresh', prefix: `growth${part}-` });
      const count = requests / PARTS;
      await load.run({
        port: app.port,
        path: '/charges',
        connections: 32,
        warmUpMs: 0,
        ms: 0,
        requests: count,
        keys,
      });
      const { bytes } = await app.ask({ ask: 'memory' });
      // The first part warms up.
      if (part > 0) sizes.push(bytes);
    }
    console.log(sizes.map((size) => fixed(size / 2 ** 20, 1)).join('  '), 'MiB');
    const bytes = (sizes[PARTS - 1] - sizes[0]) / (requests * ((PARTS - 1) / PARTS));
    console.log(`growth: ${fixed(bytes, 1)} bytes a request`);
    if (bytes > MOST_GROWTH) problems.push(`growth: ${fixed(bytes, 1)} bytes a request, at most ${MOST_GROWTH}`);
  } finally {
    load.close();
  }
}

const parts = { slow: slowClients, keys: keysAndWaiters, growth };
await Stage.use(process.execPath, async (stage) => {
  const postgres = await stage.postgres({ settings: ['--synchronous_commit=off'] });
  for (const [name, measure] of Object.entries(parts)) {
    if (values.only === undefined || values.only === name) await measure(postgres, stage);
  }
});
console.log(problems.length === 0 ? '\nAll bounds hold.' : `\nBroken:\n${problems.join('\n')}`);
process.exitCode = problems.length === 0 ? 0 : 1;
