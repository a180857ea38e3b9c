import { type Counter, type Histogram, type Meter, ValueType } from '@opentelemetry/api';
import type { IdempotencyEvent } from '../../engine/events.js';
import { ATTR_ENDPOINT, ATTR_OUTCOME } from './attributes.js';
import { BoundedNames } from './bounded-names.js';
import { executionOutcome, requestOutcome } from './outcomes.js';

/** Histogram boundaries for statements and round trips, in seconds. */
const STATEMENT_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
/** Histogram boundaries for handlers that a duplicate waits for, in seconds. */
const HANDLER_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Records events as metrics. */
export class IdempotencyMetrics {
  private readonly requests: Counter;
  private readonly executions: Counter;
  private readonly lockDegradations: Counter;
  private readonly claimDuration: Histogram;
  private readonly completeDuration: Histogram;
  private readonly waitDuration: Histogram;
  private readonly endpoints: BoundedNames;

  constructor(meter: Meter, maxEndpoints: number) {
    this.endpoints = new BoundedNames(maxEndpoints);
    this.requests = meter.createCounter('idempotency.requests', {
      description: 'Requests with an idempotency key, by what became of them.',
      unit: '{request}',
      valueType: ValueType.INT,
    });
    this.executions = meter.createCounter('idempotency.executions', {
      description: 'Executions of idempotent operations, by how they ended.',
      unit: '{execution}',
      valueType: ValueType.INT,
    });
    this.lockDegradations = meter.createCounter('idempotency.lock.degradations', {
      description: 'Requests that went on without the lock, as no quorum of Redis nodes answered.',
      unit: '{request}',
      valueType: ValueType.INT,
    });
    const histogram = (name: string, description: string, explicitBucketBoundaries: number[]) =>
      meter.createHistogram(name, { description, unit: 's', advice: { explicitBucketBoundaries } });
    this.claimDuration = histogram(
      'idempotency.claim.duration',
      'What lock and claim took, where the request won its record.',
      STATEMENT_SECONDS,
    );
    this.completeDuration = histogram(
      'idempotency.complete.duration',
      'What recording an outcome took.',
      STATEMENT_SECONDS,
    );
    this.waitDuration = histogram(
      'idempotency.wait.duration',
      'How long duplicates waited for a running request.',
      HANDLER_SECONDS,
    );
  }

  record(event: IdempotencyEvent): void {
    const endpoint = { [ATTR_ENDPOINT]: this.endpoints.of(event.endpoint) };
    const request = requestOutcome(event);
    if (request) this.requests.add(1, { ...endpoint, [ATTR_OUTCOME]: request });
    const execution = executionOutcome(event);
    if (execution) this.executions.add(1, { ...endpoint, [ATTR_OUTCOME]: execution });

    if (event.type === 'lockDegraded') this.lockDegradations.add(1, endpoint);
    if (event.type === 'claimed') this.claimDuration.record(event.takeMs / 1_000, endpoint);
    if (event.type === 'completed') this.completeDuration.record(event.takeMs / 1_000, endpoint);
    if (event.type === 'waited') this.waitDuration.record(event.waitMs / 1_000, endpoint);
  }
}
