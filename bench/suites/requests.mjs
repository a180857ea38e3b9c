/** A route with one INSERT: bare, with the floor, and with the library in all the ways a request can go. */
import { countStatements } from '../support/counters.mjs';
import { answersOnly, begin, fresh, run } from '../support/keys.mjs';
import { measure, summarizeAll } from '../support/measure.mjs';
import { Stage } from '../support/stage.mjs';

/**
 * @param {'express' | 'fastify'} platform
 * @param {import('../support/measure.mjs').Effort} options
 */
export function measureRequests(platform, options) {
  return Stage.use(options.node, async (stage) => {
    const postgres = await stage.postgres();
    const database = await postgres.createDatabase('bench');
    const nodes = await stage.redis(3);
    const on = { platform, postgres, database };
    const bare = await stage.place('bare', on);
    const ours = await stage.place('ours', on);
    const floor = await stage.place('floor', on);
    const other = await stage.place('ours', on);
    const floorWithRedis = await stage.place('floor', { ...on, redis: nodes.slice(0, 1) });
    const floorWithThree = await stage.place('floor', { ...on, redis: nodes });
    const oneRedis = await stage.place('ours', { ...on, redis: nodes.slice(0, 1) });
    const threeRedis = await stage.place('ours', { ...on, redis: nodes });

    const body = JSON.stringify({ ms: options.ms + 1000 });
    const replayed = /** @type {const} */ ({ kind: 'cycle', prefix: 'replay', count: 1000 });
    const replayedByFloor = { ...replayed, prefix: 'replay-floor' };
    await run(ours.app, '/charges', replayed, options.load);
    await run(floor.app, '/charges', replayedByFloor, options.load);

    /** @type {import('../support/measure.mjs').Variant[]} */
    const variants = [
      { name: 'bare', place: bare, path: '/charges', keys: fresh('bare'), check: answersOnly(201) },
      { name: 'bare, an interceptor', place: bare, path: '/intercepted', keys: fresh('none'), check: answersOnly(201) },
      { name: 'floor: fresh', place: floor, path: '/charges', keys: fresh('floor'), check: answersOnly(201) },
      {
        name: 'fresh',
        against: 'floor: fresh',
        place: ours,
        path: '/charges',
        keys: fresh('fresh'),
        check: answersOnly(201),
      },
      {
        name: 'floor: fresh, one Redis',
        against: 'floor: fresh',
        place: floorWithRedis,
        path: '/charges',
        keys: fresh('floorone'),
        check: answersOnly(201),
      },
      {
        name: 'floor: fresh, three Redis',
        against: 'floor: fresh',
        place: floorWithThree,
        path: '/charges',
        keys: fresh('floorthree'),
        check: answersOnly(201),
      },
      {
        name: 'fresh, one Redis',
        against: 'fresh',
        place: oneRedis,
        path: '/charges',
        keys: fresh('one'),
        check: answersOnly(201),
      },
      {
        name: 'fresh, three Redis',
        against: 'fresh',
        place: threeRedis,
        path: '/charges',
        keys: fresh('three'),
        check: answersOnly(201),
      },
      {
        name: 'floor: transactional',
        place: floor,
        path: '/transactional',
        keys: fresh('floortx'),
        check: answersOnly(201),
      },
      {
        name: 'transactional',
        against: 'floor: transactional',
        place: ours,
        path: '/transactional',
        keys: fresh('tx'),
        check: answersOnly(201),
      },
      {
        name: '10 % duplicates',
        place: ours,
        path: '/charges',
        keys: (round) => ({ kind: 'duplicates', prefix: `dup${round}-`, share: 0.1 }),
        check: answersOnly(201, 409),
      },
      { name: 'bare, answered', place: bare, path: '/answered', keys: fresh('answer'), check: answersOnly(201) },
      {
        name: 'floor: replay',
        place: floor,
        path: '/charges',
        keys: () => replayedByFloor,
        check: answersOnly(201),
      },
      {
        name: 'replay',
        against: 'floor: replay',
        place: ours,
        path: '/charges',
        keys: () => replayed,
        check: answersOnly(201),
      },
      { name: 'bare, refused', place: bare, path: '/refused', keys: fresh('refuse'), check: answersOnly(409) },
      {
        name: 'floor: 409, runs here',
        place: floor,
        path: '/slow',
        body,
        keys: (round) => ({ kind: 'cycle', prefix: `floor${round}-`, count: 1 }),
        prepare: (round) => begin(floor.app, '/slow', `floor${round}-`, body),
        check: answersOnly(409),
      },
      {
        name: '409, runs here',
        against: 'floor: 409, runs here',
        place: ours,
        path: '/slow',
        body,
        keys: (round) => ({ kind: 'cycle', prefix: `here${round}-`, count: 1 }),
        prepare: (round) => begin(ours.app, '/slow', `here${round}-`, body),
        check: answersOnly(409),
      },
      {
        name: '409, runs elsewhere',
        place: ours,
        path: '/slow',
        body,
        keys: (round) => ({ kind: 'cycle', prefix: `elsewhere${round}-`, count: 1 }),
        prepare: (round) => begin(other.app, '/slow', `elsewhere${round}-`, body),
        check: answersOnly(409),
      },
      {
        name: 'joined, 32 at once',
        place: ours,
        path: '/joined',
        // More of them than wait for one operation, or its latency would be measured, and not what joining costs.
        connections: 128,
        keys: (round) => ({ kind: 'shared', prefix: `join${round}-`, times: 32 }),
        check: answersOnly(201),
      },
    ];
    const onRound = (/** @type {number} */ round) => (round < 2 ? countStatements(postgres, round === 0) : undefined);
    return summarizeAll(variants, await measure(variants, { ...options, onRound }));
  });
}
