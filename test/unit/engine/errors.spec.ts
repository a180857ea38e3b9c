import * as errors from '../../../lib/engine/errors.js';
import { LeaseLostError, StepUnknownError } from '../../../lib/engine/steps.js';

/** What is read in logs, and distinguished by code that cannot import the class. */
it.each([
  [new errors.StoreUnavailableError(), 'StoreUnavailableError: The idempotency store did not answer'],
  [new errors.CommitUnknownError(), 'CommitUnknownError: The answer to COMMIT was lost'],
  [new errors.UnreadableRecordError(), 'UnreadableRecordError: A stored idempotency record cannot be read'],
  [new errors.LockUnavailableError('no quorum'), 'LockUnavailableError: no quorum'],
  [new errors.ShuttingDownError(), 'ShuttingDownError: The application is shutting down'],
  [new LeaseLostError(), 'LeaseLostError: This execution has lost its idempotency record'],
  [new StepUnknownError('charge'), 'StepUnknownError: Whether step "charge" happened is unknown'],
])('%s', (error, text) => {
  expect(String(error)).toBe(text);
});

it.each([errors.StoreUnavailableError, errors.CommitUnknownError, errors.UnreadableRecordError])(
  '%p names its cause',
  (ErrorClass) => {
    const cause = new Error('connection lost');
    expect(new ErrorClass({ cause }).cause).toBe(cause);
  },
);
