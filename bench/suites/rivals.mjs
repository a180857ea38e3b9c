/** A handler that does nothing, with the library and with its rivals. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { answersOnly, fresh } from '../support/keys.mjs';
import { measure, summarizeAll } from '../support/measure.mjs';
import { Stage } from '../support/stage.mjs';

const FOLDER = join(import.meta.dirname, '../rivals');

/** By the file that serves them. */
const RIVALS = {
  'node-idempotency': '@node-idempotency/nestjs',
  'express-idempotency': 'express-idempotency',
  powertools: '@aws-lambda-powertools/idempotency',
};

/**
 * @param {import('../support/measure.mjs').Effort} options
 * @returns {Promise<import('../support/measure.mjs').Suite | undefined>} `undefined` where the rivals
 *   cannot be installed
 */
export async function measureRivals(options) {
  if (!install()) return undefined;
  return Stage.use(options.node, async (stage) => {
    const postgres = await stage.postgres();
    const database = await postgres.createDatabase('bench');
    const on = { platform: /** @type {const} */ ('express'), postgres, database };
    const check = answersOnly(200);
    const variant = (/** @type {string} */ name, /** @type {import('../support/counters.mjs').Place} */ place) => ({
      name,
      place,
      path: '/nothing',
      keys: fresh(name.replaceAll(/\W/g, '')),
      check,
    });
    const variants = [
      variant('bare', await stage.place('bare', on)),
      variant('nestjs-idempotency (PostgreSQL)', await stage.place('ours', on)),
    ];
    for (const [file, name] of Object.entries(RIVALS)) {
      const redis = await stage.redis(1);
      const app = await stage.app(join(FOLDER, `${file}.mjs`), { redisPorts: redis.map(({ port }) => port) });
      variants.push(variant(`${name} (Redis)`, { app, postgres, database: 'bench', redis }));
    }
    return summarizeAll(variants, await measure(variants, options));
  });
}

function install() {
  if (existsSync(join(FOLDER, 'node_modules/.package-lock.json'))) return true;
  const args = ['ci', '--no-audit', '--no-fund', '--loglevel=error', '--ignore-scripts'];
  return spawnSync('npm', args, { cwd: FOLDER, stdio: 'inherit' }).status === 0;
}
