import { performance } from 'node:perf_hooks';
import { StoreRefusedError, StoreUnavailableError } from './errors.js';
import type { EventSink } from './events.js';
import type { Execution } from './execution.js';
import type { Lease } from './lease.js';
import type { Operation } from './operation.js';
import { isTombstone, type StoredOutcome } from './outcome.js';
import type { Completion, RecordState, RecordStatus, RecordStore } from './ports/record-store.js';
import { retryWhileUnavailable } from './retry.js';
import { LeaseLostError, type StepRunner } from './steps.js';

/** How a handler ended, as its edge sees it. */
export type HandlerResult =
  /**
   * It came to an outcome. `failed`: to an error, which rolls its transaction back; the outcome is recorded all the same. `tombstone`: what
   * is recorded if the database refuses the outcome.
   */
  | {
      readonly kind: 'store';
      readonly outcome: StoredOutcome;
      readonly failed: boolean;
      readonly tombstone: StoredOutcome;
    }
  /** It came to no outcome: the next request runs it again. */
  | { readonly kind: 'release' }
  /** It never began: the claim leaves no trace. `refused`: a pipe, for example, has refused the request for good. */
  | { readonly kind: 'discard'; readonly refused?: boolean }
  /** The edge cannot find out: the record is treated as after a crash. */
  | { readonly kind: 'unknown' };

type StoredResult = Pick<HandlerResult & { kind: 'store' }, 'outcome' | 'tombstone'>;

/** The result of recording a {@link HandlerResult}. */
export type RecordingResult =
  /** `despite`: what failed after COMMIT, which it did not undo. */
  | { readonly kind: 'stored'; readonly despite?: unknown }
  /** `isTaken`: that could not be recorded, and the key is taken until the lease runs out. */
  | { readonly kind: 'freed'; readonly isTaken?: boolean }
  /** Another execution owns the record: `recordState` is what it made of it. */
  | { readonly kind: 'lost'; readonly recordState: RecordState | undefined }
  /** Whether the operation happened is unknown, and an operator has to resolve it. `error`: what ended the transaction. */
  | { readonly kind: 'held'; readonly error?: unknown }
  /** The database rolled the transaction back, or the steps of an earlier attempt could not be read. `isTaken`: as of `freed`. */
  | { readonly kind: 'rolledBack'; readonly error: unknown; readonly isTaken?: boolean }
  /** The store did not answer until the end of the lease, or refused even a tombstone. */
  | { readonly kind: 'unrecorded'; readonly error: unknown };

/** An outcome that a transaction has recorded, and which its COMMIT makes durable. */
export interface UncommittedOutcome {
  readonly outcome: StoredOutcome;
  readonly startedAt: number;
}

/** The execution that owns the record. */
export interface RecordOwner {
  readonly operation: Operation;
  readonly ownership: RecordState;
  readonly execution: Execution;
  readonly lease: Lease;
  readonly store: RecordStore;
  readonly events: EventSink;
  /** Its steps. Created by the first use, because most operations have none. */
  readonly steps: StepRunner;
  /** Its steps, where they were used. */
  readonly usedSteps: StepRunner | undefined;
  /** Waits for the steps that run, and refuses further ones. Returns `undefined` where none runs. */
  closeSteps(): Promise<void> | undefined;
  /**
   * Ends the hold on the record.
   *
   * @param awaited whether a request waits for the end; it may, where the store has not said
   */
  close(outcome?: StoredOutcome, awaited?: boolean): void;
  /** Returns what identifies the execution in its events. */
  inEvents(): Pick<RecordState, 'recordId' | 'token'> & Pick<Execution, 'endpoint' | 'attempt'>;
}

export const STORED: RecordingResult = { kind: 'stored' };

/**
 * How many connections in a row may break at a completion before it counts as refused. Some servers close the connection at a statement
 * that is too large: retried as an outage, it would fail until the lease ends.
 */
const REFUSED_AFTER_LOSSES = 3;

/**
 * How long a completion is repeated at least, after the first try, while heartbeats renew the lease. A connection that is silent for the
 * whole lease would leave no time for a second try, and the operation would run again.
 */
const COMPLETE_AGAIN_FOR_MS = 1_000;

/** Records how the handler of an execution ended. The store fences every statement: after the lease is lost, none has an effect. */
export class Recorder {
  constructor(private readonly owner: RecordOwner) {}

  /** Records the end of a handler, once its steps have ended. */
  record(result: HandlerResult): Promise<RecordingResult> {
    const closing = this.owner.closeSteps();
    return closing ? closing.then(() => this.recordAll(result)) : this.recordAll(result);
  }

  private recordAll(result: HandlerResult): Promise<RecordingResult> {
    const recording = this.recordSteps();
    return recording ? recording.then(() => this.recordNow(result)) : this.recordNow(result);
  }

  /** Records the steps whose ends are not on record. Never rejects. Returns `undefined` where all are. */
  recordSteps(): Promise<unknown> | undefined {
    return this.owner.usedSteps?.recordAgain()?.catch((lost: unknown) => this.unrecorded(lost));
  }

