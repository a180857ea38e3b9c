import { outsideRequests } from './outside-requests.js';
import { MAX_TIMER_MS } from './policy.js';
import { ShortLivedMap } from './short-lived.js';

/** An execution that renews its lease. */
export interface Beating {
  beat(): void;
}

/** The heartbeats of all executions, on one timer: one each would cost every request a timer, though most end before their first. */
export class Heartbeats {
  /** When each beats next, by `performance.now()`. */
  private readonly due = new ShortLivedMap<Beating, number>();
  private timer: NodeJS.Timeout | undefined;
  private firesAt = Infinity;

  /** Calls `beat()` once, in `ms` milliseconds, instead of what was scheduled for `one` before. */
  schedule(one: Beating, ms: number): void {
    const at = performance.now() + ms;
    this.due.set(one, at);
    if (at < this.firesAt) this.arm(at);
  }

  cancel(one: Beating): void {
    this.due.delete(one);
  }

  private arm(at: number): void {
    clearTimeout(this.timer);
    this.firesAt = at;
    const delayMs = Math.min(Math.max(at - performance.now(), 0), MAX_TIMER_MS);
    this.timer = outsideRequests(() => setTimeout(this.fire, delayMs).unref());
  }

  private readonly fire = (): void => {
    this.firesAt = Infinity;
    // A timer may fire up to a millisecond early.
    const now = performance.now() + 1;
    let next = Infinity;
    for (const [one] of this.due) {
      const at = this.due.get(one)!;
      if (at > now) next = Math.min(next, at);
      else {
        this.due.delete(one);
        one.beat();
      }
    }
    if (next < this.firesAt) this.arm(next);
  };
}
