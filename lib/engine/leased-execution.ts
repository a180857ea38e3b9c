import { performance } from 'node:perf_hooks';
import type { EventSink } from './events.js';
import { Execution } from './execution.js';
import type { Operation } from './operation.js';
import { isTombstone, type StoredOutcome, TOMBSTONE } from './outcome.js';
import { type CallRunner, HandlerCalls } from './handler-calls.js';
import type { Beating, Heartbeats } from './heartbeats.js';
import type { HeldLock } from './ports/record-lock.js';
import type { Completion, RecordStore, RecordState, StoreTransaction } from './ports/record-store.js';
import { retryAfter, retryWhileUnavailable, until } from './retry.js';
import { CommitUnknownError, StoreRefusedError, StoreUnavailableError, TransactionEndedError } from './errors.js';
import { LeaseLostError, StepRunner } from './steps.js';

/** How an execution ended, as its edge sees it. */
export type HandlerResult =
  /** With an outcome to keep. `failed`: with an error, which rolls a transaction back; the outcome is kept all the same. */
  | { readonly kind: 'store'; readonly outcome: StoredOutcome; readonly failed: boolean }
  /** With nothing to keep: the next request may try again. */
  | { readonly kind: 'release' }
  /** It never began: as if it had not been asked for. */
  | { readonly kind: 'discard' }
  /** Nothing is known of it, nor will be: as if its process had died. */
  | { readonly kind: 'unknown' };

/** The result of recording a {@link HandlerResult}. */
export type RecordingResult =
  /** `despite`: what failed after COMMIT, and did not undo it. */
  | { readonly kind: 'stored'; readonly despite?: unknown }
  | { readonly kind: 'freed' }
  /** The record was lost to another owner: this is the record now. */
  | { readonly kind: 'lost'; readonly recordState: RecordState | undefined }
  /** Whether the operation happened is unknown: the record is held. `error`: what the handler's transaction met. */
  | { readonly kind: 'held'; readonly error?: unknown }
  /** The transaction was rolled back by the database, and the key is free. */
  | { readonly kind: 'rolledBack'; readonly error: unknown }
  /** The store was lost between run and record, or refused every record of the end. */
  | { readonly kind: 'unrecorded'; readonly error: unknown };

/** What an execution lives in: the engine. */
export interface LeasedExecutionHost {
  readonly store: RecordStore;
  readonly events: EventSink;
  readonly heartbeats: Heartbeats;
  /** Called once, when the record is let go of: with the outcome on record, if there is one. */
  onEnd(leased: LeasedExecution, outcome: StoredOutcome | undefined, awaited: boolean): void;
  /** Called at most once, before `onEnd`: the lease is lost, and the next request has to ask the store. */
  onLost(leased: LeasedExecution): void;
}

/** Who runs the handler of an execution, and answers its request. */
export interface Runner {
  /** Runs the handler. Then it calls {@link LeasedExecution.end}, once. */
  begin(): void;
  /** Called once, when it is recorded how the execution ended. Never throws. */
  onFinish(recorded: RecordingResult): void;
  /** Called instead, where {@link begin} threw: the record is released. Never throws. */
  onFailure(error: unknown): void;
}

const STORED: RecordingResult = { kind: 'stored' };

/** How many connections in a row a completion loses, each while the store answers otherwise, before it counts as refused. */
const REFUSED_AFTER_LOSSES = 3;

/** The operation ran for longer than its `maxDuration`: its lease is no longer renewed. */
export class MaxDurationError extends Error {
  override readonly name = 'MaxDurationError';
  constructor(readonly maxDurationMs: number) {
    super(`This execution has run for longer than its \`maxDuration\` of ${maxDurationMs} ms`);
  }
}

/** Thrown inside a transaction to roll it back; never leaves this file. */
class RollBack extends Error {
  constructor(readonly result: HandlerResult) {
    super();
  }
}

/** Who waits for a transaction that is begun again. */
interface NextTransaction {
  resolve(run: CallRunner): void;
  reject(error: unknown): void;
}

/**
 * One execution's hold on its record: the lease and its heartbeat, and the fenced end of it.
 *
 * - `'held'`: the lease is renewed at every third of it.
 * - `'expiring'`: the operation has run for longer than its `maxDuration`. The lease is left to run out, and then lost.
 * - `'lost'`: another execution may own the record. The result of this one is not recorded.
 * - `'over'`: the record is recorded, freed, or left.
 */