  private recordNow(result: HandlerResult): Promise<RecordingResult> {
    const { execution, operation, usedSteps } = this.owner;
    const { input, policy } = operation;
    const isUnknown = result.kind === 'unknown';
    if (usedSteps?.isUnknown || (isUnknown && policy.afterCrash === 'hold')) return this.hold();
    // A process that can read the steps goes on with the operation.
    if (usedSteps?.unreadable) return this.rolledBack('release', usedSteps.unreadable);
    // The lease runs out, as after a crash.
    if (isUnknown) return this.lost(undefined);
    // A handler that failed on half of its input came to no outcome, whatever its status: a replay would refuse the whole input.
    const failedOnTruncatedInput = result.kind === 'store' && result.failed && input?.isTruncated;
    if (result.kind === 'store' && execution.storable && !failedOnTruncatedInput) {
      // A retry that fails before its first step has not loaded those of earlier attempts.
      const loading = result.failed && execution.attempt > 1 ? this.loadSteps() : undefined;
      if (!input && !loading) return this.complete(result, undefined);
      return Promise.all([input?.fingerprint(), loading]).then(([fingerprint]) => this.complete(result, fingerprint));
    }
    if (result.kind !== 'discard') return this.free('release');
    if (!result.refused || execution.attempt === 1) return this.free('discard');
    // The client takes the refusal for the outcome, though an earlier attempt may have charged: the log has to say so.
    return this.loadSteps().then(() => this.free('discard'));
  }

  /** Loads the steps of earlier attempts, where a report of those that this attempt has not called needs them. */
  private loadSteps(): Promise<unknown> {
    return this.owner.steps.load().catch(() => undefined);
  }

  private complete(
    { outcome, tombstone }: StoredResult,
    fingerprint: Buffer | undefined,
    leaseEnds = this.owner.lease.ends,
  ): Promise<RecordingResult> {
    const { execution, lease, ownership, store } = this.owner;
    lease.markEnding();
    const startedAt = performance.now();
    const completion = { outcome, retentionMs: execution.retentionMs, fingerprint };
    return store.complete(ownership, completion).then(
      ({ held, awaited }) =>
        held
          ? this.onCompleted(outcome, awaited, startedAt)
          : this.completeAgain(completion, tombstone, startedAt, leaseEnds),
      (error: unknown) => this.completeAgain(completion, tombstone, startedAt, leaseEnds, error),
    );
  }

  /** @param failure how the first try failed; absent where it found the record changed, by another owner or by a lost first answer */
  private async completeAgain(
    completion: Completion,
    tombstone: StoredOutcome,
    startedAt: number,
    leaseEnds: number,
    failure?: unknown,
  ): Promise<RecordingResult> {
    const { lease, ownership, store, events } = this.owner;
    const { outcome, fingerprint } = completion;
    const giveUpAt = Math.max(leaseEnds, Math.min(lease.ends, performance.now() + COMPLETE_AGAIN_FOR_MS));
    let losses = 0;
    // A server that closes the connection at a completion but answers other statements refuses the completion. A server that restarts
    // answers nothing, and one whose disk is full says so: there, a later try succeeds.
    const asRefusal = async (error: unknown): Promise<unknown> => {
      const answers = () =>
        store
          .read(ownership.recordId)
          .then(() => true)
          .catch(() => false);
      losses = store.closedConnection(error) && (await answers()) ? losses + 1 : 0;
      return losses >= REFUSED_AFTER_LOSSES ? new StoreRefusedError({ cause: error }) : error;
    };
    const tryAgain = async (): Promise<RecordingResult> => {
      const answer = await store.complete(ownership, completion).catch(async (error: unknown) => {
        throw await asRefusal(error);
      });
      if (answer.held) return this.onCompleted(outcome, answer.awaited, startedAt);
      return this.recordedBefore(outcome, startedAt);
    };
    try {
      return await retryWhileUnavailable(tryAgain, giveUpAt, failure && (await asRefusal(failure)));
    } catch (error) {
      if (!(error instanceof StoreRefusedError) || error.mayPass || isTombstone(outcome)) return this.unrecorded(error);
      // The handler has run: a freed key would run it twice. A tombstone says so, and is small enough for any server.
      events.next({ type: 'notKept', ...this.owner.inEvents(), error: error.cause });
      return this.complete({ outcome: tombstone, tombstone }, fingerprint, leaseEnds);
    }
  }

  /** Finds out whether an earlier statement has recorded the outcome, and its answer was lost, or another owner has the record. */
  private async recordedBefore(outcome: StoredOutcome, startedAt: number): Promise<RecordingResult> {
    const recordState = await this.owner.store.read(this.owner.ownership.recordId);
    return this.isOurs(recordState, 'done') ? this.onCompleted(outcome, true, startedAt) : this.lost(recordState);
  }

