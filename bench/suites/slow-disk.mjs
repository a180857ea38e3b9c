/** The same on a disk whose flush takes 2 ms more: there commits decide. */
import { answersOnly, fresh } from '../support/keys.mjs';
import { measure, summarizeAll } from '../support/measure.mjs';
import { compileSlowDisk } from '../support/slow-disk.mjs';
import { Stage } from '../support/stage.mjs';

/**
 * @param {import('../support/measure.mjs').Effort} options
 * @returns {Promise<import('../support/measure.mjs').Suite | undefined>} `undefined` without a compiler
 */
export async function measureSlowDisk(options) {
  const preload = compileSlowDisk();
  if (!preload) return undefined;
  return Stage.use(options.node, async (stage) => {
    const postgres = await stage.postgres({ preload });
    const database = await postgres.createDatabase('bench');
    const check = answersOnly(201);
    /** @type {import('../support/measure.mjs').Variant[]} */
    const variants = [];
    for (const platform of /** @type {const} */ (['express', 'fastify'])) {
      const bare = await stage.place('bare', { platform, postgres, database });
      const ours = await stage.place('ours', { platform, postgres, database });
      const add = (
        /** @type {string} */ name,
        /** @type {typeof bare} */ place,
        /** @type {string} */ path,
        /** @type {number} */ connections,
      ) => {
        const keys = fresh(`${platform}${name.replaceAll(/\W/g, '')}${connections}`);
        variants.push({ name: `${platform}, ${connections}: ${name}`, place, path, keys, connections, check });
      };
      add('bare', bare, '/charges', 64);
      add('fresh', ours, '/charges', 64);
      if (platform === 'fastify') continue;
      add('bare', bare, '/charges', 1);
      add('fresh', ours, '/charges', 1);
      add('transactional', ours, '/transactional', 1);
    }
    const samples = await measure(variants, options);
    return summarizeAll(variants, samples, (name) => name.replace(/: .*/, ': bare'));
  });
}
