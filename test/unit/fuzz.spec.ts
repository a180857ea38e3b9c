import { closeDashboard } from '../fuzz/dashboard.js';
import { TARGETS } from '../fuzz/targets.js';

/** Few by default: `npm run fuzz` tries the same properties 100,000 times each. */
const RUNS = Number(process.env.FUZZ_RUNS ?? 200);
const SEED = process.env.FUZZ_SEED === undefined ? undefined : Number(process.env.FUZZ_SEED);

/** The slowest one, on a busy machine. */
const MOST_MS_A_RUN = 50;

afterAll(closeDashboard);

const { FUZZ_TARGET } = process.env;
const tried = Object.entries(TARGETS).filter(([target]) => FUZZ_TARGET === undefined || target === FUZZ_TARGET);

describe.each(tried)('%s', (_target, properties) => {
  test.each(properties.map((one) => [one.name, one] as const))(
    '%s',
    async (_name, one) => {
      await expect(one.check({ runs: RUNS, seed: SEED })).resolves.toBeUndefined();
    },
    30_000 + RUNS * MOST_MS_A_RUN,
  );
});
