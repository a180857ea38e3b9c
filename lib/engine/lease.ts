import { AsyncResource } from 'node:async_hooks';
import { performance } from 'node:perf_hooks';
import type { Beating, Heartbeats } from './heartbeats.js';
import type { Policy } from './policy.js';
import type { HeldLock } from './ports/record-lock.js';
import type { Ownership, RecordStore, StoreTransaction } from './ports/record-store.js';

/**
 * - `'held'`: the execution owns the record, and the lease is renewed after each third of it. Left by the end, by a lost lease, and by
 *   `maxDuration`.
 * - `'expiring'`: the handler ran for longer than `maxDuration`. The lease is not renewed; its end leads to `'lost'`.
 * - `'lost'`: another execution may own the record, and this one records nothing. Left when the handler ends.
 * - `'over'`: final. The outcome is recorded, or the record is freed, held, or left to its lease.
 */
type Phase = 'held' | 'expiring' | 'lost' | 'over';

/**
 * How long an execution without `maxDuration` runs before it is reported, in milliseconds. A handler that waits forever, such as for a
 * request without a time limit, keeps its key for as long as the process lives, and its customer cannot get out.
 */
const LONG_RUN_MS = 10 * 60_000;

/** How many renewals may wait for an answer: a second one goes over another connection. */
const MAX_RENEWALS = 2;

/** The execution that has the lease. Each method is called at most once. */
export interface Leaseholder {
  /** The transaction of the operation, if it is open. */
  readonly openTransaction: StoreTransaction | undefined;
  onLeaseLost(): void;
  /** The handler has run for longer than `maxDuration`. The lease ends soon. */
  onOverrun(maxDurationMs: number): void;
  /** The handler has run for {@link LONG_RUN_MS}, and nothing limits it. */
  onLongRun(): void;
}

/** When a claim was sent. Its lease counts from here, so that it ends here before it ends in the store. */
export interface SentClaim {
  /** By `performance.now()`. */
  readonly sentAt: number;
  /** By `Date.now()`. Where a machine is suspended, `performance.now()` stands still while the lease runs out. */
  readonly sentDate: number;
}

interface LeaseHost {
  readonly store: Pick<RecordStore, 'renew'>;
  readonly heartbeats: Heartbeats;
}

/** The lease of one execution on its record, and the lock that goes with it. */
export class Lease implements Beating {
  private phase: Phase = 'held';
  /** The request's async context. What its heartbeats report is logged and traced as the request's own. */
  private readonly context = new AsyncResource('IdempotencyLease');
  private readonly startedAt = performance.now();
  private renewals = 0;
  private isReported = false;
  private isEnding = false;
  /** By `Date.now()`: see {@link SentClaim.sentDate}. */
  private renewedAt: number;
  /** By `performance.now()`. */
  private endsAt: number;

  constructor(
    private readonly ownership: Ownership,
    private readonly policy: Policy,
    claim: SentClaim,
    private readonly lock: HeldLock | undefined,
    private readonly host: LeaseHost,
    private readonly holder: Leaseholder,
  ) {
    this.endsAt = claim.sentAt + policy.leaseMs;
    this.renewedAt = claim.sentDate;
    this.scheduleHeartbeat(policy.leaseMs / 3);
  }

  /** When the lease ends unless it is renewed, by `performance.now()`. */
  get ends(): number {
    return this.endsAt;
  }

  /** Whether the execution still owns the record by the clocks of this process. */
  get isCurrent(): boolean {
    const isWithinLease = Date.now() - this.renewedAt < this.policy.leaseMs;
    return !this.isGivenUp && performance.now() < this.endsAt && isWithinLease;
  }

  /** Whether the execution has lost the record or has recorded its end. */
  get isGivenUp(): boolean {
    return this.phase === 'lost' || this.phase === 'over';
  }

  /** Asks the store whether the execution still owns the record, and extends the lease if it does. */
  confirm(): false | Promise<boolean> {
    return this.phase === 'held' && this.extend();
  }

  /** Gives the record up: nothing that the execution does from here on is recorded. */
  lose(): void {
    if (this.isGivenUp) return;
    this.phase = 'lost';
    this.host.heartbeats.cancel(this);
    this.holder.onLeaseLost();
  }

  /** The end of the execution is on its way to the store. A renewal may find it there before the execution gets its answer. */
  markEnding(): void {
    this.isEnding = true;
  }

  /** Renewals would wait for the open transaction in which the end is recorded. */
  stopRenewing(): void {
    this.host.heartbeats.cancel(this);
  }

  /** Ends the lease with its execution. Returns `false` where it has ended before. */
  end(): boolean {
    if (this.phase === 'over') return false;
    this.phase = 'over';
    this.host.heartbeats.cancel(this);
    this.lock?.release();
    return true;
  }

  beat(): void {
    this.context.runInAsyncScope(() => {
      if (this.phase === 'expiring') this.lose();
      else void this.renew();
    });
  }

  private async renew(): Promise<void> {
    const { leaseMs, maxDurationMs } = this.policy;
    const runMs = performance.now() - this.startedAt;
    if (maxDurationMs !== undefined && runMs >= maxDurationMs) return this.overrun(maxDurationMs);
    if (!this.isReported && runMs >= LONG_RUN_MS) {
      this.isReported = true;
      if (maxDurationMs === undefined) this.holder.onLongRun();
    }
    this.lock?.renew();
    // In time for another connection to answer, if this one does not: some silently drop what is sent.
    this.scheduleHeartbeat(leaseMs / 3);
    if (this.renewals === MAX_RENEWALS) return;
    this.renewals++;
    try {
      const held = await this.extend();
      // An end on its way is fenced: its answer says whether the record was lost.
      if (!held && !this.isEnding) this.lose();
    } catch {
      // Another renewal may have found the lease lost meanwhile.
      if (this.phase !== 'held') return;
      if (performance.now() >= this.endsAt) return this.lose();
      this.scheduleHeartbeat(leaseMs / 10);
    } finally {
      this.renewals--;
    }
  }

  /** Returns whether the execution still owned the record. */
  private async extend(): Promise<boolean> {
    const { leaseMs, transactional } = this.policy;
    const sentAt = performance.now();
    const renewedAt = Date.now();
    const { held } = await this.host.store.renew(this.ownership, leaseMs, transactional, this.holder.openTransaction);
    // The answer to an earlier renewal may come later.
    if (held && sentAt + leaseMs > this.endsAt) {
      this.endsAt = sentAt + leaseMs;
      this.renewedAt = renewedAt;
    }
    return held;
  }

  /** Stops the renewals. Once the lease has run out, another execution may take over, as after a crash. */
  private overrun(maxDurationMs: number): void {
    this.phase = 'expiring';
    this.holder.onOverrun(maxDurationMs);
    this.host.heartbeats.schedule(this, Math.max(0, this.endsAt - performance.now()));
  }

  private scheduleHeartbeat(ms: number): void {
    const { maxDurationMs } = this.policy;
    const leftMs = maxDurationMs === undefined ? ms : this.startedAt + maxDurationMs - performance.now();
    this.host.heartbeats.schedule(this, Math.max(0, Math.min(ms, leftMs)));
  }
}
