/** The store did not answer in time. Whether the statement took effect is unknown, so that only idempotent statements are retried. */
export class StoreUnavailableError extends Error {
  override readonly name = 'StoreUnavailableError';
  constructor(options?: ErrorOptions) {
    super('The idempotency store did not answer', options);
  }
}

/**
 * The store understood a statement and refused it; `cause` is the database's error. It is not retried, unless it `mayPass`: the same
 * statement fails again, and the request would hang as long as its lease is renewed.
 */
export class StoreRefusedError extends Error {
  override readonly name = 'StoreRefusedError';
  /** Whether it refuses every statement at present, as while a table is restored or a right is missing. */
  readonly mayPass: boolean;
  constructor({ mayPass = false, ...options }: ErrorOptions & { mayPass?: boolean } = {}) {
    super('The idempotency store refused a statement', options);
    this.mayPass = mayPass;
  }
}

/** Returns whether a statement may succeed later. */
export function mayPass(error: unknown): boolean {
  return error instanceof StoreUnavailableError || (error instanceof StoreRefusedError && error.mayPass);
}

/** The answer to a COMMIT was lost, or something failed after it. The record shows whether it took place. */
export class CommitUnknownError extends Error {
  override readonly name = 'CommitUnknownError';
  constructor(options?: ErrorOptions) {
    super('The answer to COMMIT was lost', options);
  }
}

/**
 * The transaction of an operation ended before its handler did: by the handler's own COMMIT or ROLLBACK, by a statement that commits
 * implicitly, or by a rollback of the database. A part of the handler's writes may be committed, so that the record is held.
 */
export class TransactionEndedError extends Error {
  override readonly name = 'TransactionEndedError';
  constructor(options?: ErrorOptions) {
    super(
      'The transaction of this operation ended before its handler did: leave COMMIT and ROLLBACK to the library, and keep ' +
        'statements that commit implicitly (such as DDL on MySQL) out of transactional operations',
      options,
    );
  }
}

/** A statement would have ended the transaction of its operation. It was not sent. */
export class TransactionControlError extends Error {
  override readonly name = 'TransactionControlError';
  constructor(readonly statement: string) {
    super(
      `A statement that ends the transaction of this operation was refused: ${statement.trim().slice(0, 80)}. The library ` +
        'commits when the handler has succeeded and rolls back when it throws; keep such statements, DDL on MySQL among ' +
        'them, out of transactional operations',
    );
  }
}

/**
 * A statement came after the database had undone the transaction of its operation, as MySQL does at a deadlock. It was not sent, because
 * it would have committed by itself. `cause` is the error that the handler caught, if any.
 */
export class TransactionUndoneError extends Error {
  override readonly name = 'TransactionUndoneError';
  constructor(options?: ErrorOptions) {
    super(
      'The database has undone the transaction of this operation: let the error of its statement end the handler',
      options,
    );
  }
}

/**
 * A statement came from work that a handler had left running, when COMMIT or ROLLBACK of the operation was sent. It was not sent: behind
 * them, it would have committed by itself, and a retry would write it again where the operation had failed.
 */
export class TransactionOverError extends Error {
  override readonly name = 'TransactionOverError';
  constructor() {
    super(
      'The handler of this operation has ended, and its transaction with it: have the handler wait for all work that it starts, ' +
        'as by Promise.allSettled()',
    );
  }
}

/**
 * An operation wrote through the transaction of another one, in which it runs. The statement was not sent: a rollback of the outer
 * operation would undo the write, while the inner one stays recorded as done, and a retry would skip it.
 */
export class OuterTransactionError extends Error {
  override readonly name = 'OuterTransactionError';
  constructor(inner: string, outer: string) {
    super(
      `${inner} writes in the transaction of ${outer}, in which it runs. Its outcome is recorded at once, and a rollback of ${outer} ` +
        'would undo the write: a retry would skip it. Write by another connection, write outside of run(), or make it ' +
        '`transactional` with a `transactionHost` that joins both',
    );
  }
}

/**
 * An idempotent operation, a step, or a call of `IdempotencyService` inside a transaction would deadlock: the transaction holds SQLite's
 * only connection, or transactions that wait for a second connection hold the whole pool. Nothing was done, except that a step may have
 * happened: it is recorded before its key is free.
 */
export class NestedOperationError extends Error {
  override readonly name = 'NestedOperationError';

  /** @param poolSize the number of connections of the pool; absent on SQLite */
  constructor(
    what: string,
    outer: string,
    readonly poolSize?: number,
  ) {
    super(
      poolSize === undefined
        ? `${what} inside ${outer}: SQLite has one connection, so that the one would wait for the other forever. Do it before ` +
            'or after the transaction, or use a database with more than one connection'
        : `${what} inside ${outer}: every connection of the data source (${poolSize}) is held by a transaction that waits for ` +
            'another one. Do it before or after the transaction, or give the data source more connections than ' +
            'transactional operations run at once',
    );
  }
}

/** A stored record cannot be decrypted: it was tampered with, or its encryption key is missing. */
export class UnreadableRecordError extends Error {
  override readonly name = 'UnreadableRecordError';
  constructor(options?: ErrorOptions) {
    super('A stored idempotency record cannot be read', options);
  }
}

/** No quorum of lock nodes answered, and the option `onLockUnavailable` is `'reject'`. */
export class LockUnavailableError extends Error {
  override readonly name = 'LockUnavailableError';
}

/** The application is shutting down, and begins no new execution. */
export class ShuttingDownError extends Error {
  override readonly name = 'ShuttingDownError';
  constructor() {
    super('The application is shutting down');
  }
}
