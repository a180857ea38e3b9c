/** The same on a disk whose flush takes 2 ms more: there commits decide. */
import { answersOnly, fresh } from '../support/keys.mjs';
import { measure } from '../support/measure.mjs';
import { compileSlowDisk } from '../support/slow-disk.mjs';
import { Stage } from '../support/stage.mjs';

/**
 * @param {{ load: import('../support/load.mjs').Load, rounds: number, ms: number }} options
 * @returns {Promise<Map<string, import('../support/measure.mjs').Sample[]> | undefined>} `undefined` without a compiler
 */
export async function measureSlowDisk(options) {
  const preload = compileSlowDisk();
  if (!preload) return undefined;
  return Stage.use(async (stage) => {
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
    return measure(variants, options);
  });
}
