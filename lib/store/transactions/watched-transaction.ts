import { randomBytes } from 'node:crypto';
import type { QueryRunner } from 'typeorm';
import type { Connector } from '../connectors/connector.js';

/** A driver's connection. One over a network emits an error when it is lost. */
export interface RawConnection {
  on?(event: 'error', listener: (error: unknown) => void): void;
}

/** Why a connection was lost: the error that it emitted, or that a statement got, where the server reported the reason there. */
interface LostConnection {
  error?: unknown;
}

const lostConnections = new WeakMap<RawConnection, LostConnection>();

function watchLoss(connection: RawConnection): LostConnection {
  const known = lostConnections.get(connection);
  // An error of an earlier transaction did not end this one.
  if (known) return Object.assign(known, { error: undefined });
  const lost: LostConnection = {};
  lostConnections.set(connection, lost);
  // One listener for each connection, because a pool uses it for many transactions.
  connection.on?.('error', (error) => (lost.error ??= error));
  return lost;
}

/** The prefix of all marks of this process. */
const MARK_PREFIX = `nestjs_${randomBytes(8).toString('hex')}_`;
let marks = 0;

/**
 * The phases of the transaction of an operation.
 *
 * - `open`: the handler runs. Statements pass, except those that would end the transaction, and writes of a step or of an inner
 *   operation. It becomes `undone` when the transaction is over early, and `ending` or `failed` when the handler ends.
 * - `undone`: the database rolled it back, as MySQL does at a deadlock, or a statement committed it. Every further statement
 *   is refused, as PostgreSQL does by itself. A handler that caught the error would continue in autocommit, and half of its
 *   writes would stay.
 * - `ending`: the handler has ended. The code that began the transaction commits it. It becomes `committing` when COMMIT is sent.
 * - `committing`: COMMIT is sent. Statements of the handler are refused: those that it has left running would follow the COMMIT, and
 *   stay although it fails.
 * - `failed`: the handler or the completion has failed. The code that began the transaction rolls it back. Statements of the
 *   handler are refused: those that it has left running would follow the ROLLBACK, and commit by themselves.
 */
type Phase = 'open' | 'undone' | 'ending' | 'committing' | 'failed';

export class WatchedTransaction {
  phase: Phase = 'open';
  /** The error that undid the transaction. Absent where a statement committed it. */
  cause: unknown;
  /** The transaction is over, and may have been committed: a retry might write twice. */
  mayBeCommitted = false;
  /** The name of a savepoint, or the value of a setting, that ends with the transaction. New for each. */
  readonly mark = MARK_PREFIX + (++marks).toString(36);
  /** The connection of the store's statements. Absent until the transaction is marked. */
  on: unknown;
  /** Resolves once the transaction is marked. Its rejection is handled. Absent where BEGIN has marked it. */
  marking: Promise<void> | undefined;
  /** Whether the handler took another role, which may have no right to write the store's tables. */
  hasOtherRole = false;
  /** On a single connection: whether a statement has read in it. */
  hasRead = false;
  /** On a single connection: whether a statement may have written in it, or opened a transaction within it. */
  mayHaveWritten = false;
  /** On a single connection: how many rows it had written before the transaction, or before it was begun again. */
  changesBefore: unknown;
  /** Whether it was rolled back at its end, as by a subscriber of the application before COMMIT. */
  isRolledBack = false;
  /** Whether the completion has committed it. */
  isCommitted = false;
  runner: QueryRunner | undefined;
  /** Of its first operation, for the log. */
  endpoint = '';
  /** The driver's connection. */
  client: RawConnection | undefined;
  lost: LostConnection = {};
  /** The number of operations that share it, as a transaction host joins them. */
  operations = 0;
  /** How many operations have joined it so far. */
  joined = 0;
  /** What operations that have joined it wait for its end with. */
  readonly settlements: (() => Promise<unknown>)[] = [];

  /** Whether the transaction goes on behind its operations: one of the application, which a transaction host joined them to. */
  get isOfCaller(): boolean {
    const { runner } = this;
    return runner!.isTransactionActive && !runner!.isReleased;
  }

  /** @param client the driver's connection */
  listenTo(client: RawConnection): void {
    this.client = client;
    this.lost = watchLoss(client);
  }
}

/** Marks a transaction again, after a statement that has undone the mark. */
export async function markAgain(connector: Connector, { runner, mark }: WatchedTransaction): Promise<void> {
  const on = await connector.within(runner!.manager);
  // A lost connection has lost its transaction too, and the next statement's error reports that.
  await connector.dialect.markTransaction(on, mark).catch(() => undefined);
}
