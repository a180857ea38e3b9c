import type { StoredOutcome } from './outcome.js';
import type { Operation } from './operation.js';
import type { Tenure } from './tenure.js';
import type { StandingRecord } from './ports/record-store.js';

/** What a flight found out when it asked the store: that its own process runs the operation, or what stands. */
export type Asked = 'ours' | StandingRecord;

/**
 * An operation that this process is asking for or running. Its duplicates in the same process join it, and cost no I/O.
 */
export class Flight {
  asked!: Promise<Asked>;
  /** The execution, where this process runs the operation. */
  tenure: Tenure | undefined;
  private readonly waiting = new Set<(outcome: StoredOutcome | undefined) => void>();
  private over = false;
  private outcome: StoredOutcome | undefined;

  constructor(readonly operation: Operation) {}

  /** Ends the flight: with the outcome that is on record, or without one. */
  land(outcome: StoredOutcome | undefined): void {
    this.over = true;
    this.outcome = outcome;
    for (const resolve of this.waiting) resolve(outcome);
    this.waiting.clear();
  }

  /** Waits for the end, at most `ms` milliseconds: `'timeout'` after that. */
  landed(ms: number): Promise<StoredOutcome | undefined | 'timeout'> {
    if (this.over) return Promise.resolve(this.outcome);
    return new Promise((resolve) => {
      const done = (outcome: StoredOutcome | undefined) => {
        clearTimeout(timer);
        resolve(outcome);
      };
      const timer = setTimeout(() => {
        this.waiting.delete(done);
        resolve('timeout');
      }, ms);
      this.waiting.add(done);
    });
  }
}
