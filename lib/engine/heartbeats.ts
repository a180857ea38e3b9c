import { ShortLivedSet } from './short-lived.js';

/** What is done from time to time while an execution runs. */
export interface Beating {
  /** When the next beat is due, by `performance.now()`; set by {@link Heartbeats}. */
  beatsAt: number;
  beat(): void;
}

/** The longest delay that a timer takes, in milliseconds; a longer one would fire at once. */
const LONGEST_DELAY_MS = 2 ** 31 - 1;

/** The heartbeats of all executions of a process, by one timer: most executions end before their first one. */
export class Heartbeats {
  private readonly beating = new ShortLivedSet<Beating>();
  private timer: NodeJS.Timeout | undefined;
  private firesAt = Infinity;

  /** Has `one` beat once, in `ms` milliseconds. */
  schedule(one: Beating, ms: number): void {
    one.beatsAt = performance.now() + ms;
    this.beating.add(one);
    if (one.beatsAt < this.firesAt) this.arm(one.beatsAt);
  }

  cancel(one: Beating): void {
    this.beating.delete(one);
  }

  private arm(at: number): void {
    clearTimeout(this.timer);
    this.firesAt = at;
    const delay = Math.min(Math.max(at - performance.now(), 0), LONGEST_DELAY_MS);
    this.timer = setTimeout(this.fire, delay).unref();
  }

  private readonly fire = (): void => {
    this.firesAt = Infinity;
    // Timers may fire up to a millisecond early.
    const now = performance.now() + 1;
    let next = Infinity;
    for (const one of this.beating) {
      if (one.beatsAt > now) next = Math.min(next, one.beatsAt);
      else {
        this.beating.delete(one);
        one.beat();
      }
    }
    if (next < this.firesAt) this.arm(next);
  };
}
