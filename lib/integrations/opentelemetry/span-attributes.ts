import { trace } from '@opentelemetry/api';
import type { IdempotencyEvent } from '../../engine/events.js';
import { requestSpan } from '../../private-names/opentelemetry.js';
import { ATTR_ENDPOINT, ATTR_OUTCOME, executionOutcome, requestOutcome } from './outcomes.js';

/**
 * Sets attributes of the active span: events are emitted in the async context of their request. Instrumentations of Nest and of Fastify
 * end the span of a handler before the outcome is recorded. What comes later is set on the span of the request.
 */
export function setSpanAttributes(event: IdempotencyEvent): void {
  const span = [trace.getActiveSpan(), requestSpan()].find((one) => one?.isRecording());
  if (!span) return;
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
