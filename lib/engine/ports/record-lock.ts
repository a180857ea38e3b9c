/**
 * Keeps duplicates away from the database. It is never load-bearing: an engine whose lock is lost, flushed or
 * unreachable stays correct, because ownership is decided by {@link RecordStore.claim}.
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

/** What one attempt to lock came to. Contention and outage are told apart: an outage is never somebody's lock. */
export type LockAttempt =
  | { readonly kind: 'acquired'; readonly lock: HeldLock }
  | { readonly kind: 'contended' }
  | { readonly kind: 'unavailable'; readonly reason: string };

/** A lock that was taken, and is renewed until it is released. */
export interface HeldLock {
  /** Gives the lock back in the background. Never throws, never rejects, harmless when called twice. */
  release(): void;
}
