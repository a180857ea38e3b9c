/**
 * What a client notices of idempotency beside a handler that takes 5 ms, where the machine is half busy: requests come at fixed
 * times, at half of the rate that the library can serve, whatever the answers do.
 */
import { answersOnly, fresh } from '../support/keys.mjs';
import { measure, median, summarizeAll } from '../support/measure.mjs';
import { Stage } from '../support/stage.mjs';

/** As many as keep the application busy although each handler waits. */
const SATURATING_CONNECTIONS = 64;
const WARM_UP_MS = 6000;
/** How many times the rounds of other suites: here, the median of five rounds differs from run to run by a third. */
const ROUNDS = 2.4;

/**
 * @typedef {object} OpenLoop
 * @property {number} rate requests a second
 * @property {number} addedByFloor to the median of the bare handler, in milliseconds
 * @property {number} addedByOurs
 * @property {number} ratio of the two
 * @property {import('../support/measure.mjs').Suite} suite
 */

/**
 * @param {'express' | 'fastify'} platform
 * @param {import('../support/measure.mjs').Effort} options
 * @returns {Promise<OpenLoop>}
 */
export function measureOpenLoop(platform, options) {
  return Stage.use(options.node, async (stage) => {
    const postgres = await stage.postgres();
    const database = await postgres.createDatabase('bench');
    const on = { platform, postgres, database };
    const bare = await stage.place('bare', on);
    const ours = await stage.place('ours', on);
    const floor = await stage.place('floor', on);

    const saturate = async (/** @type {typeof ours} */ { app }) => {
      const ms = Math.min(WARM_UP_MS, 5 * options.ms);
      const keys = fresh('saturate')(app.port);
      const job = { port: app.port, path: '/paced', connections: SATURATING_CONNECTIONS, warmUpMs: ms, ms, keys };
      return (await options.load.run(job)).perSecond;
    };
    await saturate(bare);
    await saturate(floor);
    const rate = (await saturate(ours)) / 2;

    const all = { path: '/paced', rate, check: answersOnly(201) };
    const variants = [
      { ...all, name: 'bare', place: bare, keys: fresh('bare') },
      { ...all, name: 'floor', place: floor, keys: fresh('floor') },
      { ...all, name: 'ours', place: ours, keys: fresh('ours'), against: 'floor' },
    ];
    const samples = await measure(variants, {
      ...options,
      rounds: Math.ceil(ROUNDS * options.rounds),
      ms: 2 * options.ms,
    });
    const added = (/** @type {string} */ name) => {
      const [of, baseline] = [samples.get(name) ?? [], samples.get('bare') ?? []];
      return of.map(({ p50 }, round) => p50 - baseline[round].p50).slice(1);
    };
    const [byFloor, byOurs] = [added('floor'), added('ours')];
    return {
      rate,
      addedByFloor: median(byFloor),
      addedByOurs: median(byOurs),
      ratio: median(byOurs) / median(byFloor),
      suite: summarizeAll(variants, samples),
    };
  });
}
