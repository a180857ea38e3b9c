import {
  NestedOperationError,
  StoreRefusedError,
  StoreUnavailableError,
  UnreadableRecordError,
} from '../engine/errors.js';
import { ShortLivedMap } from '../engine/short-lived.js';
import { isRetryable } from './driver-errors.js';

/**
 * Waits for `work` for at most `ms` milliseconds. The work itself cannot be called back.
 *
 * @throws StoreUnavailableError at the deadline, and for an error that a retry may cure
 * @throws StoreRefusedError for any other error
 */
export function withDeadline<T>(work: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(noAnswer(ms)), ms);
    work.then(
      (answer) => {
        clearTimeout(timer);
        resolve(answer);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(storeError(error));
      },
    );
  });
}

/** Errors that the engine knows as they are. */
const OURS = [StoreUnavailableError, StoreRefusedError, NestedOperationError, UnreadableRecordError];

export function noAnswer(withinMs: number): StoreUnavailableError {
  return new StoreUnavailableError({ cause: new Error(`no answer within ${withinMs} ms`) });
}

/** Returns an error of the database as the engine knows it: whether a retry may cure it. */
export function storeError(cause: unknown): Error {
  if (OURS.some((ours) => cause instanceof ours)) return cause as Error;
  return isRetryable(cause) ? new StoreUnavailableError({ cause }) : new StoreRefusedError({ cause });
}

/** A timer may fire so many milliseconds early. */
const TIMER_SLACK_MS = 1;

/**
 * Deadlines that are all as long. Those of what began earlier come earlier, so that one timer is enough: a timer for each
 * would cost a request more than the wait itself.
 */
export class Deadlines<Item> {
  /** In the order of their deadlines, which are by `performance.now()`. */
  private readonly due = new ShortLivedMap<Item, number>();
  private timer: NodeJS.Timeout | undefined;

  /** @param onExpired called for each item whose time has passed, and that was not deleted by then */
  constructor(
    private readonly ms: number,
    private readonly onExpired: (item: Item) => void,
  ) {}

  add(item: Item): void {
    this.due.set(item, performance.now() + this.ms);
    this.timer ??= setTimeout(this.expire, this.ms).unref();
  }

  delete(item: Item): void {
    this.due.delete(item);
  }

  private readonly expire = (): void => {
    this.timer = undefined;
    const now = performance.now();
    for (const [item, at] of this.due) {
      if (at - now > TIMER_SLACK_MS) {
        this.timer ??= setTimeout(this.expire, at - now).unref();
        return;
      }
      this.due.delete(item);
      this.onExpired(item);
    }
  };
}

/** A time limit that many waits share: as `withDeadline()`, by one timer. */
export class TimeLimit {
  private readonly deadlines: Deadlines<(error: Error) => void>;

  /** @param ms how long each of them waits */
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
