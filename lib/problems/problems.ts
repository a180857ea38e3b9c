import { IdempotencyProblem, type ProblemOptions } from './problem.js';

/** 400: the operation requires a key, and the request has none. */
export class IdempotencyKeyMissingException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super('key-missing', options);
  }
}

/** 400: the key is malformed. */
export class IdempotencyKeyInvalidException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super('key-invalid', options);
  }
}

/** 422: the key was used with another request. */
export class IdempotencyKeyReusedException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super('key-reused', options);
  }
}

/** 422: the key belongs to a caller with other credentials. */
export class IdempotencyKeyForeignException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super('key-foreign', options);
  }
}

/** 409: a request with this key is running. */
export class IdempotencyInProgressException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super('in-progress', options);
  }
}

/** 409: an execution ended without a recorded outcome, and an operator has to resolve the record. */
export class IdempotencyOutcomeUnknownException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super('outcome-unknown', options);
  }
}

/** 409: the operation is done, but its response was not kept. */
export class IdempotencyReplayUnavailableException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super('replay-unavailable', options);
  }
}

/** 503: the operation ran, but the database was lost before its outcome was recorded. */
export class IdempotencyOutcomeNotRecordedException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super('outcome-not-recorded', options);
  }
}

/** 503: the database did not answer, so that the operation did not run or was rolled back. */
export class IdempotencyStoreUnavailableException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super('store-unavailable', options);
  }
}

/** 500: the recorded outcome cannot be decrypted: it was tampered with, or its key is missing. */
export class IdempotencyRecordUnreadableException extends IdempotencyProblem {
  constructor(options?: ProblemOptions) {
    super('record-unreadable', options);
  }
}
