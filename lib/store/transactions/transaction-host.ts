import type { DataSource, EntityManager } from 'typeorm';

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
