interface OfRecord {
  /** The record's id: a digest, never the client's key. */
  readonly recordId: string;
  /** What was asked, such as `POST /payments`. */
  readonly endpoint: string;
}

interface OfExecution extends OfRecord {
  readonly attempt: number;
  readonly token: number;
}

/** What happens to records, as it happens in this process. */
export type IdempotencyEvent =
  /**
   * A request won its record and runs. `takeMs`: what lock and claim took, in milliseconds. `takenOver`: whether the
   * owner before fell silent.
   */
  | (OfExecution & { readonly type: 'claimed'; readonly takeMs: number; readonly takenOver: boolean })
  /** As `claimed`, where the owner before fell silent. Follows it. */
  | (OfExecution & { readonly type: 'takenOver' })
  /** A duplicate was given the outcome on record. `waited`: whether it had to wait for it. */
  | (OfRecord & { readonly type: 'replayed'; readonly waited: boolean })
  /** A duplicate was refused: the operation is done, but its answer was not kept. */
  | (OfRecord & { readonly type: 'replayUnavailable' })
  /** A duplicate of a running request was refused. */
  | (OfRecord & { readonly type: 'conflict' })
  /** A duplicate has waited for a running request, for `waitMs` milliseconds. The event of its own outcome comes before. */
  | (OfRecord & { readonly type: 'waited'; readonly waitMs: number })
  /** The same key came with another request (`reused`), or from another caller (`foreign`). */
  | (OfRecord & { readonly type: 'mismatch'; readonly of: 'reused' | 'foreign' })
  /** A running execution lost its record: its outcome will not be recorded. */
  | (OfExecution & { readonly type: 'leaseLost' })
  /** An outcome was recorded. `takeMs`: what that took, with a transaction's COMMIT, in milliseconds. */
  | (OfExecution & { readonly type: 'completed'; readonly takeMs: number })
  /** A key was freed for the next request. */
  | (OfExecution & { readonly type: 'released' })
  /**
   * The outcome of an execution is on record, but without its response, or without the result of the step that is named:
   * the store refused it, or it cannot be written down. A retry cannot be answered with it.
   */
  | (OfExecution & { readonly type: 'notKept'; readonly step?: string; readonly error: unknown })
  /** An execution has run for longer than `maxDuration`: its lease is no longer renewed. */
  | (OfExecution & { readonly type: 'overran' })
  /** How an execution ended could not be recorded, as the store was lost. */
  | (OfExecution & { readonly type: 'unrecorded'; readonly error: unknown })
  /**
   * An outcome is unknown until someone resolves it. `attempt` and `token` are those of the execution that ended so; a
   * duplicate that was refused has none. `exhausted`: whether as many executions as `maxAttempts` allows died in a row.
   */
  | (OfRecord & {
      readonly type: 'held';
      readonly attempt?: number;
      readonly token?: number;
      readonly exhausted?: boolean;
    })
  /** The store could not be asked, and the request was refused. */
  | (OfRecord & { readonly type: 'storeUnavailable'; readonly error: unknown })
  /** No quorum of Redis nodes answered: the database alone decides. */
  | (OfRecord & { readonly type: 'lockDegraded'; readonly reason: string })
  /** No quorum of Redis nodes answered, and the request was refused: `onLockUnavailable: 'reject'`. */
  | (OfRecord & { readonly type: 'lockUnavailable'; readonly reason: string });

/** Where events go. */
export interface EventSink {
  /** False while no subscriber needs the events of every request, so that these are not created. */
  readonly observed: boolean;
  next(event: IdempotencyEvent): void;
}
