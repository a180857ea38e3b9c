/** @type {readonly import('../table.mjs').Section[]} */
export const RECORDS = [
  {
    heading: 'The record',
    promises: [
      {
        promise: 'a held record',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: 'const refusal = mismatch(operation, found);\n',
            replace: `if (isRecord(found) && found.status === 'held') return this.refuse(operation, { reason: 'held', exhausted: false });
    const refusal = mismatch(operation, found);\n`,
          },
        ],
        shownBy: [{ spec: 'test/conformance/held-records', test: 'is reported to its own caller' }],
      },
      {
        promise: 'a record that runs or is done',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: 'if (refusal) return this.refuse(operation, refusal);',
            replace:
              "if (refusal && isRecord(found) && found.status === 'held') return this.refuse(operation, refusal);",
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/admission', test: 'with another request, or of another caller' }],
      },
      {
        promise: 'a released key stays bound to its request',
        broken: [
          {
            file: 'lib/store/dialects/predicates.ts',
            find: "WHEN ${r}fingerprint <> ${n('fingerprint')} OR",
            replace: 'WHEN',
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/claims', test: 'on a record that is failed' }],
      },
    ],
  },
  {
    heading: 'One winner',
    promises: [
      {
        promise: '50 claimers on each of many keys',
        broken: [
          {
            file: 'lib/store/dialects/postgres.ts',
            find: `id <> ALL (ARRAY(SELECT id FROM existing)) AND \${SHORT_LOCK_WAIT} \${andWhere}
  ON CONFLICT (id) DO NOTHING RETURNING r.id`,
            replace: `\${SHORT_LOCK_WAIT} \${andWhere}
  ON CONFLICT (id) DO UPDATE SET owner = excluded.owner RETURNING r.id`,
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/concurrent-claims', test: 'have one winner where the key is free' }],
      },
      {
        promise: '50 duplicates over two processes, on each of nine combinations of platform, database and lock',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: "record.owner === claim.owner && record.status === 'processing'",
            replace: "record.status === 'processing'",
          },
        ],
        shownBy: [
          {
            spec: 'test/e2e/protocol/backend-matrix',
            test: 'fastify on postgres with 3 Redis nodes 50 concurrent duplicates',
          },
        ],
      },
      {
        promise: 'a record whose lease ran out is taken over once',
        broken: [
          {
            file: 'lib/store/dialects/postgres.ts',
            find: "AND ${effect} IN ('restart', 'take')`",
            replace: "AND r.status = 'processing'`",
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/lease-renewal', test: 'is taken over once, by claims that' }],
      },
      {
        promise: 'a heartbeat at the moment of the take-over',
        broken: [
          {
            file: 'lib/store/dialects/postgres.ts',
            find: "      await run(on, 'lock', [claims.map(({ recordId }) => recordId)]);\n",
            replace: '',
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/claim-heartbeat-race' }],
      },
      {
        promise: 'clocks an hour off',
        broken: [
          {
            file: 'lib/store/dialects/postgres.ts',
            find: "const after = (ms: string) => `${NOW} + ${ms} * interval '1 ms'`;",
            replace: "const after = (ms: string) => `to_timestamp(${Date.now() / 1_000}) + ${ms} * interval '1 ms'`;",
          },
        ],
        shownBy: [{ spec: 'test/e2e/protocol/lease', test: 'the lease on postgres a handler of ten leases' }],
      },
      {
        promise: 'the token grows at every claim',
        broken: [
          { file: 'lib/store/dialects/postgres.ts', find: 'token = r.token + 1', replace: 'token = r.token' },
          {
            file: 'lib/store/dialects/mysql.ts',
            find: "WHEN 'restart' THEN token + 1 WHEN 'take' THEN token + 1",
            replace: "WHEN 'restart' THEN token WHEN 'take' THEN token",
          },
          { file: 'lib/store/dialects/sqlite.ts', find: 'token = token + 1', replace: 'token = token' },
        ],
        shownBy: [{ spec: 'test/e2e/store/concurrent-claims' }],
      },
      {
        promise: 'a lease is renewed in time for a renewal to fail',
        broken: [
          {
            file: 'lib/engine/lease.ts',
            find: 'this.scheduleHeartbeat(policy.leaseMs / 3);',
            replace: 'this.scheduleHeartbeat(policy.leaseMs);',
          },
          {
            file: 'lib/engine/lease.ts',
            find: 'this.scheduleHeartbeat(leaseMs / 3);',
            replace: 'this.scheduleHeartbeat(leaseMs);',
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/leased-execution', test: 'the lease' }],
      },
      {
        promise: 'a connection that swallows a renewal',
        broken: [
          {
            file: 'lib/engine/lease.ts',
            find: 'const MAX_RENEWALS = 2;',
            replace: 'const MAX_RENEWALS = 1;',
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/silent-connections', test: 'a lease is renewed over another' }],
      },
      {
        promise: 'a claim whose answer was lost',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: 'const send = () => this.send(flight);',
            replace: `flight.claim = { ...flight.claim, owner: randomId() };
    const send = () => this.send(flight);`,
          },
        ],
        shownBy: [
          {
            spec: 'test/e2e/protocol/lost-database-responses',
            test: 'lost answers on postgres the answer to a claim is lost',
          },
        ],
      },
      {
        promise: 'a claim that was answered late',
        broken: [
          {
            file: 'lib/engine/engine.ts',
            find: 'if (error !== undefined && late?.owner === claim.owner)',
            replace: 'if (late?.owner === claim.owner)',
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/admission', test: 'does not take a claim from an execution' }],
      },
    ],
  },
  {
    heading: 'Durable before sent',
    promises: [
      {
        promise: 'a connection that a handler has left without autocommit',
        broken: [
          {
            file: 'lib/store/connectors/mysql-connector.ts',
            find: "if (place === 'alone' && isUncommitted(result))",
            replace: "if (place === 'alone' && false)",
          },
        ],
        shownBy: [{ spec: 'test/conformance/autocommit', test: 'without autocommit' }],
      },
      {
        promise: 'a connection that a handler has left in a transaction',
        broken: [
          {
            file: 'lib/store/connectors/postgres-connector.ts',
            find: 'if (session?.status === IN_TRANSACTION) return reject(notCommitted());',
            replace: '',
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/left-sessions', test: 'keep no claim' }],
      },
      {
        promise: 'no success before it is on record',
        broken: [
          {
            file: 'lib/edges/http/http-run.ts',
            find: '    this.leased.end(result);\n',
            replace: '    this.capture.release();\n    this.leased.end(result);\n',
          },
        ],
        shownBy: [
          {
            spec: 'test/e2e/protocol/lost-database-responses',
            test: 'lost answers on postgres the database is refused for longer than the lease',
          },
        ],
      },
      {
        promise: 'a completion whose answer was lost',
        broken: [
          {
            file: 'lib/engine/recorder.ts',
            find: 'return recordState?.status === status &&',
            replace: "return status !== 'done' && recordState?.status === status &&",
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/leased-execution', test: 'is found to have happened' }],
      },
      {
        promise: 'a database that comes back within the lease',
        broken: [
          {
            file: 'lib/engine/recorder.ts',
            find: 'retryWhileUnavailable(tryAgain, giveUpAt,',
            replace: 'retryWhileUnavailable(tryAgain, 0,',
          },
        ],
        shownBy: [
          { spec: 'test/e2e/engine/leased-execution', test: 'recording an outcome is tried again within the lease' },
        ],
      },
      {
        promise: 'replays byte for byte',
        broken: [
          {
            file: 'lib/store/dialects/shared-statements.ts',
            find: 'return [c.code, c.head, c.body,',
            replace: 'return [c.code, c.head, c.body && Buffer.from(c.body.toString()),',
          },
        ],
        shownBy: [{ spec: 'test/conformance/responses' }],
      },
      {
        promise: 'a completion that the database refuses',
        broken: [
          {
            file: 'lib/engine/recorder.ts',
            find: 'if (!(error instanceof StoreRefusedError) || error.mayPass || isTombstone(outcome)) return',
            replace: 'if (error) return',
          },
        ],
        shownBy: [
          {
            spec: 'test/conformance/handler-transactions',
            test: 'the response: done without it in a plain operation',
          },
        ],
      },
      {
        promise: 'a table that is missing for a moment',
        broken: [
          {
            file: 'lib/store/deadline.ts',
            find: 'mayPass: saysMissingTables(cause) || lacksRight(cause)',
            replace: 'mayPass: false',
          },
        ],
        shownBy: [{ spec: 'test/conformance/restored-tables' }],
      },
      {
        promise: 'a server that closes the connection at the same completion',
        broken: [
          {
            file: 'lib/engine/recorder.ts',
            find: 'const REFUSED_AFTER_LOSSES = 3;',
            replace: 'const REFUSED_AFTER_LOSSES = 300;',
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/leased-execution', test: 'recording an outcome' }],
      },
      {
        promise: 'what no table knows is a refusal',
        broken: [
          {
            file: 'lib/store/driver-errors.ts',
            find: "return isOutage ? 'outage' : 'refusal';",
            replace: "return 'outage';",
          },
        ],
        shownBy: [{ spec: 'test/unit/store/driver-errors' }],
      },
      {
        promise: 'a response that is too large to be kept',
        broken: [
          {
            file: 'lib/edges/http/run-result.ts',
            find: 'if (!body) return storedResult(TOMBSTONE, failed, handlerFailed);',
            replace: "if (!body) return { kind: 'release' };",
          },
        ],
        shownBy: [{ spec: 'test/conformance/responses', test: 'sent untouched, and not again' }],
      },
      {
        promise: 'cookies',
        broken: [{ file: 'lib/edges/content/response-head.ts', find: "'set-cookie',", replace: "'x-set-cookie'," }],
        shownBy: [{ spec: 'test/conformance/middleware', test: 'a cookie is set once' }],
      },
    ],
  },
  {
    heading: 'No stale writes',
    promises: [
      {
        promise: 'a process stopped for longer than its lease, on three databases',
        broken: [
          {
            file: 'lib/store/dialects/postgres.ts',
            find: "WHERE r.id = i.id AND r.owner = i.owner AND r.token = i.token AND r.status = 'processing'",
            replace: "WHERE r.id = i.id AND r.status = 'processing'",
          },
        ],
        shownBy: [
          { spec: 'test/e2e/protocol/lease', test: 'the lease on postgres a zombie whose successor still runs' },
        ],
      },
      {
        promise: 'writes are fenced by owner, token and status',
        broken: [
          {
            file: 'lib/store/dialects/postgres.ts',
            find: "AND r.token = i.token AND r.status = 'processing' AND ${BY_INDEX}",
            replace: "AND r.token = i.token AND r.status IN ('processing', 'held') AND ${BY_INDEX}",
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/ownership', test: 'to complete' }],
      },
      {
        promise: 'the answer is what is on record',
        broken: [
          {
            file: 'lib/edges/shared/run-end.ts',
            find: '  const isRetryable = (one: unknown) => errors.isRetryable(one);\n',
            replace: `  if (recorded.kind === 'lost') return undefined;
  const isRetryable = (one: unknown) => errors.isRetryable(one);
`,
          },
        ],
        shownBy: [
          { spec: 'test/e2e/protocol/lease', test: 'the lease on postgres a stopped process loses its record' },
        ],
      },
      {
        promise: 'the signal of a lost lease',
        broken: [
          {
            file: 'lib/engine/execution.ts',
            find: '    this.isLost = true;\n    this.abort(reason);\n',
            replace: '    this.isLost = true;\n',
          },
        ],
        shownBy: [{ spec: 'test/e2e/protocol/lease', test: 'the lease on postgres a lost lease aborts the signal' }],
      },
      {
        promise: 'steps of an execution that lost its record',
        broken: [
          {
            file: 'lib/store/dialects/sqlite.ts',
            find: '${NOW} FROM ${record} WHERE ${OWNED}\n      ON CONFLICT (record_id, name)',
            replace: '${NOW} FROM ${record} WHERE id = ? OR ? = ?\n      ON CONFLICT (record_id, name)',
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/leased-execution', test: 'of an execution that lost its record' }],
      },
      {
        promise: 'an owner that comes back to what an operator has settled',
        broken: [
          {
            file: 'lib/store/dialects/postgres.ts',
            find: "resolveDone: `UPDATE ${record} r SET status = 'done', owner = '${NO_OWNER}',",
            replace: "resolveDone: `UPDATE ${record} r SET status = 'done',",
          },
        ],
        shownBy: [{ spec: 'test/e2e/protocol/resolved-while-paused', test: 'an owner that comes back on postgres' }],
      },
    ],
  },
];
