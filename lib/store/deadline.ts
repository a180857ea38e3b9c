import {
  NestedOperationError,
  StoreRefusedError,
  StoreUnavailableError,
  UnreadableRecordError,
} from '../engine/errors.js';
import { outsideRequests } from '../engine/outside-requests.js';
import { ShortLivedMap } from '../engine/short-lived.js';
import { isRetryable } from './driver-errors.js';

/**
 * Waits for `work` for at most `ms` milliseconds. The work itself cannot be cancelled.
 *
 * @throws StoreUnavailableError at the deadline, and for an error that a retry may cure
 * @throws StoreRefusedError for any other error
 */
export function withDeadline<T>(work: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(noAnswer(ms)), ms);
    settle(work, () => clearTimeout(timer), resolve, reject);
  });
}

/** Settles as `work` does, after `clear`. With callbacks, because each wait of a request would make three promises more. */
function settle<T>(
  work: Promise<T>,
  clear: () => void,
  resolve: (answer: T) => void,
  reject: (error: Error) => void,
): void {
  work.then(
    (answer) => {
      clear();
      resolve(answer);
    },
    (error: unknown) => {
      clear();
      reject(storeError(error));
    },
  );
}

/** Errors that the engine handles by their class. */
const OURS = [StoreUnavailableError, StoreRefusedError, NestedOperationError, UnreadableRecordError];

export function noAnswer(withinMs: number): StoreUnavailableError {
  return new StoreUnavailableError({ cause: new Error(`no answer within ${withinMs} ms`) });
}

/** Converts an error of the database to the engine's: StoreUnavailableError if a retry may cure it, or StoreRefusedError. */
export function storeError(cause: unknown): Error {
  if (OURS.some((ours) => cause instanceof ours)) return cause as Error;
  return isRetryable(cause) ? new StoreUnavailableError({ cause }) : new StoreRefusedError({ cause });
}

/** How early a timer of node may fire. Without it, each expiry would set a second timer for the last millisecond. */
const TIMER_SLACK_MS = 1;

/**
 * Deadlines of equal length. They end in the order in which they began, so that one timer is enough. A timer for each would
 * cost a request more than the wait itself.
 */
export class Deadlines<Item> {
  /** When each item expires, by `performance.now()`, in that order. */
  private readonly due = new ShortLivedMap<Item, number>();
  private timer: NodeJS.Timeout | undefined;

  /** @param onExpired called for each item that was not deleted within `ms` milliseconds */
  constructor(
    private readonly ms: number,
    private readonly onExpired: (item: Item) => void,
  ) {}

  add(item: Item): void {
    this.due.set(item, performance.now() + this.ms);
    this.timer ??= this.expireIn(this.ms);
  }

  delete(item: Item): void {
    this.due.delete(item);
  }

  private expireIn(ms: number): NodeJS.Timeout {
    return outsideRequests(() => setTimeout(this.expire, ms).unref());
  }

  private readonly expire = (): void => {
    this.timer = undefined;
    const now = performance.now();
    for (const [item, at] of this.due) {
      if (at - now > TIMER_SLACK_MS) {
        this.timer ??= this.expireIn(at - now);
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
    return new Promise((resolve, reject) => {
      this.deadlines.add(reject);
      settle(work, () => this.deadlines.delete(reject), resolve, reject);
    });
  }
}
