import type { StoredOutcome } from './outcome.js';
import type { LeasedExecution } from './leased-execution.js';

/** Why a request neither runs nor gets a replay. */
export type Refusal =
  /** The record's fingerprint is that of another request. */
  | { readonly reason: 'reused' }
  /** The record is bound to another caller. */
  | { readonly reason: 'foreign' }
  /** Another execution owns the record; worth another try after `retryAfterMs`. */
  | { readonly reason: 'running'; readonly retryAfterMs: number }
  /** The outcome is unknown until an operator resolves it. `exhausted`: `maxAttempts` executions in a row died. */
  | { readonly reason: 'held'; readonly exhausted: boolean }
  /** The operation is done, but the record has no response to replay. */
  | { readonly reason: 'gone'; readonly outcome: StoredOutcome };

/** The engine's decision on a request. */
export type Admission =
  | { readonly kind: 'run'; readonly leased: LeasedExecution }
  | { readonly kind: 'replay'; readonly outcome: StoredOutcome }
  | { readonly kind: 'refuse'; readonly refusal: Refusal };
