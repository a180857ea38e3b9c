/** Requests and answers of 32 KB and of 256 KB: the least that a body costs is to be hashed, stored and read again. */
import { answersOnly, fresh } from '../support/keys.mjs';
import { measure, summarizeAll } from '../support/measure.mjs';
import { Stage } from '../support/stage.mjs';

/** Of a body, in KB; the smallest is that of the other suites. The warm-up begins with the last one. */
const SIZES = [256, 32, 0.1];

/** Fewer than for small bodies: each round would otherwise consist of requests that it does not see answered. */
const CONNECTIONS = 8;

/**
 * @param {'express' | 'fastify'} platform
 * @param {import('../support/measure.mjs').Effort} options
 */
export function measureBodies(platform, options) {
  return Stage.use(options.node, async (stage) => {
    const postgres = await stage.postgres();
    const database = await postgres.createDatabase('bench');
    const on = { platform, postgres, database };
    const places = {
      bare: await stage.place('bare', on),
      // Before the floor, whose table it makes.
      ours: await stage.place('ours', on),
      floor: await stage.place('floor', on),
    };
    /** @type {import('../support/measure.mjs').Variant[]} */
    const variants = SIZES.flatMap((size) =>
      /** @type {const} */ (['bare', 'floor', 'ours']).map((name) => ({
        name: `${size} KB: ${name}`,
        place: places[name],
        path: '/orders',
        keys: fresh(`${name}${size}-`),
        connections: CONNECTIONS,
        body: bodyOf(size * 1024),
        check: answersOnly(201),
        ...(name === 'ours' && { against: `${size} KB: floor` }),
      })),
    );
    const samples = await measure(variants, options);
    return summarizeAll(variants, samples, (name) => name.replace(/: .*/, ': bare'));
  });
}

/**
 * An order with as many lines as make it as long as that.
 *
 * @param {number} bytes
 */
function bodyOf(bytes) {
  const order = { amount: 1250, currency: 'EUR', customer: 'c-1042' };
  /** @type {object[]} */
  const lines = [];
  for (let length = JSON.stringify({ ...order, lines }).length; length < bytes;) {
    const line = { sku: `sku-${(lines.length * 7919) % 100_003}`, name: 'Ærtesuppe, 500 g', quantity: 2, price: 4.95 };
    lines.push(line);
    length += JSON.stringify(line).length + 1;
  }
  return JSON.stringify({ ...order, lines });
}
