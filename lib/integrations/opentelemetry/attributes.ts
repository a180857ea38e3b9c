/** Attributes of metrics and spans. */
export const ATTR_ENDPOINT = 'idempotency.endpoint';
export const ATTR_OUTCOME = 'idempotency.outcome';

/** Attributes of spans. */
export const ATTR_RECORD_ID = 'idempotency.record.id';
export const ATTR_ATTEMPT = 'idempotency.attempt';
export const ATTR_TOKEN = 'idempotency.token';
export const ATTR_EXECUTION_OUTCOME = 'idempotency.execution.outcome';
export const ATTR_WAIT_DURATION = 'idempotency.wait.duration';
export const ATTR_LOCK_DEGRADED = 'idempotency.lock.degraded';
