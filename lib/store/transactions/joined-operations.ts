/**
 * Operations that a transaction host has joined to the transaction of another operation, or of the application. One that fails leaves
 * no writes there, and one that has ended is on record only once that transaction is committed.
 */
import type { Connector } from '../connectors/connector.js';
import { markAgain, type WatchedTransaction } from './watched-transaction.js';

/** An operation in the transaction of another one, behind a savepoint. */
export class JoinedOperation {
  private constructor(
    private readonly transaction: WatchedTransaction,
    private readonly connector: Connector,
    private readonly savepoint: string,
    /** How many operations had joined the transaction by then. */
    private readonly number: number,
    /** Whether no other one was running. */
    private readonly isAlone: boolean,
  ) {}

  /** Called once the operation is counted. Sets the savepoint, before what the operation writes. */
  static async begin(transaction: WatchedTransaction, connector: Connector): Promise<JoinedOperation> {
    const number = ++transaction.joined;
    const isAlone = transaction.operations === 2;
    const savepoint = `${transaction.mark}_${number}`;
    await transaction.runner!.query(`SAVEPOINT ${savepoint}`);
    return new JoinedOperation(transaction, connector, savepoint, number, isAlone);
  }

  /** Releases the savepoint. Not on MySQL, where that would release the mark as well, if a completion has set it again. */
  async end(): Promise<void> {
    if (this.connector.dialect.commitsImplicitly) return;
    // A lost connection has lost the transaction too, and its end reports that.
    await this.transaction.runner!.query(`RELEASE SAVEPOINT ${this.savepoint}`).catch(() => undefined);
  }

  /**
   * Undoes what the operation has written, because it has failed: the handler of the other one may catch the error and commit, and a retry
   * would write it again. Where operations ran side by side, the savepoint does not distinguish their writes, and nothing of the
   * transaction commits.
   */
  async undo(error: unknown): Promise<void> {
    const { transaction, connector, savepoint } = this;
    if (transaction.phase !== 'open') return;
    const isAlone = this.isAlone && transaction.joined === this.number;
    if (isAlone && (await succeeds(transaction.runner!.query(`ROLLBACK TO SAVEPOINT ${savepoint}`)))) {
      return markAgain(connector, transaction);
    }
    transaction.phase = 'undone';
    transaction.cause ??= new Error(
      'An operation has failed beside another one in the same transaction: have the handler wait for each before it begins the next',
      { cause: error },
    );
  }
}

function succeeds(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  );
}

/** Lets all operations that have joined a transaction find out how it has ended. */
export function settle({ settlements }: WatchedTransaction): Promise<unknown> {
  return Promise.allSettled(settlements.splice(0).map((settlement) => settlement()));
}

/**
 * As {@link settle}, when the application has released the connection: then its transaction is over, however it ended. TypeORM emits an
 * event of a ROLLBACK only where the server answered it.
 */
export function settleAtRelease(transaction: WatchedTransaction): void {
  const runner = transaction.runner!;
  const release = runner.release.bind(runner);
  Object.assign(runner, {
    release: async () => {
      await release();
      await settle(transaction);
    },
  });
}
