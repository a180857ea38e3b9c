/**
 * Wakes waiters of all processes when a record has changed. A wake-up may be lost, or come without a change: a waiter reads the record
 * after each, and also polls it.
 */
export interface WakeUp {
  /**
   * Calls `onWake` for each announcement of the record, until the subscription is closed. Resolves once announcements arrive: a waiter
   * that marked its record as awaited before that would miss one. Rejects where the channel cannot be reached.
   */
  subscribe(recordId: string, onWake: () => void): Promise<WakeUpSubscription>;

  /** Announces that a record has changed. Never rejects. No request waits for it. */
  announce(recordId: string): Promise<void>;

  /** Closes what the channel itself opened. Idempotent. */
  close(): Promise<void>;
}

export interface WakeUpSubscription {
  /** Stops the calls of `onWake`. Never throws. */
  close(): void;
}
