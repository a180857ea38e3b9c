/**
 * `npm run bench:memory`: what keys in flight and waiters take, whether it is given back, and whether requests leave
 * anything behind. `--full`: a million requests in place of 100,000.
 */
import { parseArgs } from 'node:util';
import { nestApp } from './support/app.mjs';
import { Load } from './support/load.mjs';
import { fixed, table } from './support/report.mjs';
import { Stage } from './support/stage.mjs';

const { values } = parseArgs({
  options: {
    full: { type: 'boolean', default: false },
    keys: { type: 'string', default: '100000' },
    waiters: { type: 'string', default: '1000' },
  },
});
const requests = values.full ? 1_000_000 : 100_000;
const PARTS = 10;

const load = new Load();
try {
  await Stage.use(process.execPath, async (stage) => {
    const postgres = await stage.postgres({ settings: ['--synchronous_commit=off'] });
    const database = await postgres.createDatabase('bench');
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
      rows.push([
        name,
        String(count),
        fixed((held.bytes - before.bytes) / count, 0),
        fixed((after.bytes - before.bytes) / count, 0),
      ]);
    };
    await hold('keys in flight', Number(values.keys), false, false);
    await hold('waiters for a key, in-process', Number(values.waiters), true, false);
    await hold('waiters for a key that runs elsewhere', Number(values.waiters), true, true);
    console.log(table(['', 'count', 'bytes each', 'left behind, each'], rows));

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
    const growth = (sizes[PARTS - 1] - sizes[0]) / (requests * ((PARTS - 1) / PARTS));
    console.log(`growth: ${fixed(growth, 1)} bytes a request`);
  });
} finally {
  load.close();
}
