import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { forgetSavepoints, setTransactionState } from '../../private-names/typeorm.js';
import type { Connector } from '../connectors/connector.js';
import { releaseAfter } from '../connectors/discard-connection.js';
import type { TimeLimit } from '../deadline.js';
import { isObserved, WatchedTransaction } from './transaction-watch.js';

/** How often to look whether another's transaction has ended, in milliseconds. */
const LOOK_AGAIN_MS = 2;

/**
 * The transactions that the store begins and commits itself, on connections of the data source's own pool.
 *
 * It waits up to `timeLimit` for each of BEGIN, with the connection for it, COMMIT and ROLLBACK. A connection that is still
 * busy after that goes back to the pool when it has answered.
 */
export class OwnTransactions {
  constructor(
    private readonly dataSource: DataSource,
    private readonly connector: Connector,
    private readonly timeLimit: TimeLimit,
  ) {}

  /**
   * Commits when `work` resolves. Rolls back and rejects with its error when it rejects.
   *
   * @param work gets the transaction where it was marked as it began
   */
  async run<T>(work: (manager: EntityManager, begun: WatchedTransaction | undefined) => Promise<T>): Promise<T> {
    const runner = this.dataSource.createQueryRunner('master');
    let asked: Promise<unknown> | undefined;
    let failed = false;
    try {
      // SQLite has one connection for all: inside another's transaction, this one would be a savepoint.
      while (runner.isTransactionActive) await sleep(LOOK_AGAIN_MS);
      const beginning = this.begin(runner, () => !failed);
      const begun = await this.timeLimit.wait((asked = beginning));
      const result = await work(runner.manager, begun);
      if (!begun?.isCommitted) await this.timeLimit.wait((asked = this.commit(runner, begun)));
      await runner.release();
      return result;
    } catch (error) {
      failed = true;
      const end = () => this.rollBack(runner, error);
      // The first error says more than a ROLLBACK on a connection that is gone.
      await this.timeLimit.wait((asked ?? Promise.resolve()).then(end, end)).catch(() => undefined);
      throw error;
    }
  }

  private async begin(runner: QueryRunner, isWanted: () => boolean): Promise<WatchedTransaction | undefined> {
    const { direct, singleConnection } = this.connector;
    // Not on a single connection: another's transaction could begin while this waits.
    const client = singleConnection ? undefined : ((await runner.connect()) as object);
    if (!isWanted()) return undefined;
    if (!client || !direct || isObserved(this.dataSource)) {
      await runner.startTransaction();
      return undefined;
    }
    const transaction = new WatchedTransaction();
    transaction.listenTo(client);
    transaction.on = direct.on(client);
    await direct.begin(runner, client, transaction.mark);
    return transaction;
  }

  private commit(runner: QueryRunner, begun: WatchedTransaction | undefined): Promise<void> {
    forgetSavepoints(runner);
    if (!begun || runner.isReleased || isObserved(this.dataSource)) return runner.commitTransaction();
    return this.connector.direct!.commit(runner, begun.client);
  }

  private async rollBack(runner: QueryRunner, error: unknown): Promise<void> {
    if (runner.isTransactionActive) {
      forgetSavepoints(runner);
      // What something else has ended cannot be rolled back. TypeORM would go on believing in it: on SQLite, where all share one
      // query runner, everything would wait for its end forever.
      await runner.rollbackTransaction().catch(() => setTransactionState(runner, false));
    }
    await releaseAfter(error, runner);
  }
}
