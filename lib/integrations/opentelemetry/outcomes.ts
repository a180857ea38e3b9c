import type { IdempotencyEvent } from '../../engine/events.js';

/** Attributes of metrics and spans. */
export const ATTR_ENDPOINT = 'idempotency.endpoint';
export const ATTR_OUTCOME = 'idempotency.outcome';

type Outcomes = Partial<Record<IdempotencyEvent['type'], string>>;

/** Of requests that neither ran nor got a replay. */
const REFUSED: Outcomes = {
  conflict: 'conflict',
  mismatch: 'mismatch',
  replayUnavailable: 'replay_unavailable',
  storeUnavailable: 'store_unavailable',
  lockUnavailable: 'lock_unavailable',
};

const ENDED: Outcomes = {
  completed: 'completed',
  released: 'released',
  unrecorded: 'unrecorded',
  leaseLost: 'lease_lost',
};

/** Returns the request's outcome, of which each has exactly one, or `undefined` where another event has it. */
export function requestOutcome(event: IdempotencyEvent): string | undefined {
  if (event.type === 'claimed') return event.takenOver ? 'taken_over' : 'fresh';
  if (event.type === 'replayed') return event.waited ? 'waited' : 'replayed';
  if (event.type === 'held') return event.token === undefined ? 'held' : undefined;
  return REFUSED[event.type];
}

/** Returns how an execution ended, or `undefined` where the event is not its end. */
export function executionOutcome(event: IdempotencyEvent): string | undefined {
  if (event.type === 'held') return event.token === undefined ? undefined : 'held';
  return ENDED[event.type];
}
