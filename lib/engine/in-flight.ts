import { performance } from 'node:perf_hooks';
import type { StoredOutcome } from './outcome.js';
import type { Operation } from './operation.js';
import type { LeasedExecution } from './leased-execution.js';
import type { SentClaim } from './lease.js';
import type { HeldLock } from './ports/record-lock.js';
import type { Claim, RecordState } from './ports/record-store.js';
import { Waiters } from './waiters.js';

/**
 * An operation that this process claims or runs. Duplicates in the same process join it without asking the store.
 *
 * - `'claiming'`: the store was asked and has not answered. A won claim leads to `'running'`, any other answer to `'settled'`.
 * - `'running'`: `execution` runs the handler. Its end, or the loss of its lease, leads to `'settled'`.
 * - `'settled'`: final. `record` is the record of another owner, `error` the store's failure, `outcome` the recorded outcome.
 *   Where all three are absent, a duplicate has to ask the store.
 */
export class InFlight implements SentClaim {
  phase: 'claiming' | 'running' | 'settled' = 'claiming';
  execution: LeasedExecution | undefined;
  record: RecordState | undefined;
  error: unknown;
  outcome: StoredOutcome | undefined;
  sentAt: number;
  sentDate = Date.now();
  lock: HeldLock | undefined;
  /** The answer to a claim that arrived after the store's time limit. */
  late: RecordState | undefined;
  private waiters: Waiters | undefined;

  constructor(
    readonly operation: Operation,
    /** Dropped once the execution runs: a claim holds the request's body, which would stay in memory as long as the handler runs. */
    public claim: Claim | undefined,
    /** When the engine began to ask, by `performance.now()`. */
    readonly startedAt: number,
  ) {
    this.sentAt = startedAt;
  }

  get isSettled(): boolean {
    return this.phase === 'settled';
  }

  /** The claim is about to be sent, or its lease to be renewed. */
  markSent(): void {
    this.sentAt = performance.now();
    this.sentDate = Date.now();
  }

  run(execution: LeasedExecution): void {
    this.phase = 'running';
    this.claim = undefined;
    this.execution = execution;
    this.waiters?.wakeAll();
  }

  settle(how: { readonly record?: RecordState; readonly error?: unknown; readonly outcome?: StoredOutcome }): void {
    this.phase = 'settled';
    this.record = how.record;
    this.error = how.error;
    this.outcome = how.outcome;
    this.waiters?.wakeAll();
  }

  /** Resolves once the phase changes, or after `ms` milliseconds. The store's time limit ends a claim, so that it needs no `ms`. */
  changed(ms?: number): Promise<void> {
    if (this.isSettled) return Promise.resolve();
    return (this.waiters ??= new Waiters()).wait(ms);
  }
}

/** An {@link InFlight} that still has its claim, as everything that sends the claim needs it. */
export type Claiming = InFlight & { claim: Claim };