  /** Called when the record is completed, by this recorder or by a transaction that has committed. */
  onCompleted(outcome: StoredOutcome, awaited: boolean, startedAt: number): RecordingResult {
    const { events } = this.owner;
    if (events.observed) {
      events.next({ type: 'completed', ...this.owner.inEvents(), takeMs: performance.now() - startedAt });
    }
    this.reportUnreachedSteps();
    this.owner.close(outcome, awaited);
    return STORED;
  }

  private reportUnreachedSteps(): void {
    const { events, usedSteps } = this.owner;
    const steps = usedSteps?.unreached;
    if (steps?.length) events.next({ type: 'unreachedSteps', ...this.owner.inEvents(), steps });
  }

  /**
   * Finds out whether a COMMIT took place whose answer was lost. A renewal waits for a COMMIT that is still under way, which a read would
   * not. If it finds the record in processing, the transaction has not committed. It never will, because its completion is fenced and
   * finds the record released.
   */
  async lookUpCommit({ outcome, startedAt }: UncommittedOutcome, cause: unknown): Promise<RecordingResult> {
    const { lease, operation, ownership, store } = this.owner;
    const look = async (): Promise<RecordingResult> => {
      if ((await store.renew(ownership, operation.policy.leaseMs)).held) return this.rolledBack('release', cause);
      const recorded = await this.recordedBefore(outcome, startedAt);
      return recorded.kind === 'lost' || store.isRetryable(cause) ? recorded : { kind: 'stored', despite: cause };
    };
    try {
      return await retryWhileUnavailable(look, lease.ends);
    } catch (error) {
      return this.unrecorded(error);
    }
  }

  /**
   * Called when a transaction did not find the record as this execution's. Distinguishes a lost record from a transaction that did not see
   * its claim, as on a cluster node that lags behind. There the record is still this execution's, and is freed.
   */
  async lostInTransaction(): Promise<RecordingResult> {
    const recordState = await this.read();
    if (!this.isOurs(recordState, 'processing')) return this.lost(recordState);
    return this.rolledBack('release', new StoreUnavailableError({ cause: new LeaseLostError() }));
  }

  /** Frees the record of an execution whose transaction was rolled back. */
  async rolledBack(how: 'release' | 'discard', error: unknown): Promise<RecordingResult> {
    if (this.owner.usedSteps?.isUnknown) return this.hold(error);
    const freed = await this.free(how);
    return freed.kind === 'lost' ? freed : { ...freed, kind: 'rolledBack', error };
  }

  private async free(how: 'release' | 'discard'): Promise<RecordingResult & { kind: 'freed' | 'lost' }> {
    const { execution, lease, ownership, store, events, usedSteps } = this.owner;
    lease.markEnding();
    // The lease runs out instead, and meanwhile the store may still record it.
    if (usedSteps?.hasUnrecorded) return { kind: 'freed', isTaken: true };
    try {
      const answer = await (how === 'release'
        ? store.release(ownership, execution.retentionMs)
        : store.discard(ownership));
      if (!answer.held) return this.lost(await this.read());
      if (events.observed) events.next({ type: 'released', ...this.owner.inEvents() });
      if (how === 'discard') this.reportUnreachedSteps();
      this.owner.close(undefined, answer.awaited);
    } catch (error) {
      this.unrecorded(error);
      return { kind: 'freed', isTaken: true };
    }
    return { kind: 'freed' };
  }

  /** Holds the record for an operator. */
  async hold(error?: unknown): Promise<RecordingResult> {
    const { lease, ownership, store, events } = this.owner;
    lease.markEnding();
    try {
      // Left in processing, the record would run again after its lease, unless it is held on a crash.
      const { held } = await retryWhileUnavailable(() => store.hold(ownership), lease.ends);
      const recordState = held ? undefined : await this.read();
      // An earlier try may have held it, whose answer was lost.
      if (!held && !this.isOurs(recordState, 'held')) return this.lost(recordState);
    } catch (failure) {
      // The record is not held, and its lease runs out.
      return this.unrecorded(failure);
    }
    if (events.observed) events.next({ type: 'held', ...this.owner.inEvents() });
    return { kind: 'held', error };
  }

  unrecorded(error: unknown): RecordingResult {
    this.owner.events.next({ type: 'unrecorded', ...this.owner.inEvents(), error });
    return { kind: 'unrecorded', error };
  }

  private async lost(recordState: RecordState | undefined): Promise<RecordingResult & { kind: 'lost' }> {
    this.owner.lease.lose();
    const fingerprint = recordState?.outcome && (await this.owner.operation.input?.fingerprint());
    // Another request's outcome must not answer this one: a streamed input is compared only now.
    const isOther = fingerprint && !recordState.fingerprint.equals(fingerprint);
    return { kind: 'lost', recordState: isOther ? undefined : recordState };
  }

  private read(): Promise<RecordState | undefined> {
    const { ownership, store } = this.owner;
    return store.read(ownership.recordId).catch(() => undefined);
  }

  private isOurs(recordState: RecordState | undefined, status: RecordStatus): boolean {
    const { owner, token } = this.owner.ownership;
    return recordState?.status === status && recordState.owner === owner && recordState.token === token;
  }
}
