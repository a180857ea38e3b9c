import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { NestedOperationError } from '../../engine/errors.js';
import { setTransactionState } from '../../private-names/typeorm.js';
import type { Connector } from '../connectors/connector.js';
import { discardConnection, releaseAfter } from '../connectors/discard-connection.js';
import type { TimeLimit } from '../deadline.js';
import { asUnopened } from '../driver-errors.js';
import { ownRunners } from './rolled-back-calls.js';
import { isObserved } from './transaction-watch.js';
import { WatchedTransaction } from './watched-transaction.js';

/** How often to check whether another's transaction has ended: TypeORM has no event for it. */
const POLL_EVERY_MS = 2;

/** Of a test, which rolls it back: it is not over before the request is answered, and its COMMIT would not be the operation's. */
const NOT_ITS_OWN =
  'The query runner that the data source has made has a transaction open already, as in tests that roll back what they write. ' +
  'A transactional operation needs a connection of its own: delete the rows after each test instead';

/**
 * The states of a transaction.
 *
 * - `'connecting'`: it has no connection. Left for `'beginning'` when it gets one.
 * - `'beginning'`: it waits for BEGIN. Left for `'open'` by its answer.
 * - `'open'`: its work runs. Left for `'ending'` when the work has succeeded.
 * - `'ending'`: it waits for COMMIT.
 */
type Phase = 'connecting' | 'beginning' | 'open' | 'ending';

/**
 * The transactions that the store begins and commits itself, on connections of the data source's pool.
 *
 * It waits up to `timeLimit` for each of BEGIN (with the wait for a connection), COMMIT and ROLLBACK. A connection on which ROLLBACK
 * gets no answer is closed. If a network has lost it, its end would otherwise be noticed after a quarter of an hour, and a few of them
 * would empty the pool for as long.
 */
export class OwnTransactions {
  constructor(
    private readonly dataSource: DataSource,
    private readonly connector: Connector,
    private readonly timeLimit: TimeLimit,
  ) {}

  /**
   * Commits when `work` resolves. When it rejects, rolls back and rejects with the same error.
   *
   * @param work receives the transaction if BEGIN has marked it
   */
  async run<T>(work: (manager: EntityManager, begun: WatchedTransaction | undefined) => Promise<T>): Promise<T> {
    const runner = this.dataSource.createQueryRunner('master');
    if (runner.isTransactionActive && !this.connector.singleConnection) throw new Error(NOT_ITS_OWN);
    /** BEGIN or COMMIT, whose answer a ROLLBACK has to wait for. */
    let statement: Promise<unknown> | undefined;
    let isWanted = true;
    let phase: Phase = 'connecting';
    try {
      // SQLite has one connection for all: inside another transaction, this one would be a savepoint of it.
      while (runner.isTransactionActive) await sleep(POLL_EVERY_MS);
      ownRunners.add(runner);
      const beginning = this.begin(runner, () => {
        phase = 'beginning';
        return isWanted;
      });
      const begun = await this.timeLimit.wait((statement = beginning));
      phase = 'open';
      const result = await work(runner.manager, begun);
      phase = 'ending';
      if (!begun?.isCommitted) await this.timeLimit.wait((statement = this.commit(runner, begun)));
      await runner.release();
      return result;
    } catch (error) {
      isWanted = false;
      const end = () => this.rollBack(runner, error, phase === 'open');
      // The first error is more useful than that of a ROLLBACK on a lost connection.
      const ended = (statement ?? Promise.resolve()).then(end, end);
      await this.timeLimit.wait(ended).catch(() => (phase === 'connecting' ? undefined : discardConnection(runner)));
      throw error;
    } finally {
      // SQLite has one query runner for all transactions.
      ownRunners.delete(runner);
    }
  }

  /** @param onConnected returns `false` once the caller has given up: a BEGIN after its ROLLBACK would never end */
  private async begin(runner: QueryRunner, onConnected: () => boolean): Promise<WatchedTransaction | undefined> {
    const { direct, singleConnection } = this.connector;
    // Not awaited on a single connection: another transaction could begin meanwhile.
    let client: object | undefined;
    try {
      client = singleConnection ? undefined : ((await runner.connect()) as object);
    } catch (error) {
      throw error instanceof NestedOperationError ? error : asUnopened(error);
    }
    if (!onConnected()) return undefined;
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

  /**
   * Ends the whole transaction, whatever TypeORM assumes of it. Where a handler left a nested transaction open, TypeORM would end only that
   * one. Where a subscriber refused to begin one, it takes the outer one for ended. In both cases the connection would return to the pool
   * inside the operation's transaction, whose writes would be lost although its outcome was sent, or committed by another request.
   */
  private commit(runner: QueryRunner, begun: WatchedTransaction | undefined): Promise<void> {
    setTransactionState(runner, true);
    if (!begun || runner.isReleased || isObserved(this.dataSource)) return runner.commitTransaction();
    begun.phase = 'committing';
    return this.connector.direct!.commit(runner, begun.client);
  }

  private async rollBack(runner: QueryRunner, error: unknown, isOpen: boolean): Promise<void> {
    if (isOpen || runner.isTransactionActive) {
      setTransactionState(runner, true);
      // ROLLBACK fails if the transaction has ended already, and is not sent where a subscriber throws before it. TypeORM would take the
      // transaction for open. On SQLite, which has one query runner, every later statement would wait for its end forever.
      await runner.rollbackTransaction().catch(() => {
        setTransactionState(runner, false);
        return discardConnection(runner);
      });
    }
    await releaseAfter(error, this.connector, runner);
  }
}
