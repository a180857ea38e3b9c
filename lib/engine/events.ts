interface OfRecord {
  /** The record's id: a digest, never the client's key. */
  readonly recordId: string;
  /** The operation's name, such as `POST /payments`. */
  readonly endpoint: string;
}

interface OfExecution extends OfRecord {
  readonly attempt: number;
  readonly token: number;
}

/** What this process does with records, as `IdempotencyService.events$` emits it. Durations are milliseconds. */
export type IdempotencyEvent =
  /** A request won its record and runs. `takeMs`: the time for lock and claim. `takenOver`: whether the former owner's lease ran out. */
  | (OfExecution & { readonly type: 'claimed'; readonly takeMs: number; readonly takenOver: boolean })
  /** Follows a `claimed` with `takenOver`. */
  | (OfExecution & { readonly type: 'takenOver' })
  /** A duplicate got the recorded outcome. `waited`: whether it had to wait for it. */
  | (OfRecord & { readonly type: 'replayed'; readonly waited: boolean })
  /** A duplicate was refused, because the operation is done but its response was not kept. */
  | (OfRecord & { readonly type: 'replayUnavailable' })
  /** A duplicate of a running request was refused. */
  | (OfRecord & { readonly type: 'conflict' })
  /** A duplicate has waited for a running request. Follows the event of the duplicate's own outcome. */
  | (OfRecord & { readonly type: 'waited'; readonly waitMs: number })
  /** The same key came with another request (`reused`), or from another caller (`foreign`). */
  | (OfRecord & { readonly type: 'mismatch'; readonly of: 'reused' | 'foreign' })
  /** A running execution lost its lease. Its outcome will not be recorded. */
  | (OfExecution & { readonly type: 'leaseLost' })
  /** An outcome was recorded. `takeMs`: the time for that, with the COMMIT of a transaction. */
  | (OfExecution & { readonly type: 'completed'; readonly takeMs: number })
  /** A key was freed for the next request. */
  | (OfExecution & { readonly type: 'released' })
  /**
   * An outcome was recorded without its response, or a `step` without its result: the store refused it, or it cannot be serialized. A
   * retry gets 409 `replay-unavailable`, or asks `verify`.
   */
  | (OfExecution & { readonly type: 'notKept'; readonly step?: string; readonly error: unknown })
  /**
   * An outcome was recorded by an attempt that did not call `steps` of earlier attempts: it took another way. What they did elsewhere, such
   * as a charge, may be there, and the outcome may not say so.
   */
  | (OfExecution & { readonly type: 'unreachedSteps'; readonly steps: readonly string[] })
  /** An execution has run for longer than `maxDuration`. Its lease is no longer renewed. */
  | (OfExecution & { readonly type: 'overran' })
  /** An execution has run for ten minutes, without a `maxDuration` that would end it. Its key stays taken. Emitted once. */
  | (OfExecution & { readonly type: 'longRunning' })
  /** The end of an execution could not be recorded, because the store did not answer. */
  | (OfExecution & { readonly type: 'unrecorded'; readonly error: unknown })
  /**
   * An outcome is unknown until an operator resolves it. `attempt` and `token` are those of the execution that ended so, and absent for a
   * duplicate that was refused. `exhausted`: `maxAttempts` executions in a row died.
   */
  | (OfRecord & {
      readonly type: 'held';
      readonly attempt?: number;
      readonly token?: number;
      readonly exhausted?: boolean;
    })
  /** A request got 503, because the store did not answer. `refused`: it refused the claim, as for a missing table or right, and will again. */
  | (OfRecord & { readonly type: 'storeUnavailable'; readonly error: unknown; readonly refused: boolean })
  /** No quorum of Redis nodes answered. The database alone decides. */
  | (OfRecord & { readonly type: 'lockDegraded'; readonly reason: string })
  /** No quorum of Redis nodes answered, and the request was refused: `onLockUnavailable: 'reject'`. */
  | (OfRecord & { readonly type: 'lockUnavailable'; readonly reason: string });

/** Receives the events of an engine. */
export interface EventSink {
  /** Whether a subscriber needs the events of every request. Without one, they are not created. */
  readonly observed: boolean;
  next(event: IdempotencyEvent): void;
}
