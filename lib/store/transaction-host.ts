import type { DataSource, EntityManager } from 'typeorm';
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

/** Begins and commits on a connection of the data source's own pool, for which it waits at most `timeoutMs`. */
export function ownTransactions(timeoutMs: number): TransactionHost {
  return {
    async run(dataSource, work) {
      const runner = dataSource.createQueryRunner('master');
      try {
        await withDeadline(runner.connect(), timeoutMs, () => void runner.release());
        await runner.startTransaction();
        const result = await work(runner.manager);
        await runner.commitTransaction();
        return result;
      } catch (error) {
        // The first error tells more than a ROLLBACK on a connection that is gone.
        if (runner.isTransactionActive) await runner.rollbackTransaction().catch(() => undefined);
        throw error;
      } finally {
        await runner.release();
      }
    },
  };
}
