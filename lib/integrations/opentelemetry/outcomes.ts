import type { IdempotencyEvent } from '../../engine/events.js';

/** The outcome of a request. Each request has exactly one. */
export type RequestOutcome =
  | 'fresh'
  | 'taken_over'
  | 'replayed'
  | 'waited'
  | 'conflict'
  | 'mismatch'
  | 'held'
  | 'replay_unavailable'
  | 'store_unavailable'
  | 'lock_unavailable';

/** How an execution ended. */
export type ExecutionOutcome = 'completed' | 'released' | 'held' | 'lease_lost' | 'unrecorded';

/** Returns the request's outcome, or `undefined` where another event has it. */
export function requestOutcome(event: IdempotencyEvent): RequestOutcome | undefined {
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

/** Returns the execution's outcome, or `undefined` where the event is not its end. */
export function executionOutcome(event: IdempotencyEvent): ExecutionOutcome | undefined {
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
