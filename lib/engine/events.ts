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
  /** A request won its record and runs. `takeMs`: what lock and claim took, in milliseconds. */
  | (OfExecution & { readonly type: 'claimed'; readonly takeMs: number })
  /** As `claimed`, where the owner before fell silent. Follows it. */
  | (OfExecution & { readonly type: 'takenOver' })
  /** A duplicate was given the outcome on record. */
  | (OfRecord & { readonly type: 'replayed' })
  /** A duplicate of a running request was refused. */
  | (OfRecord & { readonly type: 'conflict' })
  /** A duplicate has waited for a running request: `waitMs` milliseconds. */
  | (OfRecord & { readonly type: 'waited'; readonly waitMs: number })
  /** The same key came with another request (`reused`), or from another caller (`foreign`). */
  | (OfRecord & { readonly type: 'mismatch'; readonly of: 'reused' | 'foreign' })
  /** A running execution lost its record: its outcome will not be recorded. */
  | (OfExecution & { readonly type: 'leaseLost' })
  /** An outcome was recorded. `takeMs`: what that took, in milliseconds. */
  | (OfExecution & { readonly type: 'completed'; readonly takeMs: number })
  /** A key was freed for the next request. */
  | (OfExecution & { readonly type: 'released' })
  /** An outcome is unknown until someone resolves it. */
  | (OfRecord & { readonly type: 'held' })
  /** The store could not be asked. */
  | (OfRecord & { readonly type: 'storeUnavailable'; readonly error: unknown })
  /** No quorum of Redis nodes answered: the database alone decides. */
  | (OfRecord & { readonly type: 'lockDegraded'; readonly reason: string });

/** Where events go. `observed` is false while nobody listens, so that none need be made. */
export interface EventSink {
  readonly observed: boolean;
  next(event: IdempotencyEvent): void;
}
