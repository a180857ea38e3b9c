import { performance } from 'node:perf_hooks';
import type { EventSink } from './events.js';
import { Execution } from './execution.js';
import type { Operation } from './operation.js';
import { type StoredOutcome } from './outcome.js';
import type { HeldLock } from './ports/record-lock.js';
import type { Ownership, RecordStore, StandingRecord, StoreTransaction } from './ports/record-store.js';
import { retryWhileUnavailable } from './retry.js';
import { CommitUnknownError, StoreUnavailableError } from './errors.js';
import { LeaseLostError, StepRunner } from './steps.js';

/** How an execution ended, as its edge sees it. */
export type Ending =
  /** With an outcome to keep. `failed`: with an error, which rolls a transaction back; the outcome is kept all the same. */
  | { readonly kind: 'store'; readonly outcome: StoredOutcome; readonly failed: boolean }
  /** With nothing to keep: the next request may try again. */
  | { readonly kind: 'release' }
  /** It never began: as if it had not been asked for. */
  | { readonly kind: 'discard' };

/** What came of recording that. */
export type Finish =
  | { readonly kind: 'stored' }
  | { readonly kind: 'freed' }
  /** The record was lost to another owner: this is what stands now. */
  | { readonly kind: 'lost'; readonly standing: StandingRecord | undefined }
  /** Whether a step happened is unknown: the record is held. */
  | { readonly kind: 'held' }
  /** The transaction was rolled back by the database, and the key is free. */
  | { readonly kind: 'rolledBack'; readonly error: unknown }
  /** The store was lost between run and record. */
  | { readonly kind: 'unrecorded'; readonly error: unknown };

export interface TenureSettings {
  readonly store: RecordStore;
  readonly events: EventSink;
  /** Called once, when the record is let go of: with the outcome on record, if there is one. */
  readonly onEnd: (outcome: StoredOutcome | undefined, awaited: boolean) => void;
}

/** Thrown inside a transaction to roll it back; never leaves this file. */
class RollBack extends Error {
  constructor(readonly ending: Ending) {
    super();
  }
}

/** One execution's hold on its record: the lease and its heartbeat, and the fenced end of it. */
export class Tenure {
  readonly execution: Execution;
  private readonly ownership: Ownership;
  private readonly steps: StepRunner;
  private transaction: StoreTransaction | undefined;
  private heartbeat: NodeJS.Timeout | undefined;
  private over = false;
  /** By this process's monotonic clock; on the safe side, as it counts from before the claim was sent. */
  private leaseEnds: number;

  constructor(
    private readonly operation: Operation,
    claimed: StandingRecord,
    claimSentAt: number,
    private readonly lock: HeldLock | undefined,
    private readonly settings: TenureSettings,
  ) {
    const { recordId, owner, token, attempt } = claimed;
    this.ownership = { recordId, owner, token };
    this.leaseEnds = claimSentAt + operation.policy.leaseMs;
    this.steps = new StepRunner(settings.store.steps, this.ownership, {
      attempt,
      holdOnCrash: operation.policy.afterCrash === 'hold',
      transaction: () => this.transaction,
      mayRetry: (pause) => this.leaseAllows(pause),
    });
    this.execution = new Execution(operation, this.ownership, attempt, this.steps);
    this.scheduleHeartbeat(operation.policy.leaseMs / 3);
  }

  /**
   * Runs `body` to its end and records it; in a transaction, where the policy says so. Never rejects, unless `body`
   * does: then the record is released.
   */
  async carryOut(body: () => Promise<Ending>): Promise<Finish> {
    try {
      return this.operation.policy.transactional ? await this.inTransaction(body) : await this.finish(await body());
    } catch (error) {
      await this.finish({ kind: 'release' });
      throw error;
    } finally {
      this.end(undefined, true);
    }
  }

  /** Records how the execution ended. */
  async finish(ending: Ending): Promise<Finish> {
    if (this.steps.unknown) return this.hold();
    if (ending.kind === 'store' && this.execution.storable) return this.complete(ending.outcome);
    return this.free(ending.kind === 'discard' ? 'discard' : 'release');
  }

  private async complete(outcome: StoredOutcome): Promise<Finish> {
    const { store } = this.settings;
    const startedAt = performance.now();
    const record = async (): Promise<Finish> => {
      const answer = await store.complete(this.ownership, { outcome, retentionMs: this.execution.retentionMs });
      if (answer.held) return this.completed(outcome, answer.awaited, startedAt);
      // Lost to another, or recorded by an earlier try whose answer was lost.
      const standing = await store.read(this.ownership.recordId);
      return this.isOurOutcome(standing) ? this.completed(outcome, true, startedAt) : this.lost(standing);
    };
    try {
      return await retryWhileUnavailable(record, (pause) => this.leaseAllows(pause));
    } catch (error) {
      return this.unrecorded(error);
    }
  }

