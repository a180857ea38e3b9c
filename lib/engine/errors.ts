/** The store could not be asked, or did not answer in time. Nothing is known of what it did. */
export class StoreUnavailableError extends Error {
  override readonly name = 'StoreUnavailableError';
  constructor(options?: ErrorOptions) {
    super('The idempotency store did not answer', options);
  }
}

/** The answer to a COMMIT was lost: whether it took place has to be looked up. */
export class CommitUnknownError extends Error {
  override readonly name = 'CommitUnknownError';
  constructor(options?: ErrorOptions) {
    super('The answer to COMMIT was lost', options);
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