type Phase = 'held' | 'expiring' | 'lost' | 'over';

export class LeasedExecution implements Beating {
  readonly execution: Execution;
  /** See {@link Beating}. */
  beatsAt = Infinity;
  private phase: Phase = 'held';
  private runner: Runner | undefined;
  /** Ends the handler's part of a transaction. */
  private endWithin: ((result: HandlerResult) => void) | undefined;
  private stepRunner: StepRunner | undefined;
  private transaction: StoreTransaction | undefined;
  /** Ends the open transaction for another one. */
  private turnOver: ((asking: NextTransaction) => void) | undefined;
  private readonly startedAt = performance.now();
  /** By this process's monotonic clock; on the safe side, as it counts from before the claim was sent. */
  private leaseEnds: number;

  constructor(
    readonly operation: Operation,
    private readonly ownership: RecordState,
    claimSentAt: number,
    private readonly lock: HeldLock | undefined,
    private readonly host: LeasedExecutionHost,
  ) {
    const { policy } = operation;
    this.leaseEnds = claimSentAt + policy.leaseMs;
    const calls = new HandlerCalls(policy.transactional ? () => this.beginAgain() : undefined);
    this.execution = new Execution(operation, ownership, calls, this);
    this.scheduleHeartbeat(policy.leaseMs / 3);
  }

  /** Made by the first step: most operations have none. */
  get steps(): StepRunner {
    return (this.stepRunner ??= new StepRunner(this.host.store.steps, this.ownership, {
      attempt: this.ownership.attempt,
      holdOnCrash: this.operation.policy.afterCrash === 'hold',
      transaction: () => this.transaction,
      leaseEnds: () => this.leaseEnds,
      owns: () => this.owns(),
      onResultNotKept: (step, error) => this.host.events.next({ type: 'notKept', ...this.inEvents(), step, error }),
    }));
  }

  /** Runs the handler, in a transaction where the policy says so, and records how it ended. */
  run(runner: Runner): void {
    this.runner = runner;
    const { transactional } = this.operation.policy;
    if (!transactional) {
      try {
        return runner.begin();
      } catch (error) {
        void this.runToEnd(() => Promise.reject(error as Error)).catch(() => runner.onFailure(error));
        return;
      }
    }
    const body = () =>
      new Promise<HandlerResult>((resolve) => {
        this.endWithin = resolve;
        runner.begin();
      });
    this.runToEnd(body).then(
      (recorded) => runner.onFinish(recorded),
      (error: unknown) => runner.onFailure(error),
    );
  }

  /** Ends what {@link run} began. Called once. */
  end(result: HandlerResult): void {
    if (this.endWithin) return this.endWithin(result);
    const runner = this.runner!;
    this.record(result).then(
      (recorded) => {
        this.close(undefined, true);
        runner.onFinish(recorded);
      },
      (error: unknown) => {
        this.close(undefined, true);
        runner.onFailure(error);
      },
    );
  }

  /**
   * Runs `body` to its end and records it; in a transaction, where the policy says so. Never rejects, unless `body`
   * does: then the record is released.
   */
  async runToEnd(body: () => Promise<HandlerResult>): Promise<RecordingResult> {
    try {
      return this.operation.policy.transactional ? await this.inTransaction(body) : await this.record(await body());
    } catch (error) {
      await this.record({ kind: 'release' });
      throw error;
    } finally {
      this.close(undefined, true);
    }
  }

  /** Records how the execution ended. */
  record(result: HandlerResult): Promise<RecordingResult> {
    const { input } = this.operation;
    const isStored = result.kind === 'store' && !input && this.execution.storable && !this.unknownStep;
    return isStored ? this.complete(result.outcome, undefined) : this.recordOtherwise(result);
  }

  private async recordOtherwise(result: HandlerResult): Promise<RecordingResult> {
    const { input } = this.operation;
    if (this.unknownStep) return this.hold();
    if (result.kind === 'unknown') return this.abandon();
    // A handler that failed on half of its input has come to no outcome, whatever status it failed with.
    const isCutShort = result.kind === 'store' && result.failed && input?.brokeOff;
    if (result.kind === 'store' && this.execution.storable && !isCutShort) {
      return this.complete(result.outcome, input && (await input.fingerprint()));
    }
    return this.free(result.kind === 'discard' ? 'discard' : 'release');
  }

  private get unknownStep(): string | undefined {
    return this.stepRunner?.unknown;
  }

