import { createRequire } from 'node:module';

/** @type {{ default: typeof import('@jest/test-sequencer').default }} */
const { default: Sequencer } = createRequire(import.meta.url)('@jest/test-sequencer');

/** What takes long though its file is short, longest first. A run ends with a table that shows what belongs here. */
const LONG = [
  'test/e2e/docs/guide',
  'test/cost/',
  'test/e2e/cli/doctor.',
  'test/e2e/protocol/',
  'test/e2e/lock/redlock',
  'test/e2e/topologies/',
  'test/e2e/cli/init',
  'test/e2e/orms/',
  'test/e2e/dashboard-page/',
  'test/field/',
];

/** Jest begins with what failed or took long the last time. Where there was no last time, as in a fresh clone, it goes by size. */
export default class LongestFirst extends Sequencer {
  /** @override @param {import('@jest/test-result').Test[]} tests */
  async sort(tests) {
    const rank = (/** @type {import('@jest/test-result').Test} */ { path }) => {
      const place = LONG.findIndex((part) => path.includes(part));
      return place < 0 ? LONG.length : place;
    };
    return (await super.sort(tests)).sort((a, b) => rank(a) - rank(b));
  }
}
