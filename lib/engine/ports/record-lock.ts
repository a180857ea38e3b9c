/**
 * Keeps duplicates away from the database. Correctness never depends on it, because {@link RecordStore.claim} decides who owns a record: a
 * lock may be lost, flushed, or held by two processes.
 */
export interface RecordLock {
  /**
   * Tries once to lock a record. Must not wait for the holder, must settle within a bounded time, and must not reject: each would make an
   * outage of the lock one of the application.
   *
   * @param recordId a digest, never the client's key
   * @param ttlMs how long the lock lasts from here, and from each renewal, in milliseconds
   */
  acquire(recordId: string, ttlMs: number): Promise<LockAttempt>;

  /** Ends all renewals: the locks expire. Idempotent. */
  close(): Promise<void>;
}

/** The result of one attempt to lock. An outage is a result of its own: taken for contention, it would refuse every request. */
export type LockAttempt =
  | { readonly kind: 'acquired'; readonly lock: HeldLock }
  | { readonly kind: 'contended' }
  | { readonly kind: 'unavailable'; readonly reason: string };

/** A lock that this process holds. */
export interface HeldLock {
  /** Prolongs the lock in the background, whenever its execution renews the lease. Never throws. */
  renew(): void;

  /** Releases the lock in the background. Never throws. Idempotent. */
  release(): void;
}
