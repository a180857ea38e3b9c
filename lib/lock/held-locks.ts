import type Redlock from 'redlock';
import type { Lock } from 'redlock';

import type { HeldLock } from '../engine/ports/record-lock.js';
import { ShortLivedSet } from '../engine/short-lived.js';

/** The longest pause before a failed renewal is tried again. */
const RETRY_WITHIN_MS = 250;

interface Held extends HeldLock {
  readonly ttlMs: number;
  lock: Lock;
  /** By `performance.now()`. Infinity while a renewal is under way. */
  renewAt: number;
}

/**
 * The locks of this process, each renewed every third of its time to live until it is released. One timer serves all.
 *
 * Redlock's own `using()` aborts late, can spin, and throws when its release fails. Here a lock that cannot be renewed
 * before it expires is given up silently: the database decides who may complete the record.
 */
export class HeldLocks {
  readonly #held = new ShortLivedSet<Held>();
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Infinity;

  constructor(
    private readonly redlock: Redlock,
    private readonly giveBack: (lock: Lock) => void,
  ) {}

  hold(lock: Lock, ttlMs: number): HeldLock {
    const release = () => {
      this.#held.delete(held);
      this.giveBack(held.lock);
    };
    const held: Held = { ttlMs, lock, renewAt: 0, release };
    this.#held.add(held);
    this.#renewIn(held, ttlMs / 3);
    return held;
  }

  /** Renews no more, and leaves the locks to expire. */
  close(): void {
    this.#held.clear();
    clearTimeout(this.#timer);
  }

  #renewIn(held: Held, ms: number): void {
    held.renewAt = performance.now() + ms;
    if (held.renewAt < this.#timerAt) this.#wakeAt(held.renewAt);
  }

  #wakeAt(time: number): void {
    clearTimeout(this.#timer);
    this.#timerAt = time;
    if (time < Infinity) this.#timer = setTimeout(() => this.#renewDue(), time - performance.now()).unref();
  }

  #renewDue(): void {
    const now = performance.now();
    let next = Infinity;
    for (const held of this.#held) {
      if (held.renewAt <= now) void this.#renew(held);
      next = Math.min(next, held.renewAt);
    }
    this.#wakeAt(next);
  }

  async #renew(held: Held): Promise<void> {
    // An expired lock may be another's by now.
    if (held.lock.expiration <= Date.now()) return held.release();
    held.renewAt = Infinity;
    let pause = held.ttlMs / 3;
    try {
      held.lock = await this.redlock.extend(held.lock, held.ttlMs);
    } catch {
      pause = Math.min(held.ttlMs / 10, RETRY_WITHIN_MS);
    }
    if (this.#held.has(held)) this.#renewIn(held, pause);
  }
}
