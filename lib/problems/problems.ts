import { IdempotencyProblem, type ProblemOptions } from './problem.js';

/** 400: the operation requires a key, and the request has none. */
export class IdempotencyKeyMissingException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super(
      {
        code: 'key-missing',
        title: 'Idempotency key is missing',
        detail: 'This operation requires an idempotency key.',
        retryable: false,
      },
      options,
    );
  }
}

/** 400: the key is malformed. */
export class IdempotencyKeyInvalidException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super(
      {
        code: 'key-invalid',
        title: 'Idempotency key is invalid',
        detail: 'The idempotency key is malformed.',
        retryable: false,
      },
      options,
    );
  }
}

/** 422: the key was used with another request. */
export class IdempotencyKeyReusedException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super(
      {
        code: 'key-reused',
        title: 'Idempotency key is already used',
        detail: 'This idempotency key was used with another request. Use a new key for a new operation.',
        retryable: false,
      },
      options,
    );
  }
}

/** 422: the key belongs to a caller with other credentials. */
export class IdempotencyKeyForeignException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super(
      {
        code: 'key-foreign',
        title: 'Idempotency key is already used',
        detail: 'This idempotency key was used with other credentials.',
        retryable: false,
      },
      options,
    );
  }
}

/** 409: a request with this key is running. */
export class IdempotencyInProgressException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super(
      {
        code: 'in-progress',
        title: 'A request is outstanding for this idempotency key',
        detail: 'A request with this idempotency key is being processed. Try again later.',
        retryable: true,
      },
      { retryAfter: 1, ...options },
    );
  }
}

/** 409: an execution ended without an outcome on record, and an operator has to find out whether it happened. */
export class IdempotencyOutcomeUnknownException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super(
      {
        code: 'outcome-unknown',
        title: 'The outcome of this operation is unknown',
        detail: 'An earlier request with this idempotency key did not finish. Its outcome has to be looked into.',
        retryable: false,
      },
      options,
    );
  }
}

/** 409: the operation is done, but its response was not kept. */
export class IdempotencyReplayUnavailableException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super(
      {
        code: 'replay-unavailable',
        title: 'The response cannot be replayed',
        detail: 'The operation was carried out, but its response was not kept.',
        retryable: false,
      },
      options,
    );
  }
}

/** 503: the operation ran, but the database was lost before its outcome was recorded. */
export class IdempotencyOutcomeNotRecordedException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super(
      {
        code: 'outcome-not-recorded',
        title: 'The outcome could not be recorded',
        detail: 'The operation ran, but its outcome could not be recorded. Try again with the same idempotency key.',
        retryable: true,
      },
      { retryAfter: 5, ...options },
    );
  }
}

/** 503: the database cannot be asked, so the operation did not run, or was rolled back. */
export class IdempotencyStoreUnavailableException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super(
      {
        code: 'store-unavailable',
        title: 'Idempotency cannot be guaranteed at the moment',
        detail: 'The operation was not carried out. Try again with the same idempotency key.',
        retryable: true,
      },
      { retryAfter: 1, ...options },
    );
  }
}

/** 500: the outcome on record cannot be opened: it was tampered with, or its encryption key is gone. */
export class IdempotencyRecordUnreadableException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super(
      {
        code: 'record-unreadable',
        title: 'The outcome on record cannot be read',
        detail: 'The operation has an outcome on record, but it cannot be read.',
        retryable: false,
      },
      options,
    );
  }
}
