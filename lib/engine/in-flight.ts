import type { StoredOutcome } from './outcome.js';
import type { Operation } from './operation.js';
import type { LeasedExecution } from './leased-execution.js';
import type { HeldLock } from './ports/record-lock.js';
import type { Claim, RecordState } from './ports/record-store.js';

/**
 * An operation that this process is asking for or running. Its duplicates in the same process join it, and cost no I/O.
 *
 * - `'claiming'`: the store is being asked. Its answer leads to `'running'` where this process won the record, and else to
 *   `'settled'`.
 * - `'running'`: this process runs the operation, as `execution`. Its end, and the loss of its lease, lead to `'settled'`.
 * - `'settled'`: over. `record` is that of another owner, `error` that of the store, `outcome` what is on record; none of them
 *   says that the store has to be asked again.
 */
export class InFlight {
  phase: 'claiming' | 'running' | 'settled' = 'claiming';
  execution: LeasedExecution | undefined;
  record: RecordState | undefined;
  error: unknown;
  outcome: StoredOutcome | undefined;
  /** When the claim was sent, by `performance.now()`: the lease counts from then on, on the safe side. */
  sentAt: number;
  lock: HeldLock | undefined;
  /** An answer to the claim that came after its time limit. */
  late: RecordState | undefined;
  /** Made by the first duplicate. */
  private waiting: Set<() => void> | undefined;

  constructor(
    readonly operation: Operation,
    /** What the store is asked, let go of where this process runs the operation: a body would be held for as long as that takes. */
    public claim: Claim | undefined,
    /** When the store began to be asked, by `performance.now()`. */
    readonly startedAt: number,
  ) {
    this.sentAt = startedAt;
  }

  get isSettled(): boolean {
    return this.phase === 'settled';
  }

  run(execution: LeasedExecution): void {
    this.phase = 'running';
    this.claim = undefined;
    this.execution = execution;
    this.wake();
  }

  settle(how: { readonly record?: RecordState; readonly error?: unknown; readonly outcome?: StoredOutcome }): void {
    this.phase = 'settled';
    this.record = how.record;
    this.error = how.error;
    this.outcome = how.outcome;
    this.wake();
  }

  /**
   * Resolves once the phase has changed, or after `ms` milliseconds; at once where it is settled. Without `ms`, the change is waited for: claims end within
   * the time limit of the store.
   */
  changed(ms?: number): Promise<void> {
    if (this.isSettled) return Promise.resolve();
    this.waiting ??= new Set();
    const { waiting } = this;
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        waiting.delete(wake);
        resolve();
      };
      const timer = ms === undefined ? undefined : setTimeout(wake, ms);
      waiting.add(wake);
    });
  }

  private wake(): void {
    for (const wake of this.waiting ?? []) wake();
  }
}
