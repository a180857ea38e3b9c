/**
 * What is mutated, and the tests that have to notice: such as run in one process with what they test. What the quick ones
 * do not notice is put to the slow ones.
 *
 * @typedef {{ name: string, folders: string[], quick: string[], slow: string[] }} Part
 * @type {Part[]}
 */
export const PARTS = [
  {
    name: 'lib/engine',
    folders: ['lib/engine'],
    quick: ['test/unit/engine', 'test/e2e/engine'],
    slow: [
      'test/e2e/module/service',
      'test/conformance/results',
      'test/conformance/async-context',
      'test/conformance/failures',
      'test/faults/testing',
    ],
  },
  {
    name: 'lib/edges',
    folders: ['lib/edges/http', 'lib/edges/content', 'lib/edges/caller', 'lib/edges/shared'],
    quick: [
      'test/unit/edges',
      'test/conformance/http2',
      'test/conformance/results',
      'test/conformance/principals',
      'test/conformance/middleware',
      'test/conformance/postgres',
      'test/conformance/wiring',
      'test/conformance/async-context',
      'test/conformance/requests',
      'test/conformance/at-rest',
      'test/conformance/what-is-stored',
      'test/conformance/present-exchange',
      'test/conformance/streams',
      'test/conformance/fuzz',
    ],
    slow: [
      'test/conformance/by-hand',
      'test/conformance/transactions',
      'test/conformance/boot',
      'test/conformance/uploads',
      'test/conformance/upload-files',
      'test/conformance/answers',
      'test/conformance/failures',
      'test/conformance/connections',
      'test/conformance/problems',
      'test/e2e/reach/graphql',
      'test/e2e/module/mistakes',
      'test/e2e/module/hybrid',
      'test/faults/testing',
    ],
  },
  {
    name: 'lib/store',
    folders: ['lib/store'],
    quick: [
      'test/unit/store',
      'test/e2e/store/claim',
      'test/e2e/store/times',
      'test/e2e/store/operators',
      'test/e2e/store/postgres-plans',
      'test/e2e/store/durability',
      'test/e2e/store/clock',
      'test/e2e/store/mysql-statements',
      'test/e2e/store/connectors',
      'test/e2e/store/lifetimes',
      'test/e2e/store/ownership',
    ],
    slow: [
      'test/e2e/store/wake-up',
      'test/conformance/at-rest',
      'test/conformance/postgres',
      'test/e2e/module/service',
      'test/e2e/module/mistakes',
      'test/e2e/store/model',
      'test/e2e/store/deadline',
      'test/e2e/store/transaction',
      'test/e2e/store/migrations',
    ],
  },
];

/** Types alone, or nothing but a list of what is elsewhere. */
export const NOTHING_TO_MUTATE = ['**/index.ts', 'lib/store/entities/*.entity.ts', 'lib/store/migrations/*.ts'];
