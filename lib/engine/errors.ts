/** The store could not be asked, or did not answer in time. Nothing is known of what it did. */
export class StoreUnavailableError extends Error {
  override readonly name = 'StoreUnavailableError';
  constructor(options?: ErrorOptions) {
    super('The idempotency store did not answer', options);
  }
}

/**
 * The store understood a statement and refused it; `cause` is its own error. The same statement fails again, so it is
 * never retried: retrying a refusal as if it were an outage makes a request hang for as long as its lease is renewed.
 */
export class StoreRefusedError extends Error {
  override readonly name = 'StoreRefusedError';
  constructor(options?: ErrorOptions) {
    super('The idempotency store refused a statement', options);
  }
}

/** The answer to a COMMIT was lost, or something failed after it: whether it took place has to be looked up. */
export class CommitUnknownError extends Error {
  override readonly name = 'CommitUnknownError';
  constructor(options?: ErrorOptions) {
    super('The answer to COMMIT was lost', options);
  }
}

/**
 * The transaction that an operation began was over before the operation was: by a COMMIT or ROLLBACK of the handler's
 * own, by a statement that commits implicitly, or by a rollback that went unnoticed. What the handler wrote may be there in
 * part, so that the outcome is unknown.
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

/** A statement would have ended the transaction of an operation. It was not sent. */
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
 * A statement came after the transaction of its operation had been undone, as MySQL does at a deadlock, and was not sent:
 * it would have been committed by itself. `cause` is the error that the handler caught, if any.
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
 * An idempotent operation, a step, or a call of `IdempotencyService`, inside a transaction that holds the connection it needs:
 * SQLite's only one, or one of a pool whose connections are all held by transactions that wait for another one. It would
 * wait for the end of the transaction, and the transaction for it. Nothing was done.
 */
export class NestedOperationError extends Error {
  override readonly name = 'NestedOperationError';

  /** @param poolSize how many connections the pool has; absent on SQLite */
  constructor(
    what: string,
    outer: string,
    readonly poolSize?: number,
  ) {
    super(
      poolSize === undefined
        ? `${what} inside ${outer}: SQLite has one connection, so that the one would wait for the other for ever. Do it before ` +
            'or after the transaction, or use a database with more than one connection'
        : `${what} inside ${outer}: every connection of the data source (${poolSize}) is held by a transaction that waits for ` +
            'another one. Do it before or after the transaction, or give the data source more connections than ' +
            'transactional operations run at once',
    );
  }
}

/** A stored record cannot be opened: it was tampered with, or its encryption key is gone. */
export class UnreadableRecordError extends Error {
  override readonly name = 'UnreadableRecordError';
  constructor(options?: ErrorOptions) {
    super('A stored idempotency record cannot be read', options);
  }
}

/** No quorum of lock nodes answered, and the application would rather refuse than do without. */
export class LockUnavailableError extends Error {
  override readonly name = 'LockUnavailableError';
}

/** The application is shutting down: nothing new begins. */
export class ShuttingDownError extends Error {
  override readonly name = 'ShuttingDownError';
  constructor() {
    super('The application is shutting down');
  }
}
