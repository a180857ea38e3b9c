import { trace } from '@opentelemetry/api';
import type { IdempotencyEvent } from '../../engine/events.js';
import { ATTR_ENDPOINT, ATTR_OUTCOME, executionOutcome, requestOutcome } from './outcomes.js';

/** Sets attributes of the active span, which is the request's: events are emitted in its async context. */
export function setSpanAttributes(event: IdempotencyEvent): void {
  const span = trace.getActiveSpan();
  if (!span?.isRecording()) return;
  const request = requestOutcome(event);
  const execution = executionOutcome(event);
  span.setAttributes({
    'idempotency.record.id': event.recordId,
    [ATTR_ENDPOINT]: event.endpoint,
    ...(request && { [ATTR_OUTCOME]: request }),
    ...(execution && { 'idempotency.execution.outcome': execution }),
    ...(event.type === 'claimed' && { 'idempotency.attempt': event.attempt, 'idempotency.token': event.token }),
    ...(event.type === 'waited' && { 'idempotency.wait.duration': event.waitMs / 1_000 }),
    ...(event.type === 'lockDegraded' && { 'idempotency.lock.degraded': true }),
  });
}
