import { Logger } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import type { FencedAnswer } from '../../engine/ports/record-store.js';
import type { SqliteConnector } from '../connectors/sqlite-connector.js';
import type { Work } from '../statements.js';
import type { TransactionWatch } from './transaction-watch.js';
import type { WatchedTransaction } from './watched-transaction.js';

/**
 * Writes the steps and the lease of an operation whose transaction is open on the only connection. Another process must see them at once,
 * and find them after a crash.
 */
export class SingleConnectionWrites {
  private readonly logger = new Logger('Idempotency');
  private readonly warnedOf = new Set<string>();

  constructor(
    private readonly connector: SqliteConnector,
    private readonly watch: TransactionWatch,
  ) {}

  /**
   * To be called before the handler of a transaction.
   *
   * @param mayHaveWritten whether other code may have written in it already
   */
  onBegun(transaction: WatchedTransaction, mayHaveWritten: boolean): void {
    transaction.mayHaveWritten ||= mayHaveWritten;
    transaction.changesBefore = this.connector.changes;
  }

  /**
   * Runs `work` outside of the transaction as long as that has written nothing. Once it may have written, `work` runs within it: its lock
   * keeps other processes from the record, and a crash undoes what `work` writes.
   *
   * @param step the name of the step that `work` records
   */
  async run(manager: EntityManager, work: Work<FencedAnswer>, step?: string): Promise<FencedAnswer> {
    const { connector } = this;
    const transaction = this.watch.transactionOf(manager);
    await transaction?.marking;
    // One that counts as undone below is still open, and writes nothing any more.
    const isOpen = (transaction?.phase === 'open' || transaction?.phase === 'undone') && connector.isInTransaction;
    if (!transaction || !isOpen) return work(await connector.within(manager));
    if (transaction.mayHaveWritten || transaction.changesBefore !== connector.changes) {
      if (step !== undefined && !connector.isInMemory) this.warnOfStep(transaction.endpoint, step);
      return work(await connector.within(manager));
    }
    const { result, isStale } = connector.outside(transaction.mark, transaction.hasRead, work);
    transaction.changesBefore = connector.changes;
    if (isStale) {
      transaction.phase = 'undone';
      const cause = new Error('Another connection has written since the handler has read');
      transaction.cause = Object.assign(cause, { code: 'SQLITE_BUSY_SNAPSHOT' });
    }
    return result;
  }

  private warnOfStep(endpoint: string, step: string): void {
    if (this.warnedOf.has(endpoint)) return;
    this.warnedOf.add(endpoint);
    this.logger.warn(
      `${endpoint}: step "${step}" comes after a write on the only connection of SQLite, by its handler or by another request. So the step is ` +
        'recorded only with COMMIT. If the process dies before, a retry runs it again. Call steps before the first write, or use a database with ' +
        'more connections',
    );
  }
}
