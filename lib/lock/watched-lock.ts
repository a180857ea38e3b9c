import type Redlock from 'redlock';
import type { Lock } from 'redlock';

import type { HeldLock } from '../engine/ports/record-lock.js';

/** The longest pause before a failed extension is tried again, in milliseconds. */
const LONGEST_PAUSE = 250;

/** The longest delay that a timer takes, in milliseconds; a longer one would fire at once. */
const LONGEST_DELAY = 2 ** 31 - 1;

/**
 * A lock that is renewed every third of its time to live until it is released.
 *
 * Redlock's own `using()` does the same but aborts late, can spin, and throws when its release fails. Here a lock that
 * can't be renewed before it expires is let go without a word: who may complete the record is decided by the database.
 */
export class WatchedLock implements HeldLock {
  readonly #redlock: Redlock;
  readonly #ttlMs: number;
  readonly #onEnd: (lock: WatchedLock) => void;
  #lock: Lock;
  #timer: NodeJS.Timeout | undefined;
  #watching = true;
  #released = false;

  /**
   * @param ttlMs what each renewal sets the time to live to, in milliseconds
   * @param onEnd called once, when the lock is no longer renewed
   */
  constructor(redlock: Redlock, lock: Lock, ttlMs: number, onEnd: (lock: WatchedLock) => void) {
    this.#redlock = redlock;
    this.#lock = lock;
    this.#ttlMs = ttlMs;
    this.#onEnd = onEnd;
    this.#renewIn(ttlMs / 3);
  }

  release(): void {
    if (this.#released) return;
    this.#released = true;
    this.stop();
    // Rejects where the lock has expired or a node is out: both leave it to its time to live.
    this.#redlock.release(this.#lock).catch(ignore);
  }

  /** Renews no more, and leaves the lock to expire. */
  stop(): void {
    if (!this.#watching) return;
    this.#watching = false;
    clearTimeout(this.#timer);
    this.#onEnd(this);
  }

  #renewIn(ms: number): void {
    const delay = Math.min(ms, LONGEST_DELAY);
    this.#timer = setTimeout(() => void this.#renew(), delay).unref();
  }

  async #renew(): Promise<void> {
    // An expired lock may be another's by now.
    if (this.#lock.expiration <= Date.now()) return this.release();
    try {
      const renewed = await this.#redlock.extend(this.#lock, this.#ttlMs);
      this.#lock = renewed;
      if (this.#watching) this.#renewIn(this.#ttlMs / 3);
    } catch {
      if (this.#watching) this.#renewIn(Math.min(this.#ttlMs / 10, LONGEST_PAUSE));
    }
  }
}

function ignore(): void {}
