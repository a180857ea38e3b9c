import type { StoredOutcome } from './outcome.js';
import type { LeasedExecution } from './leased-execution.js';

/** Why a request is neither run nor answered with an outcome. */
export type Refusal =
  /** The key was used with another request. */
  | { readonly reason: 'reused' }
  /** The key belongs to another caller. */
  | { readonly reason: 'foreign' }
  /** A request with this key is running; try again after so many milliseconds. */
  | { readonly reason: 'running'; readonly retryAfterMs: number }
  /** Its outcome is unknown until someone resolves it. `exhausted`: as many executions died in a row as may. */
  | { readonly reason: 'held'; readonly exhausted: boolean }
  /** It is done, but its answer was not kept. */
  | { readonly reason: 'gone' };

/** What the engine says to a request. */
export type Admission =
  | { readonly kind: 'run'; readonly leased: LeasedExecution }
  | { readonly kind: 'replay'; readonly outcome: StoredOutcome }
  | { readonly kind: 'refuse'; readonly refusal: Refusal };
