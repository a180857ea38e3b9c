import { type Meter, ValueType } from '@opentelemetry/api';
import type { IdempotencyEvent } from '../../engine/events.js';
import { ATTR_ENDPOINT, ATTR_OUTCOME, executionOutcome, requestOutcome } from './outcomes.js';

/** Histogram boundaries for statements and round trips, in seconds. */
const STATEMENT_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
/** Histogram boundaries for handlers that a duplicate waits for, in seconds. */
const HANDLER_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Replaces names beyond the limit, as in OpenTelemetry's semantic conventions. */
const OTHER = '_OTHER';

/**
 * Returns a function that records events as metrics.
 *
 * @param maxEndpoints how many values the attribute of endpoints may have: unlimited, each request could create a time series
 */
export function metricsOf(meter: Meter, maxEndpoints: number): (event: IdempotencyEvent) => void {
  const counter = (name: string, unit: string, description: string) =>
    meter.createCounter(name, { description, unit, valueType: ValueType.INT });
  const requests = counter('idempotency.requests', '{request}', 'Requests with an idempotency key, by outcome.');
  const executions = counter(
    'idempotency.executions',
    '{execution}',
    'Executions of idempotent operations, by how they ended.',
  );
  const lockDegradations = counter(
    'idempotency.lock.degradations',
    '{request}',
    'Requests that went on without the lock, as no quorum of Redis nodes answered.',
  );

  const histogram = (name: string, explicitBucketBoundaries: number[], description: string) =>
    meter.createHistogram(name, { description, unit: 's', advice: { explicitBucketBoundaries } });
  const claimDuration = histogram(
    'idempotency.claim.duration',
    STATEMENT_SECONDS,
    'Duration of lock and claim, where the request won its record.',
  );
  const completeDuration = histogram(
    'idempotency.complete.duration',
    STATEMENT_SECONDS,
    'Duration of recording an outcome.',
  );
  const waitDuration = histogram(
    'idempotency.wait.duration',
    HANDLER_SECONDS,
    'How long duplicates waited for a running request.',
  );

  const known = new Set<string>();
  return (event) => {
    const isKnown = known.has(event.endpoint) || known.size < maxEndpoints;
    if (isKnown) known.add(event.endpoint);
    const endpoint = { [ATTR_ENDPOINT]: isKnown ? event.endpoint : OTHER };
    const request = requestOutcome(event);
    if (request) requests.add(1, { ...endpoint, [ATTR_OUTCOME]: request });
    const execution = executionOutcome(event);
    if (execution) executions.add(1, { ...endpoint, [ATTR_OUTCOME]: execution });

    if (event.type === 'lockDegraded') lockDegradations.add(1, endpoint);
    if (event.type === 'claimed') claimDuration.record(event.takeMs / 1_000, endpoint);
    if (event.type === 'completed') completeDuration.record(event.takeMs / 1_000, endpoint);
    if (event.type === 'waited') waitDuration.record(event.waitMs / 1_000, endpoint);
  };
}
