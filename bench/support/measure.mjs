import { counting } from './counters.mjs';

/**
 * One way to serve a request.
 *
 * @typedef {object} Variant
 * @property {string} name
 * @property {import('./counters.mjs').Place} place
 * @property {string} path
 * @property {(round: number) => import('./load-generator.mjs').Keys} keys
 * @property {number} [connections]
 * @property {number} [rate] requests a second, at fixed times
 * @property {string} [against] the name of a variant to compare with, beside the baseline
 * @property {string} [body]
 * @property {(round: number) => Promise<unknown>} [prepare] before each measurement
 * @property {(measured: import('./load-generator.mjs').Measured) => void} [check] throws if the answers are not right
 */

/**
 * What one measurement found: of the counters a request's share.
 *
 * @typedef {{ perSecond: number, p50: number, p99: number } & import('./counters.mjs').Counters} Sample
 *
 * @typedef {Sample & { ratio: Sample }} Summary medians, and medians of the ratios to a baseline in the same round
 *
 * @typedef {Summary & { against?: { name: string, ratio: Sample } }} VariantSummary
 *
 * @typedef {Record<string, VariantSummary>} Suite by the names of the variants
 */

/**
 * How a suite is measured.
 *
 * @typedef {object} Effort
 * @property {import('./load.mjs').Load} load
 * @property {number} rounds
 * @property {number} ms of each variant in each round
 * @property {string} node path of the Node that applications run on
 */

export const CONNECTIONS = 32;

/** Requests after which an application's code is compiled as well as it will be. Without Redis, 15,000 are enough. */
const WARM = 40_000;

/**
 * Measures variants in turn, round after round, so that all of them meet the same machine. The first round is not
 * counted: it warms up.
 *
 * @param {readonly Variant[]} variants
 * @param {{ load: import('./load.mjs').Load, rounds: number, ms: number, onRound?: (round: number) => unknown }} options
 * @returns {Promise<Map<string, Sample[]>>} by name, a sample a round; the first is the one that warmed up
 */
export async function measure(variants, { load, rounds, ms, onRound }) {
  /** @type {Map<string, Sample[]>} */
  const samples = new Map(variants.map(({ name }) => [name, []]));
  const served = new Map(variants.map(({ place }) => [place, 0]));
  for (let round = 0; round <= rounds; round++) {
    await onRound?.(round);
    // Forwards and backwards in turn, so that no variant always comes after the same other one.
    for (const variant of round % 2 ? variants : variants.toReversed()) {
      const { sample } = round ? await once(variant, round, load, ms) : await warmUp(variant, load, ms, served);
      samples.get(variant.name)?.push(sample);
    }
  }
  return samples;
}

/**
 * Services run for days: what node has not yet compiled would be counted, and more of it the more code there is. Where
 * requests come one by one, at a rate, or have to be prepared, not all of that is waited for.
 *
 * @param {Variant} variant
 * @param {import('./load.mjs').Load} load
 * @param {number} ms
 * @param {Map<Variant['place'], number>} served requests so far
 */
async function warmUp(variant, load, ms, served) {
  const { place, prepare, rate } = variant;
  for (let time = 1; ; time++) {
    const measured = await once(variant, -time, load, prepare ? Math.min(ms, 700) : 2 * ms);
    const sofar = /** @type {number} */ (served.get(place)) + measured.total;
    served.set(place, sofar);
    if (prepare || rate || time === 20 || (time > 1 && sofar >= WARM)) return measured;
  }
}

/**
 * @param {Variant} variant
 * @param {number} round
 * @param {import('./load.mjs').Load} load
 * @param {number} ms
 * @returns {Promise<{ sample: Sample, total: number }>}
 */
async function once(variant, round, load, ms) {
  const { place, path, keys, connections = CONNECTIONS, rate, body } = variant;
  await variant.prepare?.(round);
  const job = { port: place.app.port, path, connections, rate, warmUpMs: 150, ms, keys: keys(round), body };
  const { result, used } = await counting(place, () => load.run(job));
  variant.check?.(result);
  const { total, perSecond, p50, p99 } = result;
  const each = Object.entries(used).map(([name, amount]) => [name, amount / total]);
  return { sample: { perSecond, p50, p99, ...Object.fromEntries(each) }, total };
}

/** @param {readonly number[]} numbers */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * @param {readonly Sample[]} samples the first is the one that warmed up, and alone has counted statements
 * @param {readonly Sample[]} baseline
 * @returns {Summary}
 */
export function summarize(samples, baseline) {
  const counted = samples.slice(1);
  const names = /** @type {(keyof Sample)[]} */ (Object.keys(samples[0]));
  const over = (/** @type {(name: keyof Sample) => number} */ of) =>
    /** @type {Sample} */ (Object.fromEntries(names.map((name) => [name, of(name)])));
  return {
    ...over((name) => median(counted.map((sample) => sample[name]))),
    statements: samples[0].statements,
    ratio: over((name) => median(counted.map((sample, i) => sample[name] / baseline[i + 1][name]))),
  };
}

/**
 * @param {readonly Variant[]} variants
 * @param {Map<string, Sample[]>} samples
 * @param {(name: string) => string} [baselineOf]
 * @returns {Suite}
 */
export function summarizeAll(variants, samples, baselineOf = () => 'bare') {
  const of = (/** @type {string} */ name) => /** @type {Sample[]} */ (samples.get(name));
  return Object.fromEntries(
    variants.map(({ name, against }) => [
      name,
      {
        ...summarize(of(name), of(baselineOf(name))),
        ...(against && { against: { name: against, ratio: summarize(of(name), of(against)).ratio } }),
      },
    ]),
  );
}
