/** @type {readonly import('../table.mjs').Section[]} */
export const TRANSACTIONS = [
  {
    heading: 'Transactional',
    promises: [
      {
        promise: 'the completion is in the transaction',
        broken: [
          {
            file: 'lib/engine/transactional-run.ts',
            find: `await (transaction.completeLast?.(ownership, completion) ??
      transaction.complete(ownership, completion));`,
            replace: `await (owner.store.steps.joinsTransaction
          ? transaction.complete(ownership, completion)
          : owner.store.complete(ownership, completion));`,
          },
        ],
        shownBy: [{ spec: 'test/conformance/handler-transactions', test: 'its error reaches the filters' }],
      },
      {
        promise: "an operation that joins another's transaction",
        broken: [
          {
            file: 'lib/engine/transactional-run.ts',
            find: 'if (this.transaction?.settleAtEnd?.(() => this.settleJoined(completed))) return this.leaveToOuter();',
            replace: '',
          },
        ],
        shownBy: [
          {
            spec: 'test/conformance/joined-transactions',
            test: 'on postgres is released when the outer transaction is rolled back',
          },
        ],
      },
      {
        promise: 'a joined operation that fails',
        broken: [
          {
            file: 'lib/store/transactions/transaction-watch.ts',
            find: 'else if (operation) await operation.undo(error);',
            replace: '',
          },
        ],
        shownBy: [
          { spec: 'test/conformance/joined-transactions', test: 'on postgres leaves nothing behind when it fails' },
        ],
      },
      {
        promise: 'an effect exists once, whatever dies',
        broken: [
          {
            file: 'lib/engine/transactional-run.ts',
            find: 'if (!fenced.held) throw new LeaseLostError();',
            replace: '',
          },
          {
            file: 'lib/store/dialects/postgres.ts',
            find: 'if (code !== NO_BOOLEAN) throw error;\n',
            replace: "await on.query({ text: 'ROLLBACK' });\n",
          },
        ],
        shownBy: [{ spec: 'test/e2e/protocol/lease', test: 'the lease on mariadb transactional: what a zombie wrote' }],
      },
      {
        promise: 'a COMMIT that is still under way is waited for',
        broken: [
          {
            file: 'lib/engine/recorder.ts',
            find: 'if ((await store.renew(ownership, operation.policy.leaseMs)).held) return',
            replace: "if ((await store.read(ownership.recordId))?.status === 'processing') return",
          },
        ],
        shownBy: [{ spec: 'test/e2e/engine/pending-commit' }],
      },
      {
        promise: 'a COMMIT whose answer was lost',
        broken: [
          {
            file: 'lib/engine/transactional-run.ts',
            find: 'return recorder.lookUpCommit(progress, error.cause ?? error);\n',
            replace: '',
          },
        ],
        shownBy: [
          {
            spec: 'test/e2e/protocol/lost-database-responses',
            test: 'lost answers on mariadb the answer to a COMMIT is lost',
          },
        ],
      },
      {
        promise: 'an error rolls back, and is recorded by itself',
        broken: [
          {
            file: 'lib/engine/transactional-run.ts',
            find: "if (result.kind !== 'store' || result.failed || isUnknown",
            replace: "if (result.kind !== 'store' || isUnknown",
          },
        ],
        shownBy: [{ spec: 'test/conformance/transactions', test: 'on SQLite' }],
      },
      {
        promise: 'a deadlock frees the key and answers 503',
        broken: [
          {
            file: 'lib/store/driver-errors.ts',
            find: '  conflict: /^(40001|40P01|55P03)$/,',
            replace: '  conflict: /^(55P03)$/,',
          },
          {
            file: 'lib/store/driver-errors.ts',
            find: '  conflict: /^(1205|1213|1020|1412|3572|3101)$/,',
            replace: '  conflict: /^(1205|3572|3101)$/,',
          },
        ],
        shownBy: [{ spec: 'test/e2e/protocol/transactional', test: 'transactions on postgres a deadlock answers 503' }],
      },
      {
        promise: 'a deadlock that the handler catches',
        broken: [
          {
            file: 'lib/store/transactions/transaction-watch.ts',
            find: "    if (transaction.phase === 'undone') throw new TransactionUndoneError({ cause: transaction.cause });\n",
            replace: '',
          },
          {
            file: 'lib/store/sql-record-store.ts',
            find: "    if (phase === 'undone' && cause !== undefined) throw new TransactionUndoneError({ cause });\n",
            replace: '',
          },
        ],
        shownBy: [{ spec: 'test/conformance/handler-transactions', test: 'a deadlock that the handler catches' }],
      },
      {
        promise: 'work that a failed handler left running',
        broken: [
          {
            file: 'lib/store/transactions/transaction-watch.ts',
            find: "if (!joined) transaction.phase = 'failed';\n      else if",
            replace: 'if',
          },
        ],
        shownBy: [{ spec: 'test/conformance/unfinished-work', test: 'writes nothing once the handler has failed' }],
      },
      {
        promise: 'work left running behind a COMMIT that fails',
        broken: [
          {
            file: 'lib/store/sql-record-store.ts',
            find: "transaction.phase = 'committing';",
            replace: "transaction.phase = 'ending';",
          },
        ],
        shownBy: [{ spec: 'test/conformance/unfinished-work', test: 'writes nothing behind the COMMIT' }],
      },
      {
        promise: 'an inner operation that writes in the outer transaction',
        broken: [
          {
            file: 'lib/store/transactions/transaction-watch.ts',
            find: '    refuseOfInner(queryRunner, query);\n',
            replace: '',
          },
        ],
        shownBy: [{ spec: 'test/conformance/unfinished-work', test: 'does not write in the transaction by an inner' }],
      },
      {
        promise: 'a statement that would end the transaction',
        broken: [
          {
            file: 'lib/store/transactions/transaction-watch.ts',
            find: '    if (endsTransaction(query, this.connector.dialect)) throw new TransactionControlError(query);\n',
            replace: '',
          },
        ],
        shownBy: [{ spec: 'test/conformance/handler-transactions', test: 'refuses COMMIT' }],
      },
      {
        promise: 'a transaction that ended behind the library',
        broken: [
          {
            file: 'lib/engine/transactional-run.ts',
            find: 'if (error instanceof TransactionEndedError) return recorder.hold(error);\n',
            replace: '',
          },
        ],
        shownBy: [{ spec: 'test/conformance/handler-transactions', test: 'is held where a' }],
      },
      {
        promise: 'an error at COMMIT reaches the filters',
        broken: [
          {
            file: 'lib/store/sql-record-store.ts',
            find: 'const cause = transaction?.lost.error ?? error;',
            replace: 'const cause = new StoreUnavailableError({ cause: transaction?.lost.error ?? error });',
          },
        ],
        shownBy: [{ spec: 'test/conformance/handler-transactions', test: 'its error reaches the filters' }],
      },
      {
        promise: 'a subscriber that rolls back before COMMIT',
        broken: [
          {
            file: 'lib/store/transactions/transaction-watch.ts',
            find: '    if (success && rollsBack(query)) transaction.isRolledBack = true;\n',
            replace: '    if (success && !query && rollsBack(query)) transaction.isRolledBack = true;\n',
          },
        ],
        shownBy: [
          { spec: 'test/conformance/transaction-lifecycle', test: 'where a subscriber rolls back before COMMIT' },
        ],
      },
      {
        promise: 'heartbeats at every isolation level',
        broken: [
          {
            file: 'lib/store/dialects/postgres.ts',
            find: "fenced(on, transactional ? 'renewLeaseRow' : 'renew', ownership, leaseMs)",
            replace: "fenced(on, (void transactional, 'renew'), ownership, leaseMs)",
          },
        ],
        shownBy: [{ spec: 'test/conformance/isolation-levels', test: 'is recorded after heartbeats' }],
      },
      {
        promise: 'a transaction host',
        broken: [
          {
            file: 'lib/store/sql-record-store.ts',
            find: 'host ? host.run(this.dataSource, (manager) => during(manager, undefined)) : this.ownTransactions.run(during);',
            replace: 'host ? this.ownTransactions.run(during) : this.ownTransactions.run(during);',
          },
        ],
        shownBy: [{ spec: 'test/e2e/module/transaction-host', test: 'on postgres' }],
      },
      {
        promise: 'a transaction of the application that is rolled back on SQLite',
        broken: [
          {
            file: 'lib/store/connectors/sqlite-connector.ts',
            find: '    do await this.untilFree();\n    while (this.connection.inTransaction);\n',
            replace: '',
          },
        ],
        shownBy: [{ spec: 'test/e2e/store/transactions', test: 'does not carry our statements with it' }],
      },
      {
        promise: 'an operation inside one on SQLite',
        broken: [
          {
            file: 'lib/store/sql-record-store.ts',
            find: '    if (nested) return Promise.reject(nested);\n',
            replace: '',
          },
        ],
        shownBy: [{ spec: 'test/conformance/sqlite-single-connection' }],
      },
      {
        promise: 'a stream that breaks off is rolled back',
        broken: [
          {
            file: 'lib/edges/http/run-result.ts',
            find: '  return operation.options.policy.transactional && pass.isTruncated;\n',
            replace: '  return false;\n',
          },
        ],
        shownBy: [{ spec: 'test/conformance/transactional-streams', test: 'whose client goes away' }],
      },
      {
        promise: 'a stream that is too long to keep commits at its end',
        broken: [
          {
            file: 'lib/edges/http/run-result.ts',
            find: 'if (isStreamed || (!body && worksInTransaction(run)))',
            replace: 'if (isStreamed)',
          },
        ],
        shownBy: [{ spec: 'test/conformance/transactional-streams', test: 'failing: no row' }],
      },
      {
        promise: 'a handler in another role',
        broken: [
          {
            file: 'lib/store/transactions/transaction-watch.ts',
            find: '    if (changesRole(query)) transaction.hasOtherRole = true;\n',
            replace: '',
          },
        ],
        shownBy: [{ spec: 'test/conformance/roles', test: 'the outcome commits with what the tenant wrote' }],
      },
      {
        promise: 'a warning of writes elsewhere',
        broken: [
          {
            file: 'lib/store/transactions/transaction-watch.ts',
            find: 'if (!manager || currentStep() || !isWrite(query, on)) return;',
            replace: 'if (!manager || currentStep() || isWrite(query, on)) return;',
          },
        ],
        shownBy: [{ spec: 'test/conformance/handler-transactions', test: 'warns once for each endpoint' }],
      },
    ],
  },
];
