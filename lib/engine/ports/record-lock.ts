/**
 * Keeps duplicates away from the database. Correctness never depends on it: an engine whose lock is lost, flushed or unreachable stays
 * correct, because {@link RecordStore.claim} decides who owns a record.
 */
export interface RecordLock {
  /**
   * Tries once to lock a record; never waits for the present holder. Settles within a bounded time and never rejects.
   *
   * @param recordId the record's id (a digest, never the client's key)
   * @param ttlMs how long the lock lives without its holder, in milliseconds; renewed until it is released
   */
  acquire(recordId: string, ttlMs: number): Promise<LockAttempt>;

  /** Stops renewing what is held and lets go of everything the lock itself opened. Idempotent. */
  close(): Promise<void>;
}

/** The result of one attempt to lock. Contention and an outage are different results: an outage never looks like a lock. */
export type LockAttempt =
  | { readonly kind: 'acquired'; readonly lock: HeldLock }
  | { readonly kind: 'contended' }
  | { readonly kind: 'unavailable'; readonly reason: string };

/** A lock that was taken, and is renewed until it is released. */
export interface HeldLock {
  /** Gives the lock back in the background. Never throws, never rejects, harmless when called twice. */
  release(): void;
}
