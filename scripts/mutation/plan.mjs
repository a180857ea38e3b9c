/** Of all edges: most of their tests send requests. */
const EDGES = {
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
    'test/conformance/caller-identity',
    'test/conformance/caller-isolation',
    'test/conformance/http-fuzz',
  ],
  slow: [
    'test/conformance/manual-wiring',
    'test/conformance/transactions',
    'test/conformance/transactional-streams',
    'test/conformance/handler-transactions',
    'test/conformance/retries-and-timeouts',
    'test/conformance/handler-wrappers',
    'test/conformance/streamed-requests',
    'test/conformance/held-records',
    'test/conformance/boot-audit',
    'test/conformance/uploads',
    'test/conformance/multipart-files',
    'test/conformance/responses',
    'test/conformance/failures',
    'test/conformance/connections',
    'test/conformance/problems',
    'test/conformance/web-responses',
    'test/conformance/generators',
    'test/conformance/early-closing',
    'test/conformance/unkept-failures',
    'test/conformance/unfinished-work',
    'test/conformance/unreached-steps',
    'test/conformance/committing-interceptors',
    'test/conformance/neighbours',
    'test/conformance/operation-names',
    'test/e2e/transports/graphql',
    'test/e2e/module/boot-errors',
    'test/e2e/module/hybrid-application',
    'test/e2e/testing/faults',
  ],
};

/** Of all of the store. */
const STORE = [
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
];

/**
 * What is mutated, and the tests that have to notice: such as run in one process with what they test. What the quick ones
 * do not notice is put to the slow ones. A folder within another part's is a part of its own.
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
      'test/conformance/caller-isolation',
      'test/conformance/current-execution',
      'test/conformance/failures',
      'test/conformance/generators',
      'test/conformance/handler-transactions',
      'test/conformance/handler-wrappers',
      'test/conformance/held-records',
      'test/conformance/interceptor-transactions',
      'test/conformance/joined-transactions',
      'test/conformance/pool-exhaustion',
      'test/conformance/retries-and-timeouts',
      'test/conformance/return-values',
      'test/conformance/sqlite-single-connection',
      'test/conformance/streamed-requests',
      'test/conformance/transaction-lifecycle',
      'test/conformance/transactions',
      'test/conformance/unfinished-work',
      'test/conformance/unreached-steps',
      'test/e2e/module/held-record-log',
      'test/e2e/module/service',
      'test/e2e/protocol/handler-retries.e2e-spec.ts',
      'test/e2e/store/lease-renewal',
      'test/e2e/testing/faults',
    ],
  },
  {
    name: 'lib/edges/{caller,content,shared}',
    folders: ['lib/edges/caller', 'lib/edges/content', 'lib/edges/shared'],
    ...EDGES,
  },
  { name: 'lib/edges/http', folders: ['lib/edges/http'], ...EDGES },
  {
    name: 'lib/store',
    folders: ['lib/store'],
    quick: STORE,
    slow: [
      'test/conformance/stored-data',
      'test/conformance/tenants',
      'test/conformance/roles',
      'test/conformance/other-data-source',
      'test/conformance/handler-transactions',
      'test/e2e/module/boot-database-checks',
      'test/e2e/module/boot-errors',
      'test/e2e/module/boot-table-storage',
      'test/e2e/module/late-database',
      'test/e2e/module/service',
      'test/e2e/store/driver-options',
      'test/e2e/store/model-based',
      'test/e2e/store/postgres-batches',
      'test/e2e/store/postgres-wake-up',
      'test/e2e/store/scopes',
      'test/e2e/store/statement-timeouts',
      'test/e2e/store/transactions',
    ],
  },
  {
    name: 'lib/store/connectors',
    folders: ['lib/store/connectors'],
    quick: STORE,
    slow: [
      'test/conformance/isolation-levels',
      'test/conformance/pool-exhaustion',
      'test/conformance/roles',
      'test/conformance/sqlite-single-connection',
      'test/e2e/module/boot-database-checks',
      'test/e2e/store/connection-pools',
      'test/e2e/store/driver-options',
      'test/e2e/store/forgotten-connections',
      'test/e2e/store/initialized-again',
      'test/e2e/store/left-sessions',
      'test/e2e/store/native-driver',
      'test/e2e/store/session-encodings',
      'test/e2e/store/statement-timeouts',
      'test/e2e/store/transactions',
      'test/e2e/store/unresponsive-connections',
    ],
  },
  {
    name: 'lib/store/dialects',
    folders: ['lib/store/dialects'],
    quick: STORE,
    slow: [
      'test/conformance/commit-and-rollback',
      'test/conformance/operator-reads',
      'test/conformance/postgres-round-trip',
      'test/conformance/roles',
      'test/conformance/stored-data',
      'test/conformance/transaction-lifecycle',
      'test/e2e/store/lease-renewal',
      'test/e2e/store/locked-rows',
      'test/e2e/store/migrations',
      'test/e2e/store/model-based',
      'test/e2e/store/operator-races',
      'test/e2e/store/postgres-batches',
      'test/e2e/store/released-operations',
      'test/e2e/store/scopes',
      'test/e2e/store/transactions',
    ],
  },
  {
    name: 'lib/store/transactions',
    folders: ['lib/store/transactions'],
    quick: STORE,
    slow: [
      'test/conformance/autocommit',
      'test/conformance/commit-and-rollback',
      'test/conformance/committing-interceptors',
      'test/conformance/handler-transactions',
      'test/conformance/interceptor-transactions',
      'test/conformance/joined-transactions',
      'test/conformance/other-data-source',
      'test/conformance/roles',
      'test/conformance/shared-query-runner',
      'test/conformance/sqlite-single-connection',
      'test/conformance/tenants',
      'test/conformance/transaction-lifecycle',
      'test/conformance/transactions',
      'test/conformance/unfinished-work',
      'test/e2e/protocol/handler-retries.e2e-spec.ts',
      'test/e2e/store/completion-timeout',
      'test/e2e/store/completion-with-commit',
      'test/e2e/store/transactions',
    ],
  },
];

/** Types alone, or nothing but a list of what is elsewhere. */
export const NOTHING_TO_MUTATE = ['**/index.ts', 'lib/store/entities/*.entity.ts', 'lib/store/migrations/*.ts'];

/** @param {Part} part @param {string[]} asked paths of files, with lines or without */
export function filesOf({ folders }, asked) {
  const others = PARTS.flatMap((part) => part.folders).filter((folder) =>
    folders.some((own) => folder.startsWith(`${own}/`)),
  );
  const isOwn = (/** @type {string} */ file) =>
    folders.some((folder) => file.startsWith(`${folder}/`)) && !others.some((folder) => file.startsWith(`${folder}/`));
  if (asked.length > 0) return asked.filter(isOwn);
  return [...folders.map((folder) => `${folder}/**/*.ts`), ...others.map((folder) => `!${folder}/**`)];
}
