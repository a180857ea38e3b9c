import { setImmediate } from 'node:timers';
import {
  NestedOperationError,
  StoreRefusedError,
  StoreUnavailableError,
  UnreadableRecordError,
} from '../engine/errors.js';
import { outsideRequests } from '../engine/outside-requests.js';
import { lostToStall, settleWithin, TIME_IS_UP } from '../engine/settle-within.js';
import { ShortLivedMap } from '../engine/short-lived.js';
import { isRetryable, lacksRight } from './driver-errors.js';
import { saysMissingTables } from './missing-tables.js';

/**
 * Waits for `work` for at most `ms` milliseconds in which this process runs. The work itself cannot be cancelled.
 *
 * @throws StoreUnavailableError at the deadline, and for an error that a retry may cure
 * @throws StoreRefusedError for any other error
 */
export async function withDeadline<T>(work: Promise<T>, ms: number): Promise<T> {
  let answer: T | typeof TIME_IS_UP;
  try {
    answer = await settleWithin(work, ms);
  } catch (error) {
    throw storeError(error);
  }
  if (answer === TIME_IS_UP) throw noAnswer(ms);
  return answer;
}

/** Errors that the engine handles by their class. */
const OURS = [StoreUnavailableError, StoreRefusedError, NestedOperationError, UnreadableRecordError];

export function noAnswer(withinMs: number): StoreUnavailableError {
  return new StoreUnavailableError({ cause: new Error(`no answer within ${withinMs} ms`) });
}

/** Converts an error of the database to the engine's: StoreUnavailableError if a retry may cure it, or StoreRefusedError. */
export function storeError(cause: unknown): Error {
  if (OURS.some((ours) => cause instanceof ours)) return cause as Error;
  if (isRetryable(cause)) return new StoreUnavailableError({ cause });
  return new StoreRefusedError({ cause, mayPass: saysMissingTables(cause) || lacksRight(cause) });
}

/** How early a timer of node may fire. Without it, each expiry would set a second timer for the last millisecond. */
const TIMER_SLACK_MS = 1;

/**
 * Deadlines of equal length. They end in the order in which they began, so that one timer is enough. A timer for each would
 * cost a request more than the wait itself. As in {@link withDeadline}, time in which the process stands still does not count.
 */
export class Deadlines<Item> {
  /** When each item expires, by `performance.now()`, in that order. */
  private readonly due = new ShortLivedMap<Item, number>();
  private timer: NodeJS.Timeout | undefined;
  private firesAt = 0;
  /** Whether the timer was put off. The next time, it expires what is due, or a process that is always busy would put it off forever. */
  private isPutOff = false;

  /** @param onExpired called for each item that was not deleted within `ms` milliseconds */
  constructor(
    private readonly ms: number,
    private readonly onExpired: (item: Item) => void,
  ) {}

  add(item: Item): void {
    this.due.set(item, performance.now() + this.ms);
    if (!this.timer) this.expireIn(this.ms);
  }

  delete(item: Item): void {
    this.due.delete(item);
  }

  /** How many items have neither expired nor been deleted. */
  get size(): number {
    return this.due.size;
  }

  private expireIn(ms: number): void {
    this.firesAt = performance.now() + ms;
    this.timer = outsideRequests(() => setTimeout(this.onTimer, ms).unref());
  }

  private readonly onTimer = (): void => {
    const lostMs = lostToStall(this.firesAt, this.ms);
    this.isPutOff = lostMs > 0 && !this.isPutOff;
    if (!this.isPutOff) return void setImmediate(this.expire);
    for (const [item, at] of this.due) this.due.set(item, at + lostMs);
    this.expireIn(lostMs);
  };

  private readonly expire = (): void => {
    this.timer = undefined;
    const now = performance.now();
    for (const [item, at] of this.due) {
      if (at - now > TIMER_SLACK_MS) {
        if (!this.timer) this.expireIn(at - now);
        return;
      }
      this.due.delete(item);
      this.onExpired(item);
    }
  };
}

/** As {@link withDeadline}, for many waits of equal length, by one timer. */
export class TimeLimit {
  private readonly deadlines: Deadlines<(error: Error) => void>;

  constructor(ms: number) {
    this.deadlines = new Deadlines(ms, (reject) => reject(noAnswer(ms)));
  }

  /**
   * @throws StoreUnavailableError at the deadline, and for an error that a retry may cure
   * @throws StoreRefusedError for any other error
   */
  wait<T>(work: Promise<T>): Promise<T> {
    // With callbacks, because each wait of a request would make three promises more.
    return new Promise((resolve, reject) => {
      this.deadlines.add(reject);
      work.then(
        (answer) => {
          this.deadlines.delete(reject);
          resolve(answer);
        },
        (error: unknown) => {
          this.deadlines.delete(reject);
          reject(storeError(error));
        },
      );
    });
  }
}
