/** Promises, timers and bytes of each kind of request. */
import { anatomyOf, KINDS, prepareDuplicates } from '../support/anatomy.mjs';
import { CONNECTIONS } from '../support/measure.mjs';
import { Stage } from '../support/stage.mjs';

/**
 * @typedef {import('../support/anatomy.mjs').Kind} Kind
 * @typedef {Awaited<ReturnType<typeof anatomyOf>>} Found
 */

export const APPS = ['bare', 'floor', 'ours', 'floor with one Redis', 'ours with one Redis'];
export const ALL_KINDS = /** @type {Kind[]} */ (Object.keys(KINDS));

const WARM_UP = 4000;
export const REQUESTS = 4000;

/**
 * @param {'express' | 'fastify'} platform
 * @param {object} options
 * @param {import('../support/load.mjs').Load} options.load
 * @param {string} options.node path of the Node that applications run on
 * @param {readonly string[]} [options.apps]
 * @param {readonly Kind[]} [options.kinds]
 * @param {number} [options.connections]
 * @param {number} [options.requests]
 * @returns {Promise<Record<string, Found>>} by kind and application, as "fresh: ours"
 */
export function measureAnatomy(platform, { load, node, ...options }) {
  const { apps = APPS, kinds = ALL_KINDS, connections = CONNECTIONS, requests = REQUESTS } = options;
  const counts = { connections, requests, warmUp: Math.min(WARM_UP, requests) };
  return Stage.use(node, async (stage) => {
    const postgres = await stage.postgres();
    const database = await postgres.createDatabase('bench');
    const on = { platform, postgres, database };
    // Before the floor, whose table it makes.
    const ours = await stage.place('ours', on);
    const placeOf = async (/** @type {string} */ name) => {
      if (name === 'ours') return ours;
      const [app, withRedis] = name.split(' with one ');
      const redis = withRedis ? await stage.redis(1) : [];
      return stage.place(/** @type {'bare' | 'floor' | 'ours'} */ (app), { ...on, redis });
    };
    /** @type {[string, Found][]} */
    const found = [];
    for (const name of apps) {
      const { app } = await placeOf(name);
      const bare = name === 'bare';
      if (!bare) await prepareDuplicates(app, load);
      for (const kind of kinds) found.push([`${kind}: ${name}`, await anatomyOf(app, load, kind, { ...counts, bare })]);
    }
    const orderOf = (/** @type {string} */ name) => kinds.findIndex((kind) => name.startsWith(`${kind}:`));
    return Object.fromEntries(found.sort(([a], [b]) => orderOf(a) - orderOf(b)));
  });
}
