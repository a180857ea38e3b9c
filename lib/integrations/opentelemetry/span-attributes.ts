import { type Attributes, trace } from '@opentelemetry/api';
import type { IdempotencyEvent } from '../../engine/events.js';
import {
  ATTR_ATTEMPT,
  ATTR_ENDPOINT,
  ATTR_EXECUTION_OUTCOME,
  ATTR_LOCK_DEGRADED,
  ATTR_OUTCOME,
  ATTR_RECORD_ID,
  ATTR_TOKEN,
  ATTR_WAIT_DURATION,
} from './attributes.js';
import { executionOutcome, requestOutcome } from './outcomes.js';

/** Sets attributes of the active span, which is the request's: events are emitted in its async context. */
export function noteOnSpan(event: IdempotencyEvent): void {
  const span = trace.getActiveSpan();
  if (span?.isRecording()) span.setAttributes(attributesOf(event));
}

function attributesOf(event: IdempotencyEvent): Attributes {
  const attributes: Attributes = { [ATTR_RECORD_ID]: event.recordId, [ATTR_ENDPOINT]: event.endpoint };
  const request = requestOutcome(event);
  if (request) attributes[ATTR_OUTCOME] = request;
  const execution = executionOutcome(event);
  if (execution) attributes[ATTR_EXECUTION_OUTCOME] = execution;
  if (event.type === 'claimed') {
    attributes[ATTR_ATTEMPT] = event.attempt;
    attributes[ATTR_TOKEN] = event.token;
  }
  if (event.type === 'waited') attributes[ATTR_WAIT_DURATION] = event.waitMs / 1_000;
  if (event.type === 'lockDegraded') attributes[ATTR_LOCK_DEGRADED] = true;
  return attributes;
}
