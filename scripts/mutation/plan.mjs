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
      'test/conformance/return-values',
      'test/conformance/current-execution',
      'test/conformance/failures',
      'test/e2e/testing/faults',
    ],
  },
  {
    name: 'lib/edges',
    folders: ['lib/edges/http', 'lib/edges/content', 'lib/edges/caller', 'lib/edges/shared'],
    quick: [
      'test/unit/edges',
      'test/conformance/http2',
      'test/conformance/return-values',
      'test/conformance/principals',
      'test/conformance/middleware',
      'test/conformance/postgres-round-trip',
      'test/conformance/module-wiring',
      'test/conformance/current-execution',
      'test/conformance/request-fingerprints',
      'test/conformance/stored-data',
      'test/conformance/redaction',
      'test/conformance/replayed-headers',
      'test/conformance/streamed-responses',
      'test/conformance/http-fuzz',
    ],
    slow: [
      'test/conformance/manual-wiring',
      'test/conformance/transactions',
      'test/conformance/boot-audit',
      'test/conformance/uploads',
      'test/conformance/multipart-files',
      'test/conformance/responses',
      'test/conformance/failures',
      'test/conformance/connections',
      'test/conformance/problems',
      'test/e2e/transports/graphql',
      'test/e2e/module/boot-errors',
      'test/e2e/module/hybrid-application',
      'test/e2e/testing/faults',
    ],
  },
  {
    name: 'lib/store',
    folders: ['lib/store'],
    quick: [
      'test/unit/store',
      'test/e2e/store/claims',
      'test/e2e/store/timestamps',
      'test/e2e/store/operator-actions',
      'test/e2e/store/postgres-query-plans',
      'test/e2e/store/durability',
      'test/e2e/store/database-clock',
      'test/e2e/store/mysql-statements',
      'test/e2e/store/connectors',
      'test/e2e/store/retention-and-expiry',
      'test/e2e/store/ownership',
    ],
    slow: [
      'test/e2e/store/postgres-wake-up',
      'test/conformance/stored-data',
      'test/conformance/postgres-round-trip',
      'test/e2e/module/service',
      'test/e2e/module/boot-errors',
      'test/e2e/store/model-based',
      'test/e2e/store/statement-timeouts',
      'test/e2e/store/transactions',
      'test/e2e/store/migrations',
    ],
  },
];

/** Types alone, or nothing but a list of what is elsewhere. */
export const NOTHING_TO_MUTATE = ['**/index.ts', 'lib/store/entities/*.entity.ts', 'lib/store/migrations/*.ts'];
