import type { IdempotencyEvent } from '../../engine/events.js';

/** Attributes of metrics and spans. */
export const ATTR_ENDPOINT = 'idempotency.endpoint';
export const ATTR_OUTCOME = 'idempotency.outcome';

/** Returns the request's outcome, of which each has exactly one, or `undefined` where another event has it. */
export function requestOutcome(event: IdempotencyEvent): string | undefined {
  switch (event.type) {
    case 'claimed':
      return event.takenOver ? 'taken_over' : 'fresh';
    case 'replayed':
      return event.waited ? 'waited' : 'replayed';
    case 'conflict':
    case 'mismatch':
      return event.type;
    case 'held':
      return event.token === undefined ? 'held' : undefined;
    case 'replayUnavailable':
      return 'replay_unavailable';
    case 'storeUnavailable':
      return 'store_unavailable';
    case 'lockUnavailable':
      return 'lock_unavailable';
    default:
      return undefined;
  }
}

/** Returns how an execution ended, or `undefined` where the event is not its end. */
export function executionOutcome(event: IdempotencyEvent): string | undefined {
  switch (event.type) {
    case 'completed':
    case 'released':
    case 'unrecorded':
      return event.type;
    case 'held':
      return event.token === undefined ? undefined : 'held';
    case 'leaseLost':
      return 'lease_lost';
    default:
      return undefined;
  }
}
