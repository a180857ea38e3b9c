/**
 * What is to be reached, over the floor measured in the same rounds unless said otherwise: the floor is what the promises of
 * the library cost at the least.
 *
 * @typedef {import('./support/measure.mjs').Suite} Suite
 *
 * @typedef {object} OnPlatform
 * @property {Record<string, import('./support/anatomy.mjs').Anatomy>} [anatomy]
 * @property {Suite} [requests]
 * @property {Suite} [bodies]
 * @property {import('./suites/open-loop.mjs').OpenLoop} [openLoop]
 *
 * @typedef {object} Found
 * @property {Record<string, Record<string, OnPlatform>>} nodes by the version of Node, and by platform
 * @property {Suite} [slowDisk]
 * @property {Suite} [rivals]
 * @property {Record<string, { one: number, oneWorst: number, fifty: number }>} [wakeUp]
 *
 * @typedef {{ name: string, wanted: string, found: number, met: boolean }} Verdict
 */

/** Requests a second, over those of the variant that `against` names. */
const REQUESTS_A_SECOND = {
  fresh: 0.93,
  replay: 0.93,
  transactional: 1,
  'fresh, one Redis': 0.9,
  'fresh, three Redis': 0.82,
};

/** What a fresh request on Fastify may make. */
const FRESH = { promises: 60, timeouts: 1.3, bytes: 66_000 };

/**
 * @param {Found} found
 * @returns {Verdict[]}
 */
export function verdicts({ nodes, slowDisk, wakeUp }) {
  return [
    ...Object.entries(nodes).flatMap(([node, platforms]) =>
      Object.entries(platforms).flatMap(([platform, { anatomy, requests, bodies, openLoop }]) => [
        ...(anatomy ? ofAnatomy(`${node}, ${platform}`, platform, anatomy) : []),
        ...(requests ? ofRequests(`${node}, ${platform}`, requests) : []),
        ...(bodies ? ofBodies(`${node}, ${platform}`, bodies) : []),
        ...(openLoop
          ? [atMost(`${node}, ${platform}: open loop, added p50 to that of the floor`, 1.15, openLoop.ratio)]
          : []),
      ]),
    ),
    ...(slowDisk ? ofSlowDisk(slowDisk) : []),
    ...(wakeUp
      ? ['PostgreSQL NOTIFY', 'Redis'].map((channel) =>
          atMost(`wake-up across processes by ${channel}, median ms`, 20, wakeUp[channel].one),
        )
      : []),
  ];
}

/**
 * @param {string} where
 * @param {string} platform
 * @param {NonNullable<OnPlatform['anatomy']>} anatomy
 */
function ofAnatomy(where, platform, anatomy) {
  const names = /** @type {const} */ (['promises', 'timeouts', 'bytes']);
  const fresh = names.map((name) => atMost(`${where}: fresh, ${name}`, FRESH[name], anatomy['fresh: ours'][name]));
  const others = ['replay', 'refused'].flatMap((kind) =>
    names.map((name) =>
      atMost(`${where}: ${kind}, ${name}`, 1.1 * anatomy[`${kind}: floor`][name], anatomy[`${kind}: ours`][name]),
    ),
  );
  return [...(platform === 'fastify' ? fresh : []), ...others];
}

/**
 * @param {string} where
 * @param {Suite} requests
 */
function ofRequests(where, requests) {
  const { fresh, transactional, replay } = requests;
  const perSecond = Object.entries(REQUESTS_A_SECOND).map(([variant, wanted]) => {
    const { name, ratio } = /** @type {NonNullable<Suite[string]['against']>} */ (requests[variant].against);
    return atLeast(`${where}: ${variant}, requests/s to ${name}`, wanted, ratio.perSecond);
  });
  return [
    ...perSecond,
    atMost(`${where}: transactional, CPU of the application to the floor's`, 1, toFloor(transactional).appCpu),
    atMost(`${where}: fresh, CPU of PostgreSQL to the floor's`, 1.05, toFloor(fresh).databaseCpu),
    atMost(`${where}: fresh, write commits a request`, 1.25, fresh.writeCommits),
    atMost(`${where}: replay, write commits a request`, 0.001, replay.writeCommits),
    // The server's own housekeeping writes a little while the replays are measured.
    atMost(`${where}: replay, bytes of WAL a request`, 10, replay.walBytes),
  ];
}

/** @param {Suite[string]} variant */
const toFloor = ({ against }) => /** @type {NonNullable<typeof against>} */ (against).ratio;

/**
 * @param {string} where
 * @param {Suite} bodies
 */
function ofBodies(where, bodies) {
  const [small, ...large] = Object.entries(bodies)
    .filter(([name]) => name.endsWith(': ours'))
    .toReversed();
  return large.map(([name, { ratio }]) =>
    atMost(`${where}: ${name}, CPU of the application to bare`, small[1].ratio.appCpu, ratio.appCpu),
  );
}

/** @param {Suite} slowDisk over the bare handler */
function ofSlowDisk(slowDisk) {
  const shared = ['express', 'fastify'].flatMap((platform) => {
    const { ratio } = slowDisk[`${platform}, 64: fresh`];
    return [
      atLeast(`slow disk, ${platform}, 64 connections: fresh, requests/s`, 0.85, ratio.perSecond),
      atMost(`slow disk, ${platform}, 64 connections: fresh, flushes`, 1.1, ratio.flushes),
    ];
  });
  const { perSecond } = slowDisk['express, 1: transactional'].ratio;
  return [...shared, atLeast('slow disk, express, 1 connection: transactional, requests/s', 0.78, perSecond)];
}

/** @type {(name: string, wanted: number, found: number) => Verdict} */
const atLeast = (name, wanted, found) => ({ name, wanted: `>= ${wanted}`, found, met: found >= wanted });

/** @type {(name: string, wanted: number, found: number) => Verdict} */
const atMost = (name, wanted, found) => ({
  name,
  wanted: `<= ${Number(wanted.toPrecision(3))}`,
  found,
  met: found <= wanted,
});
