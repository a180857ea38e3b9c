import { App, nestApp } from '../../bench/support/app.mjs';
import { broken, endInEveryWay, SCENARIOS, unmeasured } from '../../bench/support/memory.mjs';
import { createDatabase, type TestDatabase } from '../support/database.js';

/** What the heap itself changes by, in bytes: compiled code, and connections that a pool opens or closes. */
const NOISE = 256 * 1024;

/** Enough to distinguish what each of them holds from the noise. `npm run bench:memory` has a thousand. */
const clientsFor = (bound: number) => Math.max(40, Math.ceil(NOISE / bound));
const OF_EACH_END = 10;

/**
 * By what is reachable after garbage collection, which is the same on a busy machine. The bounds are those of
 * `npm run bench:memory`, which prints what was measured.
 */
describe.each(['fastify', 'express'] as const)('memory on %s', (platform) => {
  let database: TestDatabase;
  let app: App;

  beforeAll(async () => {
    database = await createDatabase('postgres');
    const settings = { platform, database: database.options, logger: false };
    app = await App.start(await nestApp('memory'), settings, { execArgv: ['--expose-gc'] });
  }, 120_000);

  afterAll(async () => {
    await app?.stop();
    await database?.drop();
  });

  const scenarios = SCENARIOS.filter(({ isAlike }) => platform === 'express' || !isAlike);

  it.each(scenarios.map((scenario) => [scenario.name, scenario] as const))(
    'a client holds no more than its bound, and leaves nothing: %s',
    async (_name, scenario) => {
      const clients = clientsFor(scenario.bound);
      await scenario.run(unmeasured(app), clients);
      const measured = await scenario.run(app, clients);
      expect(measured.kept).toEqual({});
      // What the heap grows by once, as by code that is compiled, is not held by the next clients.
      if (broken(scenario, measured).length > 0) {
        expect(broken(scenario, await scenario.run(app, clients))).toEqual([]);
      }
    },
    240_000,
  );

  it('nothing is left of a request, however it ended', async () => {
    expect(await endInEveryWay(app, OF_EACH_END)).toEqual({});
  }, 240_000);
});