  private complete(
    outcome: StoredOutcome,
    fingerprint: Buffer | undefined,
    leaseEnds = this.leaseEnds,
  ): Promise<RecordingResult> {
    const startedAt = performance.now();
    const completion = { outcome, retentionMs: this.execution.retentionMs, fingerprint };
    return this.host.store.complete(this.ownership, completion).then(
      ({ held, awaited }) =>
        held ? this.completed(outcome, awaited, startedAt) : this.completeAgain(completion, startedAt, leaseEnds),
      (error: unknown) => this.completeAgain(completion, startedAt, leaseEnds, error),
    );
  }

  /** @param refusal why the first try failed; absent: it found the record in other hands, or recorded by a try before it */
  private async completeAgain(
    completion: Completion,
    startedAt: number,
    leaseEnds: number,
    refusal?: unknown,
  ): Promise<RecordingResult> {
    const { store, events } = this.host;
    const { outcome, fingerprint } = completion;
    let losses = 0;
    // A server that closes the connection at a statement, as for one that is too large, refuses the statement. One
    // that restarts answers nothing else meanwhile, and one whose disk is full says so: the response can be recorded later.
    const judged = async (error: unknown): Promise<unknown> => {
      losses = store.closedConnection(error) && (await this.storeAnswers()) ? losses + 1 : 0;
      return losses >= REFUSED_AFTER_LOSSES ? new StoreRefusedError({ cause: error }) : error;
    };
    const record = async (): Promise<RecordingResult> => {
      const answer = await store.complete(this.ownership, completion).catch(async (error: unknown) => {
        throw await judged(error);
      });
      if (answer.held) return this.completed(outcome, answer.awaited, startedAt);
      // Lost to another, or recorded by an earlier try whose answer was lost.
      const recordState = await store.read(this.ownership.recordId);
      return this.isOurOutcome(recordState) ? this.completed(outcome, true, startedAt) : this.lost(recordState);
    };
    const mayRetry = until(leaseEnds);
    try {
      return refusal === undefined
        ? await retryWhileUnavailable(record, mayRetry)
        : await retryAfter(await judged(refusal), record, mayRetry);
    } catch (error) {
      if (!(error instanceof StoreRefusedError) || isTombstone(outcome)) return this.unrecorded(error);
      // The operation was carried out. To free its key would carry it out again, and to try on would never end.
      events.next({ type: 'notKept', ...this.inEvents(), error: error.cause });
      return this.complete(TOMBSTONE, fingerprint, leaseEnds);
    }
  }

  private storeAnswers(): Promise<boolean> {
    return this.host.store.read(this.ownership.recordId).then(
      () => true,
      () => false,
    );
  }

  /**
   * Rolls back what the handler has written, and begins its transaction again. Returns what runs the handler within the new one.
   *
   * @throws what the store throws where it cannot begin one
   */
  beginAgain(): Promise<CallRunner> {
    return new Promise((resolve, reject) => {
      if (this.turnOver) this.turnOver({ resolve, reject });
      else reject(new LeaseLostError());
    });
  }

  /** @param asked who waits for the transaction to be begun again */
  private async inTransaction(body: () => Promise<HandlerResult>, asked?: NextTransaction): Promise<RecordingResult> {
    let startedAt = performance.now();
    let outcome: StoredOutcome | undefined;
    let began = false;
    let bodyFailed = false;
    let ended: Promise<HandlerResult> | undefined;
    let next: NextTransaction | undefined;
    try {
      const answer = await this.host.store.transaction(async (transaction) => {
        began = true;
        this.useTransaction(transaction);
        asked?.resolve(transaction.inside);
        const result = await new Promise<HandlerResult>((resolve, reject) => {
          this.turnOver = (asking) => {
            this.turnOver = undefined;
            next = asking;
            reject(new RollBack({ kind: 'release' }));
          };
          ended = body();
          ended.then(resolve, (error: unknown) => {
            bodyFailed = true;
            reject(error as Error);
          });
        }).finally(() => (this.turnOver = undefined));
        if (result.kind !== 'store' || result.failed || this.unknownStep || !this.execution.storable) {
          throw new RollBack(result);
        }
        outcome = result.outcome;
        const { input } = this.operation;
        const fingerprint = input && (await input.fingerprint());
        startedAt = performance.now();
        const completion = { outcome, retentionMs: this.execution.retentionMs, fingerprint };
        const fenced = await (transaction.completeLast?.(this.ownership, completion) ??
          transaction.complete(this.ownership, completion));
        if (!fenced.held) throw new LeaseLostError();
        return fenced;
      }, this.operation.endpoint);
      return this.completed(outcome!, answer.awaited, startedAt);
    } catch (error) {
      this.useTransaction(undefined);
      if (!began && asked) await this.refuse(asked, error, body());
      await this.stepRunner?.recordAgain().catch((lost: unknown) => void this.unrecorded(lost));
      const isHeld = error instanceof TransactionEndedError;
      // Whatever the rollback has met, such as a connection that is gone: it was asked for.
      if (next && !isHeld && !this.execution.isLost) return this.inTransaction(() => ended!, next);
      if (next) await this.refuse(next, isHeld ? error : new LeaseLostError(), ended!);
      if (isHeld) return this.hold(error);
      if (next || error instanceof LeaseLostError) return await this.lostWithin(await this.look());
      if (bodyFailed) throw error;
      if (error instanceof RollBack) return this.record(error.result);
      if (error instanceof CommitUnknownError) return this.lookUpCommit(outcome!, startedAt, error.cause ?? error);
      return this.rolledBack(began || asked ? 'release' : 'discard', error);
    }
  }

