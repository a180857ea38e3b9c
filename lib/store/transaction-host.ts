import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { releaseAfter } from './connectors/discard-connection.js';
import { withDeadline } from './deadline.js';

/**
 * Who begins and commits the transaction of a `transactional` execution.
 *
 * By default the library does. Where an application binds its repositories to a transaction host of its own
 * (`@nestjs-cls/transactional`, `typeorm-transactional`), give it here, so that injected repositories take part:
 *
 * ```ts
 * transactionHost: { run: (_dataSource, work) => txHost.withTransaction(() => work(txHost.tx)) }
 * ```
 */
export interface TransactionHost {
  /** Runs `work` in a transaction: commits when it resolves, rolls back and rejects with its error when it rejects. */
  run<T>(dataSource: DataSource, work: (manager: EntityManager) => Promise<T>): Promise<T>;
}

/** Those that keep nothing in an async context. */
const contextless = new WeakSet<TransactionHost>();

/** Returns whether the host may have put its transaction into an async context. */
export function hasContext(host: TransactionHost): boolean {
  return !contextless.has(host);
}

/** How often to look whether another's transaction has ended, in milliseconds. */
const LOOK_AGAIN = 2;

/**
 * Begins and commits on a connection of the data source's own pool. Waits at most `timeoutMs` for each of the connection,
 * BEGIN, COMMIT and ROLLBACK; a connection that is still busy with one of them goes back to the pool after that.
 */
export function ownTransactions(timeoutMs: number): TransactionHost {
  const host: TransactionHost = {
    async run(dataSource, work) {
      const runner = dataSource.createQueryRunner('master');
      let last: Promise<unknown> = Promise.resolve();
      const bounded = (asked: Promise<unknown>) => withDeadline((last = asked), timeoutMs);
      const endAfter = (error: unknown) => async () => {
        if (runner.isTransactionActive) await runner.rollbackTransaction().catch(() => forgetTransaction(runner));
        await releaseAfter(error, runner);
      };
      try {
        await bounded(runner.connect());
        // SQLite has one connection for everybody: inside of another's transaction, ours would be a savepoint.
        while (runner.isTransactionActive) await sleep(LOOK_AGAIN);
        await bounded(runner.startTransaction());
        const result = await work(runner.manager);
        await bounded(runner.commitTransaction());
        await runner.release();
        return result;
      } catch (error) {
        // The first error tells more than a ROLLBACK on a connection that is gone.
        const end = endAfter(error);
        await bounded(last.then(end, end)).catch(() => undefined);
        throw error;
      }
    },
  };
  contextless.add(host);
  return host;
}

/**
 * A transaction that something else has ended cannot be rolled back, and TypeORM goes on believing in it: on SQLite, where
 * everybody shares one query runner, all would wait for its end for ever.
 */
function forgetTransaction(runner: QueryRunner): void {
  Object.assign(runner, { isTransactionActive: false, transactionDepth: 0 });
}
