import type { DataSource, EntityManager } from 'typeorm';

/**
 * Begins and commits the transaction of a `transactional` execution. Default: the library does.
 *
 * Set it where the application uses a transaction host (`@nestjs-cls/transactional`, `typeorm-transactional`), so that
 * injected repositories take part in the transaction.
 *
 * @example
 * ```ts
 * transactionHost: { run: (_dataSource, work) => txHost.withTransaction(() => work(txHost.tx)) }
 * ```
 */
export interface TransactionHost {
  /** Runs `work` in a transaction, once. Commits when it resolves. When it rejects, rolls back and rejects with the same error. */
  run<T>(dataSource: DataSource, work: (manager: EntityManager) => Promise<T>): Promise<T>;
}