  /** A transaction on a node of a cluster that did not have the claim yet has lost nothing but itself. */
  private lostWithin(found: RecordState | undefined): Promise<RecordingResult> {
    const { owner, token } = this.ownership;
    const isOurs = found?.status === 'processing' && found.owner === owner && found.token === token;
    if (!isOurs) return this.lost(found);
    return this.rolledBack('release', new StoreUnavailableError({ cause: new LeaseLostError() }));
  }

  /** The handler's next call fails by `error`, and no key is free before the execution has ended by that. */
  private async refuse(asking: NextTransaction, error: unknown, ended: Promise<unknown>): Promise<void> {
    asking.reject(error);
    await ended.catch(() => undefined);
  }

  /**
   * Asks by a fenced write, which waits for a COMMIT that is still under way. If it finds the record still in processing, the
   * transaction has not committed; and it never will, as a completion that arrives after the release finds the record released.
   */
  private async lookUpCommit(outcome: StoredOutcome, startedAt: number, cause: unknown): Promise<RecordingResult> {
    const { store } = this.host;
    const look = async (): Promise<RecordingResult> => {
      if ((await store.renew(this.ownership, this.operation.policy.leaseMs)).held) {
        return this.rolledBack('release', cause);
      }
      const recordState = await store.read(this.ownership.recordId);
      if (!this.isOurOutcome(recordState)) return this.lost(recordState);
      const stored = this.completed(outcome, true, startedAt);
      return store.isRetryable(cause) ? stored : { kind: 'stored', despite: cause };
    };
    try {
      return await retryWhileUnavailable(look, until(this.leaseEnds));
    } catch (error) {
      return this.unrecorded(error);
    }
  }

  private async rolledBack(how: 'release' | 'discard', error: unknown): Promise<RecordingResult> {
    if (this.unknownStep) return this.hold(error);
    const freed = await this.free(how);
    return freed.kind === 'lost' ? freed : { kind: 'rolledBack', error };
  }

  private async free(how: 'release' | 'discard'): Promise<RecordingResult> {
    const { store, events } = this.host;
    try {
      const answer = await (how === 'release'
        ? store.release(this.ownership, this.execution.retentionMs)
        : store.discard(this.ownership));
      if (!answer.held) return this.lost(await this.look());
      if (events.observed) events.next({ type: 'released', ...this.inEvents() });
      this.close(undefined, answer.awaited);
    } catch (error) {
      // The lease runs out by itself; until then the key is taken.
      this.unrecorded(error);
    }
    return { kind: 'freed' };
  }

  private async hold(error?: unknown): Promise<RecordingResult> {
    await this.host.store.hold(this.ownership).catch(() => undefined);
    if (this.host.events.observed) this.host.events.next({ type: 'held', ...this.inEvents() });
    return { kind: 'held', error };
  }

  /** As if the process had died: the lease runs out, and `afterCrash` says what the next request does. */
  private async abandon(): Promise<RecordingResult> {
    if (this.operation.policy.afterCrash === 'hold') return this.hold();
    return this.lost(undefined);
  }

