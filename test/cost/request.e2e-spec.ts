import { type Anatomy, anatomyOf, type Kind, prepareDuplicates } from '../../bench/support/anatomy.mjs';
import { App, nestApp } from '../../bench/support/app.mjs';
import { Load } from '../../bench/support/load.mjs';
import { createDatabase, type TestDatabase } from '../support/database.js';

type Platform = 'fastify' | 'express';

/**
 * The most that a request may make at 32 connections: what was counted, and 5 % more. Counts are the same on a busy machine;
 * only the number of requests that share a statement varies a little, and with it the immediates, of which each statement
 * makes one. `npm run bench:anatomy` prints the same counts beside those of the bare handler and of the floor.
 */
const COUNTS: Record<Kind, Omit<Anatomy, 'bytes'>> = {
  fresh: { promises: 62, timeouts: 1.1, immediates: 0.35 },
  replay: { promises: 22, timeouts: 1.1, immediates: 0.15 },
  refused: { promises: 15.8, timeouts: 1.05, immediates: 0.05 },
  transactional: { promises: 100, timeouts: 1.1, immediates: 0.45 },
};

/** The same for bytes, of Node 20 and 22, and from Node 24 on, whose AsyncLocalStorage makes none for each promise. */
const BYTES: Record<20 | 24, Record<Platform, Record<Kind, number>>> = {
  20: {
    fastify: { fresh: 76_500, replay: 46_500, refused: 36_500, transactional: 98_500 },
    express: { fresh: 101_000, replay: 71_000, refused: 62_500, transactional: 124_000 },
  },
  24: {
    fastify: { fresh: 78_000, replay: 50_000, refused: 35_500, transactional: 94_000 },
    express: { fresh: 91_000, replay: 57_000, refused: 48_500, transactional: 103_000 },
  },
};

/** The promises of a request that shares no statement with another one, as where few requests come. Nothing varies: they are exact. */
const PROMISES_ALONE = { fresh: 76, replay: 30 };

const node = Number.parseInt(process.versions.node, 10) < 24 ? 20 : 24;
const KINDS = Object.keys(COUNTS) as Kind[];

describe.each<Platform>(['fastify', 'express'])('what a request makes on %s', (platform) => {
  let database: TestDatabase;
  let app: App;
  let load: Load;

  beforeAll(async () => {
    database = await createDatabase('postgres');
    // A connection that is idle for a moment would cost a timer.
    const options = { ...database.options, extra: { idleTimeoutMillis: 0 } };
    app = await App.start(await nestApp('ours'), { platform, database: options });
    load = new Load();
    await prepareDuplicates(app, load);
  }, 120_000);

  afterAll(async () => {
    load?.close();
    await app?.stop();
    await database?.drop();
  });

  it.each(KINDS)(
    'is within the bars: %s',
    async (kind) => {
      const options = { connections: 32, warmUp: 1500, requests: 800 };
      const { heap: _heap, ...found } = await anatomyOf(app, load, kind, options);
      const bar: Anatomy = { ...COUNTS[kind], bytes: BYTES[node][platform][kind] };
      expect(above(found, bar)).toEqual([]);
    },
    120_000,
  );

  it.each(Object.entries(PROMISES_ALONE) as [keyof typeof PROMISES_ALONE, number][])(
    'makes no more promises where it shares no statement: %s',
    async (kind, most) => {
      const { promises } = await anatomyOf(app, load, kind, { connections: 1, warmUp: 300, requests: 400 });
      expect(promises).toBeLessThan(most + 0.5);
    },
    120_000,
  );
});

function above(found: Anatomy, bar: Anatomy): string[] {
  const names = Object.keys(bar) as (keyof Anatomy)[];
  return names
    .filter((name) => found[name] > bar[name])
    .map((name) => `${found[name].toFixed(2)} ${name}, at most ${bar[name]}`);
}
