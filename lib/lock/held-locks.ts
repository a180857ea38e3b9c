import type Redlock from 'redlock';
import type { Lock } from 'redlock';

import { type Beating, Heartbeats } from '../engine/heartbeats.js';
import type { HeldLock } from '../engine/ports/record-lock.js';

/** The longest pause before a failed renewal is tried again: short enough to try several times before the lock expires. */
const RETRY_WITHIN_MS = 250;

interface Held extends HeldLock, Beating {
  lock: Lock;
  isReleased: boolean;
}

/**
 * The locks of this process. Each is renewed every third of its time to live until it is released.
 *
 * Redlock's own `using()` aborts late, can spin, and throws when its release fails. Here, a lock that cannot be renewed
 * before it expires is released without an error: the database decides who may complete the record.
 */
export class HeldLocks {
  readonly #renewals = new Heartbeats();
  #isClosed = false;

  /** @param giveBack releases a lock on the nodes, in the background */
  constructor(
    private readonly redlock: Redlock,
    private readonly giveBack: (lock: Lock) => void,
  ) {}

  hold(lock: Lock, ttlMs: number): HeldLock {
    const release = () => {
      held.isReleased = true;
      this.#renewals.cancel(held);
      this.giveBack(held.lock);
    };
    const held: Held = { lock, isReleased: false, beat: () => void this.#renew(held, ttlMs), release };
    this.#renewals.schedule(held, ttlMs / 3);
    return held;
  }

  /** Stops all renewals. The locks expire. */
  close(): void {
    this.#isClosed = true;
  }

  async #renew(held: Held, ttlMs: number): Promise<void> {
    if (this.#isClosed) return;
    // After its expiry, the lock may be another process's.
    if (held.lock.expiration <= Date.now()) return held.release();
    let pauseMs = ttlMs / 3;
    try {
      held.lock = await this.redlock.extend(held.lock, ttlMs);
    } catch {
      pauseMs = Math.min(ttlMs / 10, RETRY_WITHIN_MS);
    }
    if (!held.isReleased) this.#renewals.schedule(held, pauseMs);
  }
}
