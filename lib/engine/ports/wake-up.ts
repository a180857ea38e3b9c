/**
 * Wakes waiters, in this process and in others, when a record has changed. A wake-up may be lost or come for nothing: a waiter
 * reads the record again, and also reads it from time to time without a wake-up.
 */
export interface WakeUp {
  /**
   * Calls `onWake` each time the record is announced, until the subscription is closed.
   * Resolves once announcements made from now on are heard; rejects when the channel cannot be reached.
   */
  subscribe(recordId: string, onWake: () => void): Promise<WakeUpSubscription>;

  /** Announces that a record has changed. Never rejects; meant to be called off the critical path. */
  announce(recordId: string): Promise<void>;

  /** Closes what the channel itself opened. Idempotent. */
  close(): Promise<void>;
}

export interface WakeUpSubscription {
  /** Stops the calls. Never throws. */
  close(): void;
}