  private completed(outcome: StoredOutcome, awaited: boolean, startedAt: number): RecordingResult {
    const { events } = this.host;
    if (events.observed) {
      events.next({ type: 'completed', ...this.inEvents(), takeMs: performance.now() - startedAt });
    }
    this.close(outcome, awaited);
    return STORED;
  }

  private unrecorded(error: unknown): RecordingResult {
    this.host.events.next({ type: 'unrecorded', ...this.inEvents(), error });
    return { kind: 'unrecorded', error };
  }

  private async lost(recordState: RecordState | undefined): Promise<RecordingResult> {
    this.lose();
    const fingerprint = recordState?.outcome && (await this.operation.input?.fingerprint());
    // The outcome of another input is no answer to this one.
    const isOther = fingerprint && !recordState.fingerprint.equals(fingerprint);
    return { kind: 'lost', recordState: isOther ? undefined : recordState };
  }

  private look(): Promise<RecordState | undefined> {
    return this.host.store.read(this.ownership.recordId).catch(() => undefined);
  }

  private isOurOutcome(recordState: RecordState | undefined): boolean {
    const { owner, token } = this.ownership;
    return recordState?.status === 'done' && recordState.owner === owner && recordState.token === token;
  }

  private useTransaction(transaction: StoreTransaction | undefined): void {
    this.transaction = transaction;
    this.execution.useManager(transaction?.manager);
  }

  private scheduleHeartbeat(ms: number): void {
    const { maxDurationMs } = this.operation.policy;
    const left = maxDurationMs === undefined ? ms : this.startedAt + maxDurationMs - performance.now();
    this.host.heartbeats.schedule(this, Math.max(0, Math.min(ms, left)));
  }

  /** Renews the lease. */
  beat(): void {
    if (this.phase === 'expiring') this.lose();
    else void this.renew();
  }

  private async renew(): Promise<void> {
    const { leaseMs, maxDurationMs } = this.operation.policy;
    if (maxDurationMs !== undefined && performance.now() - this.startedAt >= maxDurationMs) {
      return this.overrun(maxDurationMs);
    }
    try {
      const held = await this.extendLease();
      if (this.phase === 'over') return;
      if (!held) return this.lose();
      this.scheduleHeartbeat(leaseMs / 3);
    } catch {
      if (this.phase === 'over') return;
      if (performance.now() >= this.leaseEnds) return this.lose();
      this.scheduleHeartbeat(leaseMs / 10);
    }
  }

  /** Returns whether the record was still this execution's. */
  private async extendLease(): Promise<boolean> {
    const { leaseMs, transactional } = this.operation.policy;
    const sentAt = performance.now();
    const { held } = await this.host.store.renew(this.ownership, leaseMs, transactional);
    if (held) this.leaseEnds = sentAt + leaseMs;
    return held;
  }

  /**
   * Whether something more may be begun. Once its lease is over, an execution has to ask: it may have been stopped, or its store
   * silent, for so long that another has the record, and does the same.
   */
  private owns(): boolean | Promise<boolean> {
    if (this.phase === 'lost') return false;
    if (performance.now() < this.leaseEnds) return true;
    // On a single connection, the question would wait for the transaction that asks it.
    if (this.transaction && this.host.store.steps.joinsTransaction) return true;
    return this.phase === 'held' && this.extendLease();
  }

  /** The lease is left to run out: from then on another execution may take over, as after a crash. */
  private overrun(maxDurationMs: number): void {
    this.phase = 'expiring';
    this.host.events.next({ type: 'overran', ...this.inEvents() });
    this.execution.abort(new MaxDurationError(maxDurationMs));
    this.host.heartbeats.schedule(this, Math.max(0, this.leaseEnds - performance.now()));
  }

  /** Stops counting on the record; what is done from here on will not be recorded. */
  private lose(): void {
    if (this.phase === 'over' || this.phase === 'lost') return;
    this.phase = 'lost';
    this.host.heartbeats.cancel(this);
    this.host.events.next({ type: 'leaseLost', ...this.inEvents() });
    this.execution.lose(new LeaseLostError());
    this.host.onLost(this);
  }

  private close(outcome: StoredOutcome | undefined, awaited: boolean): void {
    if (this.phase === 'over') return;
    this.phase = 'over';
    this.host.heartbeats.cancel(this);
    this.lock?.release();
    this.host.onEnd(this, outcome, awaited);
  }

  private inEvents() {
    const { recordId, token } = this.ownership;
    return { recordId, endpoint: this.operation.endpoint, attempt: this.execution.attempt, token };
  }
}
