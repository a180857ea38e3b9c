/**
 * What is to be reached, over the bare handler measured in the same rounds unless said otherwise.
 *
 * @typedef {import('./support/measure.mjs').Summary} Summary
 * @typedef {Record<string, Summary>} Suite
 * @typedef {object} Found
 * @property {Suite} express
 * @property {Suite} fastify
 * @property {Suite} [slowDisk]
 * @property {Suite} [rivals]
 * @property {Record<string, { one: number }>} wakeUp
 *
 * @typedef {{ name: string, wanted: string, found: number, met: boolean }} Verdict
 */

const REQUESTS_A_SECOND = {
  fresh: { express: 0.72, fastify: 0.6 },
  'fresh, one Redis': { express: 0.62, fastify: 0.52 },
  'fresh, three Redis': { express: 0.56, fastify: 0.46 },
  transactional: { express: 0.6, fastify: 0.48 },
  replay: { express: 1.4, fastify: 1.8 },
  '409, runs here': { express: 1.5, fastify: 1.9 },
  'joined, 32 at once': { express: 1.5, fastify: 1.9 },
};

/**
 * @param {Found} found
 * @returns {Verdict[]}
 */
export function verdicts(found) {
  const { slowDisk, rivals, wakeUp } = found;
  const platforms = /** @type {const} */ (['express', 'fastify']);
  /** @type {Verdict[]} */
  const all = [];
  for (const [variant, wanted] of Object.entries(REQUESTS_A_SECOND)) {
    for (const platform of platforms) {
      const { perSecond } = found[platform][variant].ratio;
      all.push(atLeast(`${platform}: ${variant}, requests/s`, wanted[platform], perSecond));
    }
  }
  for (const platform of platforms) {
    const { fresh, replay } = found[platform];
    all.push(
      atMost(`${platform}: fresh, write commits a request`, 1.25, fresh.writeCommits),
      atMost(`${platform}: fresh, CPU of the application`, 1.5, fresh.ratio.appCpu),
      atMost(`${platform}: fresh, CPU of PostgreSQL`, 1.7, fresh.ratio.databaseCpu),
      atMost(`${platform}: replay, write commits a request`, 0.001, replay.writeCommits),
      // The server's own housekeeping writes a little while the replays are measured.
      atMost(`${platform}: replay, bytes of WAL a request`, 10, replay.walBytes),
    );
  }
  if (slowDisk) {
    for (const platform of platforms) {
      const fresh = slowDisk[`${platform}, 64: fresh`];
      all.push(
        atLeast(`slow disk, ${platform}, 64 connections: fresh, requests/s`, 0.85, fresh.ratio.perSecond),
        atMost(`slow disk, ${platform}, 64 connections: fresh, flushes`, 1.1, fresh.ratio.flushes),
      );
    }
    const { perSecond } = slowDisk['express, 1: transactional'].ratio;
    all.push(atLeast('slow disk, express, 1 connection: transactional, requests/s', 0.78, perSecond));
  }
  if (rivals) {
    const { ours, fastest } = race(rivals);
    all.push(atLeast('fresh in PostgreSQL, requests/s to the fastest rival in Redis', 1, ours / fastest));
  }
  for (const channel of ['PostgreSQL NOTIFY', 'Redis']) {
    all.push(atMost(`wake-up across processes by ${channel}, median ms`, 20, wakeUp[channel].one));
  }
  return all;
}

/** @param {Suite} rivals */
function race(rivals) {
  const perSecond = Object.entries(rivals).filter(([name]) => name !== 'bare');
  const [, ours] = /** @type {[string, Summary]} */ (perSecond.find(([name]) => name.includes('PostgreSQL')));
  const others = perSecond.filter(([name]) => name.includes('Redis')).map(([, one]) => one.ratio.perSecond);
  return { ours: ours.ratio.perSecond, fastest: Math.max(...others) };
}

/** @type {(name: string, wanted: number, found: number) => Verdict} */
const atLeast = (name, wanted, found) => ({ name, wanted: `>= ${wanted}`, found, met: found >= wanted });

/** @type {(name: string, wanted: number, found: number) => Verdict} */
const atMost = (name, wanted, found) => ({ name, wanted: `<= ${wanted}`, found, met: found <= wanted });