  private async inTransaction(body: () => Promise<Ending>): Promise<Finish> {
    let startedAt = performance.now();
    let outcome: StoredOutcome | undefined;
    let began = false;
    let bodyFailed = false;
    try {
      const answer = await this.settings.store.transaction(async (transaction) => {
        began = true;
        this.useTransaction(transaction);
        const ending = await body().catch((error: unknown) => {
          bodyFailed = true;
          throw error;
        });
        if (ending.kind !== 'store' || ending.failed || this.steps.unknown || !this.execution.storable) {
          throw new RollBack(ending);
        }
        outcome = ending.outcome;
        startedAt = performance.now();
        const completion = { outcome, retentionMs: this.execution.retentionMs };
        const fenced = await transaction.complete(this.ownership, completion);
        if (!fenced.held) throw new LeaseLostError();
        return fenced;
      });
      return this.completed(outcome!, answer.awaited, startedAt);
    } catch (error) {
      this.useTransaction(undefined);
      if (bodyFailed) throw error;
      if (error instanceof RollBack) return this.finish(error.ending);
      if (error instanceof LeaseLostError) return this.lost(await this.look());
      if (error instanceof CommitUnknownError) return this.lookUpCommit(outcome!, startedAt, error);
      await this.free(began ? 'release' : 'discard');
      return { kind: 'rolledBack', error };
    }
  }

  /**
   * Asks by a fenced write, which waits for a COMMIT that is still under way: if it finds the record still in
   * processing, the transaction has not committed, and never will.
   */
  private async lookUpCommit(outcome: StoredOutcome, startedAt: number, cause: unknown): Promise<Finish> {
    const { store } = this.settings;
    const look = async (): Promise<Finish> => {
      if ((await store.renew(this.ownership, this.operation.policy.leaseMs)).held) {
        await this.free('release');
        return { kind: 'rolledBack', error: cause };
      }
      const standing = await store.read(this.ownership.recordId);
      return this.isOurOutcome(standing) ? this.completed(outcome, true, startedAt) : this.lost(standing);
    };
    try {
      return await retryWhileUnavailable(look, (pause) => this.leaseAllows(pause));
    } catch (error) {
      return this.unrecorded(error);
    }
  }

  private async free(how: 'release' | 'discard'): Promise<Finish> {
    try {
      const answer = await this.settings.store[how](this.ownership);
      if (!answer.held) return this.lost(await this.look());
      if (this.settings.events.observed) this.settings.events.next({ type: 'released', ...this.inEvents() });
      this.end(undefined, answer.awaited);
    } catch (error) {
      // The lease runs out by itself; until then the key is taken.
      if (!(error instanceof StoreUnavailableError)) throw error;
      this.unrecorded(error);
    }
    return { kind: 'freed' };
  }

  private async hold(): Promise<Finish> {
    await this.settings.store.hold(this.ownership).catch(() => undefined);
    if (this.settings.events.observed) this.settings.events.next({ type: 'held', ...this.inEvents() });
    return { kind: 'held' };
  }

  private completed(outcome: StoredOutcome, awaited: boolean, startedAt: number): Finish {
    const { events } = this.settings;
    if (events.observed) {
      events.next({ type: 'completed', ...this.inEvents(), takeMs: performance.now() - startedAt });
    }
    this.end(outcome, awaited);
    return { kind: 'stored' };
  }

  private unrecorded(error: unknown): Finish {
    this.settings.events.next({ type: 'unrecorded', ...this.inEvents(), error });
    return { kind: 'unrecorded', error };
  }

  private lost(standing: StandingRecord | undefined): Finish {
    this.lose();
    return { kind: 'lost', standing };
  }

  private look(): Promise<StandingRecord | undefined> {
    return this.settings.store.read(this.ownership.recordId).catch(() => undefined);
  }

  private isOurOutcome(standing: StandingRecord | undefined): boolean {
    const { owner, token } = this.ownership;
    return standing?.status === 'done' && standing.owner === owner && standing.token === token;
  }

  private useTransaction(transaction: StoreTransaction | undefined): void {
    this.transaction = transaction;
    this.execution.useManager(transaction?.manager);
  }

  private scheduleHeartbeat(ms: number): void {
    this.heartbeat = setTimeout(() => void this.beat(), ms);
    this.heartbeat.unref();
  }

  private async beat(): Promise<void> {
    const { leaseMs } = this.operation.policy;
    const sentAt = performance.now();
    try {
      const { held } = await this.settings.store.renew(this.ownership, leaseMs);
      if (this.over) return;
      if (!held) return this.lose();
      this.leaseEnds = sentAt + leaseMs;
      this.scheduleHeartbeat(leaseMs / 3);
    } catch {
      if (this.over) return;
      if (performance.now() >= this.leaseEnds) return this.lose();
      this.scheduleHeartbeat(leaseMs / 10);
    }
  }

  /** Stops counting on the record; what is done from here on will not be recorded. */
  private lose(): void {
    if (this.over || this.execution.isLost) return;
    clearTimeout(this.heartbeat);
    this.settings.events.next({ type: 'leaseLost', ...this.inEvents() });
    this.execution.lose(new LeaseLostError());
  }

  private leaseAllows(pauseMs: number): boolean {
    return performance.now() + pauseMs < this.leaseEnds;
  }

  private end(outcome: StoredOutcome | undefined, awaited: boolean): void {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.heartbeat);
    this.lock?.release();
    this.settings.onEnd(outcome, awaited);
  }

  private inEvents() {
    const { recordId, token } = this.ownership;
    return { recordId, endpoint: this.operation.endpoint, attempt: this.execution.attempt, token };
  }
}
