/** How long after the first response those that waited for it, in the same process or in another, get theirs. */
import { send } from '../support/keys.mjs';
import { median } from '../support/measure.mjs';
import { Stage } from '../support/stage.mjs';

const OPERATION_MS = 40;
const BODY = JSON.stringify({ ms: OPERATION_MS });

/**
 * @param {{ rounds: number, node: string }} options
 * @returns {Promise<Record<string, { one: number, oneWorst: number, fifty: number }>>} by channel, in milliseconds
 */
export function measureWakeUps({ rounds, node }) {
  return Stage.use(node, async (stage) => {
    const postgres = await stage.postgres();
    const database = await postgres.createDatabase('bench');
    const redis = await stage.redis(1);
    const on = { platform: /** @type {const} */ ('fastify'), postgres, database };
    const [a, b, withRedisA, withRedisB] = [
      await stage.place('ours', on),
      await stage.place('ours', on),
      await stage.place('ours', { ...on, redis }),
      await stage.place('ours', { ...on, redis }),
    ].map(({ app }) => app);
    const channels = /** @type {const} */ ([
      ['PostgreSQL NOTIFY', a, b],
      ['Redis', withRedisA, withRedisB],
      ['in-process', a, a],
    ]);
    /** @type {Record<string, { one: number, oneWorst: number, fifty: number }>} */
    const found = {};
    for (const [name, first, second] of channels) {
      /** @type {number[]} */
      const one = [];
      /** @type {number[]} */
      const fifty = [];
      for (let round = -3; round < rounds; round++) {
        const [latency] = await wakeUp(first, second, `${name}${round}-1-`, 1);
        if (round >= 0) one.push(latency);
      }
      for (let round = -1; round < 3; round++) {
        const latencies = await wakeUp(first, second, `${name}${round}-50-`, 50);
        if (round >= 0) fifty.push(...latencies);
      }
      found[name] = { one: median(one), oneWorst: Math.max(...one), fifty: median(fifty) };
    }
    return found;
  });
}

/**
 * @param {import('../support/app.mjs').App} first
 * @param {import('../support/app.mjs').App} second
 * @param {string} key
 * @param {number} waiters
 */
async function wakeUp(first, second, key, waiters) {
  const name = key.replaceAll(' ', '-');
  const running = arrival(first, name);
  await new Promise((resolve) => setTimeout(resolve, 10));
  const waited = await Promise.all(Array.from({ length: waiters }, () => arrival(second, name)));
  const firstAt = Math.min(await running, ...waited);
  return waited.map((at) => at - firstAt);
}

/**
 * @param {import('../support/app.mjs').App} app
 * @param {string} key
 */
async function arrival(app, key) {
  const response = await send(app, '/awaited', key, BODY);
  if (response.status !== 201) throw new Error(`/awaited answered ${response.status}`);
  await response.arrayBuffer();
  return performance.now();
}
