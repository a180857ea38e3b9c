import { StoreUnavailableError } from '../engine/errors.js';
import { storeError } from './deadline.js';

interface Waiting {
  readonly until: number;
  readonly reject: (error: unknown) => void;
}

/** A timer may fire so many milliseconds early. */
const TIMER_SLACK_MS = 1;

/**
 * Deadlines that are all as long. Those of what began earlier come earlier, so that one timer is enough: a timer for each
 * would cost a request more than the wait itself.
 */
export class Deadlines {
  /** In the order of their deadlines. */
  private readonly waiting = new Set<Waiting>();
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly ms: number) {}

  /** Waits for `work` as {@link withDeadline} does. */
  wait<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { until: performance.now() + this.ms, reject };
      this.waiting.add(waiting);
      this.timer ??= setTimeout(this.expire, this.ms).unref();
      work.then(
        (answer) => {
          this.waiting.delete(waiting);
          resolve(answer);
        },
        (error: unknown) => {
          this.waiting.delete(waiting);
          reject(storeError(error));
        },
      );
    });
  }

  private readonly expire = (): void => {
    this.timer = undefined;
    const now = performance.now();
    for (const waiting of this.waiting) {
      const left = waiting.until - now;
      if (left > TIMER_SLACK_MS) {
        this.timer = setTimeout(this.expire, left).unref();
        return;
      }
      this.waiting.delete(waiting);
      waiting.reject(new StoreUnavailableError({ cause: new Error(`no answer within ${this.ms} ms`) }));
    }
  };
}
