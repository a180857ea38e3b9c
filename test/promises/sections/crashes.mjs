const NO_STEP_OF_AN_EXPIRED_OPERATION = /** @type {const} */ ([
  [
    'lib/store/dialects/postgres.ts',
    "s.record_id = $1 AND s.token > r.token - r.attempt AND s.name <> '${LEASE_ROW}'",
    "s.record_id = $1 AND s.name <> '${LEASE_ROW}'",
  ],
  ['lib/store/dialects/shared-statements.ts', 's.record_id = ? AND s.token > r.token - r.attempt', 's.record_id = ?'],
]);

/** @type {readonly import('../table.mjs').Section[]} */
export const CRASHES = [
  {
    heading: 'Resumable',
    promises: [
      {
        promise: 'killed before, inside and after each step',
        broken: [
          {
            file: 'lib/engine/steps.ts',
            find: "recorded?.status === 'done' && recorded.result !== RESULT_NOT_KEPT",
            replace: "recorded?.status === 'failed' && recorded.result !== RESULT_NOT_KEPT",
          },
        ],
        shownBy: [
          { spec: 'test/e2e/protocol/crash', test: 'after kill -9 on postgres steps that completed are not run again' },
        ],
      },
      {
        promise: 'killed in a transaction behind a step, on SQLite too',
        broken: [
          {
            file: 'lib/store/transactions/single-connection-writes.ts',
            find: 'if (transaction.mayHaveWritten || transaction.changesBefore !== connector.changes) {',
            replace: 'if (transaction.mark) {',
          },
        ],
        shownBy: [
          {
            spec: 'test/e2e/protocol/transactional-steps',
            test: 'on better-sqlite3 a step that is done is not run again',
          },
        ],
      },
      {
        promise: 'steps of an operation that expired are not seen',
        broken: NO_STEP_OF_AN_EXPIRED_OPERATION.map(([file, find, replace]) => ({ file, find, replace })),
        shownBy: [{ spec: 'test/e2e/store/ownership', test: 'does not see those of an operation that expired' }],
      },
      {
        promise: 'a step that still runs keeps its key',
        broken: [
          {
            file: 'lib/engine/leased-execution.ts',
            find: 'return this.execution.calls.isRunning ? undefined : this.usedSteps?.close();',
            replace: 'return undefined;',
          },
        ],
        shownBy: [{ spec: 'test/conformance/unfinished-work', test: 'on express keeps its key until they have ended' }],
      },
      {
        promise: 'a machine that was suspended',
        broken: [
          {
            file: 'lib/engine/lease.ts',
            find: 'const isWithinLease = Date.now() - this.renewedAt < this.policy.leaseMs;',
            replace: 'const isWithinLease = true;',
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/unfinished-steps', test: 'a step does not begin on a machine' }],
      },
      {
        promise: 'a released operation with steps does not expire',
        broken: [
          {
            file: 'lib/store/dialects/postgres.ts',
            find: '`CASE WHEN ${hasStep(step, ...states)} THEN',
            replace: '`CASE WHEN NOT ${hasStep(step, ...states)} THEN',
          },
          {
            file: 'lib/store/dialects/shared-statements.ts',
            find: '`CASE WHEN ${hasStep(step, ...states)} THEN',
            replace: '`CASE WHEN NOT ${hasStep(step, ...states)} THEN',
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/released-operations', test: 'with a step that is done does not expire' }],
      },
      {
        promise: 'a step that was interrupted is verified',
        broken: [
          {
            file: 'lib/engine/steps.ts',
            find: 'const verified = noObservable(await verify?.(), `verify of step "${name}"`);',
            replace: 'const verified = verify && undefined;',
          },
        ],
        shownBy: [
          { spec: 'test/e2e/protocol/crash', test: 'after kill -9 on postgres a step that died after its effect' },
        ],
      },
      {
        promise: 'a step whose outcome is unknown holds the record',
        broken: [
          {
            file: 'lib/engine/steps.ts',
            find: "(recorded.status === 'begun' && !verify && this.settings.holdOnCrash);",
            replace: "(recorded.status === 'failed' && !verify && this.settings.holdOnCrash);",
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/leased-execution', test: 'whose outcome is unknown holds the record' }],
      },
      {
        promise: 'a step that writes in the transaction',
        broken: [
          {
            file: 'lib/store/transactions/transaction-watch.ts',
            find: '    if (isOfStep && isWrite(query, queryRunner)) throw new StepInTransactionError(step.name);\n',
            replace:
              '    if (isOfStep && isWrite(query, queryRunner) && step.name === query) throw new StepInTransactionError(step.name);\n',
          },
        ],
        shownBy: [{ spec: 'test/conformance/handler-transactions', test: 'refuses what a step writes' }],
      },
      {
        promise: 'a step is recorded though its transaction is rolled back',
        broken: [
          {
            file: 'lib/engine/recorder.ts',
            find: 'return this.owner.usedSteps?.recordAgain()?.catch((lost: unknown) => this.unrecorded(lost));',
            replace: 'return undefined;',
          },
          {
            file: 'lib/engine/recorder.ts',
            find: "    if (usedSteps?.hasUnrecorded) return { kind: 'freed', isTaken: true };\n",
            replace: '',
          },
        ],
        shownBy: [{ spec: 'test/conformance/handler-transactions', test: 'does not run a step again' }],
      },
      {
        promise: 'a step for which no connection was free',
        broken: [
          {
            file: 'lib/engine/steps.ts',
            find: 'if (error instanceof NestedOperationError) this.unrecorded.set(name, end);',
            replace: '',
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/refused-steps', test: 'is recorded before the key is free' }],
      },
      {
        promise: 'a result that cannot be kept',
        broken: [
          {
            file: 'lib/engine/steps.ts',
            find: "await this.end(name, { status: 'done', result: RESULT_NOT_KEPT }).catch",
            replace: "await this.end(name, { status: 'failed' }).catch",
          },
        ],
        shownBy: [{ spec: 'test/conformance/handler-transactions', test: 'whose result cannot be kept' }],
      },
      {
        promise: 'results on later attempts',
        broken: [
          {
            file: 'lib/engine/step-result.ts',
            find: 'return types ? `${TYPES_MARK}${JSON.stringify(types)}\\n${json}` : json;',
            replace: 'return types ? json : json;',
          },
        ],
        shownBy: [{ spec: 'test/conformance/handler-transactions', test: 'dates, bigints and bytes' }],
      },
      {
        promise: 'names byte by byte',
        broken: [
          {
            file: 'lib/engine/step-result.ts',
            find: 'const stored = storedText(name);',
            replace: 'const stored = storedText(name).toLowerCase();',
          },
        ],
        shownBy: [{ spec: 'test/conformance/handler-transactions', test: 'different names are different steps' }],
      },
      {
        promise: 'an interceptor that tries again gets the results of the call before',
        broken: [
          {
            file: 'lib/engine/steps.ts',
            find: 'const result = results.get(name)?.catch(runAgain) ?? run();',
            replace: 'const result = run();',
          },
        ],
        shownBy: [{ spec: 'test/conformance/handler-wrappers', test: 'a step that is done is not run again' }],
      },
      {
        promise: 'an operation with steps does not expire without an outcome',
        broken: [
          {
            file: 'lib/store/dialects/postgres.ts',
            find: "(s.name <> '${LEASE_ROW}' OR s.updated_at",
            replace: '(s.updated_at',
          },
          {
            file: 'lib/store/dialects/shared-statements.ts',
            find: '<= ${now} AND NOT EXISTS (SELECT 1 FROM ${step} s WHERE s.record_id = r.id)`',
            replace: '<= ${now}`',
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/operator-actions', test: 'what has expired, with its steps' }],
      },
    ],
  },
  {
    heading: 'Unknown outcomes are never retried',
    promises: [
      {
        promise: 'an execution that died is held',
        broken: [
          {
            file: 'lib/store/dialects/predicates.ts',
            find: "THEN CASE WHEN ${r}hold_on_crash OR ${n('hold_on_crash')} OR ${r}attempts_left <= 0 THEN 'hold'",
            replace: "THEN CASE WHEN ${r}attempts_left <= 0 THEN 'hold'",
          },
        ],
        shownBy: [{ spec: 'test/e2e/protocol/crash', test: 'after kill -9 on postgres hold: the outcome is unknown' }],
      },
      {
        promise: 'a step that says that its outcome is unknown',
        broken: [
          {
            file: 'lib/engine/steps.ts',
            find: '      if (error instanceof StepUnknownError) {\n',
            replace: '      if (error instanceof StepUnknownError && !this.settings) {\n',
          },
        ],
        shownBy: [{ spec: 'test/conformance/held-records', test: 'holds the record, and does not run again' }],
      },
      {
        promise: 'a held record does not expire',
        broken: [
          {
            file: 'lib/store/dialects/predicates.ts',
            find: "WHEN ${r}expires_at <= ${now} AND ${r}status IN ('done', 'failed') THEN 'restart'",
            replace: "WHEN ${r}expires_at <= ${now} AND ${r}status IN ('done', 'failed', 'held') THEN 'restart'",
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/claims', test: 'never takes a held record' }],
      },
      {
        promise: 'is not swept',
        broken: [
          {
            file: 'lib/store/dialects/predicates.ts',
            find: "return `${r}expires_at <= ${now} AND (${r}status IN ('done', 'failed')",
            replace: "return `${r}expires_at <= ${now} AND (${r}status IN ('done', 'failed', 'held')",
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/operator-actions', test: 'what has expired' }],
      },
      {
        promise: '`maxAttempts` executions that died in a row',
        broken: [
          {
            file: 'lib/store/dialects/predicates.ts',
            find: " OR ${r}attempts_left <= 0 THEN 'hold'",
            replace: " THEN 'hold'",
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/claims', test: 'is held once as many executions died' }],
      },
      {
        promise: 'an execution that ends starts the count again',
        broken: [
          {
            file: 'lib/store/dialects/postgres.ts',
            find: "attempts_left = CASE r.status WHEN 'processing' THEN r.attempts_left - 1 ELSE i.attempts_left END,",
            replace: 'attempts_left = r.attempts_left - 1,',
          },
          {
            file: 'lib/store/dialects/sqlite.ts',
            find: "attempts_left = CASE status WHEN 'processing' THEN attempts_left - 1 ELSE ? END,",
            replace: 'attempts_left = min(?, attempts_left - 1),',
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/claims', test: 'is held once as many executions died' }],
      },
      {
        promise: 'only what is unknown is resolved',
        broken: [
          {
            file: 'lib/store/dialects/predicates.ts',
            find: "return `(${r}status = 'held' OR (",
            replace: "return `(${r}status IN ('held', 'processing') OR (",
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/operator-actions', test: 'resolve nothing that is not unknown' }],
      },
      {
        promise: 'the unknown steps of a record that is freed may run again',
        broken: [
          {
            file: 'lib/store/dialects/postgres.ts',
            find: "UPDATE ${step} s SET status = 'failed' FROM freed WHERE s.record_id = freed.id AND s.status = 'begun'",
            replace:
              "UPDATE ${step} s SET status = 'failed' FROM freed WHERE s.record_id = freed.id AND s.status = 'failed'",
          },
          {
            file: 'lib/store/dialects/shared-statements.ts',
            find: "WHERE record_id = ? AND status = 'begun'",
            replace: "WHERE record_id = ? AND status = 'failed'",
          },
        ],
        shownBy: [
          { spec: 'test/e2e/protocol/crash', test: 'after kill -9 on postgres a step whose outcome is unknown' },
        ],
      },
    ],
  },
];
