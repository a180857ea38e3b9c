import { performance } from 'node:perf_hooks';
import type { EventSink } from './events.js';
import { Execution } from './execution.js';
import type { Operation } from './operation.js';
import { isTombstone, type StoredOutcome } from './outcome.js';
import { type CallRunner, HandlerCalls } from './handler-calls.js';
import type { Heartbeats } from './heartbeats.js';
import { Lease, type Leaseholder } from './lease.js';
import type { HeldLock } from './ports/record-lock.js';
import type { Completion, RecordStore, RecordState, RecordStatus, StoreTransaction } from './ports/record-store.js';
import { retryWhileUnavailable } from './retry.js';
import { CommitUnknownError, StoreRefusedError, StoreUnavailableError, TransactionEndedError } from './errors.js';
import { LeaseLostError, StepRunner } from './steps.js';

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
  /** It never began: the claim leaves no trace. */
  | { readonly kind: 'discard' }
  /** The edge cannot find out: the record is treated as after a crash. */
  | { readonly kind: 'unknown' };

type StoredResult = Pick<HandlerResult & { kind: 'store' }, 'outcome' | 'tombstone'>;

/** The result of recording a {@link HandlerResult}. */
export type RecordingResult =
  /** `despite`: what failed after COMMIT, which it did not undo. */
  | { readonly kind: 'stored'; readonly despite?: unknown }
  | { readonly kind: 'freed' }
  /** Another execution owns the record: `recordState` is what it made of it. */
  | { readonly kind: 'lost'; readonly recordState: RecordState | undefined }
  /** Whether the operation happened is unknown, and an operator has to resolve it. `error`: what ended the transaction. */
  | { readonly kind: 'held'; readonly error?: unknown }
  /** The database rolled the transaction back, or the steps of an earlier attempt could not be read. The key is free. */
  | { readonly kind: 'rolledBack'; readonly error: unknown }
  /** The store did not answer until the end of the lease, or refused even a tombstone. */
  | { readonly kind: 'unrecorded'; readonly error: unknown };

/** What an execution needs of the engine. */
export interface LeasedExecutionHost {
  readonly store: RecordStore;
  readonly events: EventSink;
  readonly heartbeats: Heartbeats;
  /** Called once, when the execution ends its hold on the record, with the outcome that it recorded and whether a request waits. */
  onEnd(leased: LeasedExecution, outcome: StoredOutcome | undefined, awaited: boolean): void;
  /** Called at most once, before `onEnd`, when the lease is lost. */
  onLost(leased: LeasedExecution): void;
}

/** Runs the handler of an execution, and answers its request. Callbacks, as promises would cost every request three. */
export interface Runner {
  /** Runs the handler, and then calls {@link LeasedExecution.end} once. */
  begin(): void;
  /** Called once, when the end is recorded. Never throws. */
  onRecorded(recorded: RecordingResult): void;
  /** Called instead where {@link begin} threw; the record is released. Never throws. */
  onFailure(error: unknown): void;
}

const STORED: RecordingResult = { kind: 'stored' };

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

/** The operation ran for longer than its `maxDuration`: its lease is no longer renewed. */
export class MaxDurationError extends Error {
  override readonly name = 'MaxDurationError';
  constructor(readonly maxDurationMs: number) {
    super(`This execution has run for longer than its \`maxDuration\` of ${maxDurationMs} ms`);
  }
}

/** Rolls a transaction back. Never leaves this file. */
class RollBack extends Error {
  constructor(readonly result: HandlerResult) {
    super();
  }
}

/** A further call of the handler, which waits for a transaction of its own. */
interface WaitingCall {
  resolve(run: CallRunner): void;
  reject(error: unknown): void;
}

/** A transaction of a handler, and what is known of it. */
interface TransactionAttempt {
  /** Runs the handler, or waits for the one that runs already. */
  readonly body: () => Promise<HandlerResult>;
  /** The call that waits for this transaction, where it is not the first one. */
  readonly waitingCall: WaitingCall | undefined;
  /** Whether BEGIN succeeded. */
  began: boolean;
  /** The end of the handler, once it runs. */
  handlerEnd?: Promise<HandlerResult>;
  handlerFailed: boolean;
  /** Set when the record is about to be completed. */
  completing?: { readonly outcome: StoredOutcome; readonly startedAt: number };
  /** The call that waits for the next transaction, where the handler was called again. */
  nextCall?: WaitingCall;
}

/** One execution by the owner of a record, from the claim to the fenced end. */
export class LeasedExecution implements Leaseholder {
  readonly execution: Execution;
  private readonly lease: Lease;
  private runner: Runner | undefined;
  /** Ends the handler's part of the open transaction. */
  private endBody: ((result: HandlerResult) => void) | undefined;
  private stepRunner: StepRunner | undefined;
  private transaction: StoreTransaction | undefined;
  /** Whether the end is left to the transaction of a caller. */
  private isJoined = false;
  /** Rolls the open transaction back and begins another one. */
  private restart: ((call: WaitingCall) => void) | undefined;

  constructor(
    readonly operation: Operation,
    private readonly ownership: RecordState,
    claimSentAt: number,
    lock: HeldLock | undefined,
    private readonly host: LeasedExecutionHost,
  ) {
    const { policy } = operation;
    const calls = new HandlerCalls(policy.transactional ? () => this.restartTransaction() : undefined);
    this.execution = new Execution(operation, ownership, calls, this);
    this.lease = new Lease(ownership, policy, claimSentAt, lock, host, this);
  }

  /** Created by the first step, because most operations have none. */
  get steps(): StepRunner {
    return (this.stepRunner ??= new StepRunner(this.host.store.steps, this.ownership, {
      holdOnCrash: this.operation.policy.afterCrash === 'hold',
      transaction: () => this.transaction,
      leaseEnds: () => this.lease.ends,
      owns: () => this.owns(),
      onResultNotKept: (step, error) => this.host.events.next({ type: 'notKept', ...this.inEvents(), step, error }),
    }));
  }

  /** Runs the handler, in a transaction where the operation is transactional, and records how it ended. */
  run(runner: Runner): void {
    if (this.operation.policy.transactional) return this.runAsBody(runner);
    this.runner = runner;
    try {
      runner.begin();
    } catch (error) {
      void this.runToEnd(() => Promise.reject(error as Error)).catch(() => runner.onFailure(error));
    }
  }

  /** As {@link run}, by {@link runToEnd}. */
  runAsBody(runner: Runner): void {
    const body = () =>
      new Promise<HandlerResult>((resolve) => {
        this.endBody = resolve;
        runner.begin();
      });
    this.runToEnd(body).then(
      (recorded) => runner.onRecorded(recorded),
      (error: unknown) => runner.onFailure(error),
    );
  }

  /** Reports the end of the handler that {@link run} began. Called once. */
  end(result: HandlerResult): void {
    if (this.endBody) return this.endBody(result);
    const runner = this.runner!;
    this.record(result).then(
      (recorded) => {
        this.close(undefined, true);
        runner.onRecorded(recorded);
      },
      (error: unknown) => {
        this.close(undefined, true);
        runner.onFailure(error);
      },
    );
  }

  /**
   * Runs `body`, in a transaction where the operation is transactional, and records how it ended. Rejects only where `body` does, after
   * releasing the record.
   */
  async runToEnd(body: () => Promise<HandlerResult>): Promise<RecordingResult> {
    try {
      return this.operation.policy.transactional ? await this.inTransaction(body) : await this.record(await body());
    } catch (error) {
      await this.record({ kind: 'release' });
      throw error;
    } finally {
      if (!this.isJoined) this.close(undefined, true);
    }
  }

  /** Records how the handler ended, once its steps have. */
  record(result: HandlerResult): Promise<RecordingResult> {
    const closing = this.closeSteps();
    return closing ? closing.then(() => this.recordNow(result)) : this.recordNow(result);
  }

  private recordNow(result: HandlerResult): Promise<RecordingResult> {
    const { input, policy } = this.operation;
    const isUnknown = result.kind === 'unknown';
    if (this.stepRunner?.isUnknown || (isUnknown && policy.afterCrash === 'hold')) return this.hold();
    // A process that can read the steps goes on with the operation.
    if (this.stepRunner?.unreadable) return this.rolledBack('release', this.stepRunner.unreadable);
    // The lease runs out, as after a crash.
    if (isUnknown) return this.lost(undefined);
    // A handler that failed on half of its input came to no outcome, whatever its status: a replay would refuse the whole input.
    const failedOnTruncatedInput = result.kind === 'store' && result.failed && input?.isTruncated;
    if (result.kind === 'store' && this.execution.storable && !failedOnTruncatedInput) {
      // A retry that fails before its first step has not loaded those of earlier attempts.
      const loading =
        result.failed && this.execution.attempt > 1 ? this.steps.load().catch(() => undefined) : undefined;
      if (!input && !loading) return this.complete(result, undefined);
      return Promise.all([input?.fingerprint(), loading]).then(([fingerprint]) => this.complete(result, fingerprint));
    }
    return this.free(result.kind === 'discard' ? 'discard' : 'release');
  }

  private complete(
    { outcome, tombstone }: StoredResult,
    fingerprint: Buffer | undefined,
    leaseEnds = this.lease.ends,
  ): Promise<RecordingResult> {
    this.lease.markEnding();
    const startedAt = performance.now();
    const completion = { outcome, retentionMs: this.execution.retentionMs, fingerprint };
    return this.host.store.complete(this.ownership, completion).then(
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
    const { store, events } = this.host;
    const { outcome, fingerprint } = completion;
    const { recordId } = this.ownership;
    const giveUpAt = Math.max(leaseEnds, Math.min(this.lease.ends, performance.now() + COMPLETE_AGAIN_FOR_MS));
    let losses = 0;
    // A server that closes the connection at a completion but answers other statements refuses the completion. A server that restarts
    // answers nothing, and one whose disk is full says so: there, a later try succeeds.
    const asRefusal = async (error: unknown): Promise<unknown> => {
      const answers = () =>
        store
          .read(recordId)
          .then(() => true)
          .catch(() => false);
      losses = store.closedConnection(error) && (await answers()) ? losses + 1 : 0;
      return losses >= REFUSED_AFTER_LOSSES ? new StoreRefusedError({ cause: error }) : error;
    };
    const tryAgain = async (): Promise<RecordingResult> => {
      const answer = await store.complete(this.ownership, completion).catch(async (error: unknown) => {
        throw await asRefusal(error);
      });
      if (answer.held) return this.onCompleted(outcome, answer.awaited, startedAt);
      // Another owner has the record, or an earlier try recorded the outcome and its answer was lost.
      const recordState = await store.read(recordId);
      return this.isOurs(recordState, 'done') ? this.onCompleted(outcome, true, startedAt) : this.lost(recordState);
    };
    try {
      return await retryWhileUnavailable(tryAgain, giveUpAt, failure && (await asRefusal(failure)));
    } catch (error) {
      if (!(error instanceof StoreRefusedError) || isTombstone(outcome)) return this.unrecorded(error);
      // The handler has run: a freed key would run it twice. A tombstone says so, and is small enough for any server.
      events.next({ type: 'notKept', ...this.inEvents(), error: error.cause });
      return this.complete({ outcome: tombstone, tombstone }, fingerprint, leaseEnds);
    }
  }

  /**
   * Rolls the handler's transaction back and begins another one, for a further call of the handler. Returns what runs that call within
   * the new transaction.
   *
   * @throws LeaseLostError where no transaction is open, and what the store throws where it cannot begin one
   */
  restartTransaction(): Promise<CallRunner> {
    return new Promise((resolve, reject) => {
      if (this.restart) this.restart({ resolve, reject });
      else reject(new LeaseLostError());
    });
  }

  /** @param waitingCall the call that waits for this transaction, where it is not the first one */
  private async inTransaction(body: () => Promise<HandlerResult>, waitingCall?: WaitingCall): Promise<RecordingResult> {
    const attempt: TransactionAttempt = { body, waitingCall, began: false, handlerFailed: false };
    try {
      const { awaited } = await this.host.store.transaction(
        (transaction) => this.runAndComplete(transaction, attempt),
        this.operation.endpoint,
      );
      const completing = attempt.completing!;
      if (this.transaction?.settleAtEnd?.(() => this.settleJoined(completing))) return this.leaveToOuter();
      return this.onCompleted(completing.outcome, awaited, completing.startedAt);
    } catch (error) {
      this.useTransaction(undefined);
      if (!attempt.began && waitingCall) await this.refuseRestart(waitingCall, error, body());
      await this.stepRunner?.recordAgain().catch((lost: unknown) => void this.unrecorded(lost));
      return this.onNotCommitted(attempt, error);
    }
  }

  /**
   * Returns the outcome to the caller whose transaction the operation has joined. Until that ends, the outcome is not on record: no
   * duplicate may have it, and a rollback is no crash of this execution.
   */
  private leaveToOuter(): RecordingResult {
    this.isJoined = true;
    this.lease.stopRenewing();
    return STORED;
  }

  /** Finds out how a transaction has ended that the operation had joined: a rollback to a savepoint may have undone a part of it. */
  private async settleJoined(completing: NonNullable<TransactionAttempt['completing']>): Promise<void> {
    await this.lookUpCommit(completing, undefined);
    this.close(undefined, true);
  }

  /** Runs the handler in an open transaction, and completes its record there. Throws to roll the transaction back. */
  private async runAndComplete(transaction: StoreTransaction, attempt: TransactionAttempt) {
    attempt.began = true;
    this.useTransaction(transaction);
    attempt.waitingCall?.resolve(transaction.inside);
    let result: HandlerResult;
    try {
      result = await this.runBody(attempt);
    } finally {
      this.restart = undefined;
      // The transaction stays open for steps that still run, as they may read in it.
      const closing = attempt.nextCall ? undefined : this.closeSteps();
      if (closing) await closing;
    }
    const { isUnknown, unreadable } = this.stepRunner ?? {};
    if (result.kind !== 'store' || result.failed || isUnknown || unreadable || !this.execution.storable) {
      throw new RollBack(result);
    }
    const { outcome } = result;
    const { input } = this.operation;
    const fingerprint = input && (await input.fingerprint());
    this.lease.markEnding();
    attempt.completing = { outcome, startedAt: performance.now() };
    const completion = { outcome, retentionMs: this.execution.retentionMs, fingerprint };
    const fenced = await (transaction.completeLast?.(this.ownership, completion) ??
      transaction.complete(this.ownership, completion));
    if (!fenced.held) throw new LeaseLostError();
    return fenced;
  }

  private closeSteps(): Promise<void> | undefined {
    // A handler that waits for its own response to be sent still runs, and may wait in a step.
    return this.execution.calls.isRunning ? undefined : this.stepRunner?.close();
  }

  /** Rejects when the handler fails, and when a further call of it needs another transaction. */
  private runBody(attempt: TransactionAttempt): Promise<HandlerResult> {
    return new Promise((resolve, reject) => {
      this.restart = (call) => {
        this.restart = undefined;
        attempt.nextCall = call;
        reject(new RollBack({ kind: 'release' }));
      };
      attempt.handlerEnd = attempt.body();
      attempt.handlerEnd.then(resolve, (error: unknown) => {
        attempt.handlerFailed = true;
        reject(error as Error);
      });
    });
  }

  /** Records the end of a transaction that was rolled back, or whose COMMIT is unknown. */
  private async onNotCommitted(attempt: TransactionAttempt, error: unknown): Promise<RecordingResult> {
    const { began, waitingCall, nextCall, handlerFailed, completing } = attempt;
    if (nextCall) return this.runNextCall(attempt, nextCall, error);
    if (error instanceof TransactionEndedError) return this.hold(error);
    if (error instanceof LeaseLostError) return this.lostWithin(await this.readRecord());
    if (handlerFailed) throw error;
    if (error instanceof RollBack) return this.record(error.result);
    if (error instanceof CommitUnknownError) return this.lookUpCommit(completing!, error.cause ?? error);
    return this.rolledBack(began || waitingCall ? 'release' : 'discard', error);
  }

  /** Runs a further call in a new transaction. Other errors of the rollback, such as a broken connection, do not matter any more. */
  private async runNextCall(attempt: TransactionAttempt, nextCall: WaitingCall, error: unknown) {
    const handlerEnd = attempt.handlerEnd!;
    const isEnded = error instanceof TransactionEndedError;
    if (!isEnded && !this.execution.isLost) return this.inTransaction(() => handlerEnd, nextCall);
    await this.refuseRestart(nextCall, isEnded ? error : new LeaseLostError(), handlerEnd);
    return isEnded ? this.hold(error) : this.lostWithin(await this.readRecord());
  }

  /**
   * Distinguishes a lost record from a transaction that did not see its claim, as on a cluster node that lags behind. There the record
   * is still this execution's, and is freed.
   */
  private lostWithin(found: RecordState | undefined): Promise<RecordingResult> {
    if (!this.isOurs(found, 'processing')) return this.lost(found);
    return this.rolledBack('release', new StoreUnavailableError({ cause: new LeaseLostError() }));
  }

  /** Fails a call by `error`, and waits for the handler: a free key would let a second execution run beside it. */
  private async refuseRestart(call: WaitingCall, error: unknown, handlerEnd: Promise<unknown>): Promise<void> {
    call.reject(error);
    await handlerEnd.catch(() => undefined);
  }

  /**
   * Finds out whether a COMMIT took place whose answer was lost. A renewal waits for a COMMIT that is still under way, which a read would
   * not. If it finds the record in processing, the transaction has not committed. It never will, because its completion is fenced and
   * finds the record released.
   */
  private async lookUpCommit(
    { outcome, startedAt }: NonNullable<TransactionAttempt['completing']>,
    cause: unknown,
  ): Promise<RecordingResult> {
    const { store } = this.host;
    const look = async (): Promise<RecordingResult> => {
      if ((await store.renew(this.ownership, this.operation.policy.leaseMs)).held) {
        return this.rolledBack('release', cause);
      }
      const recordState = await store.read(this.ownership.recordId);
      if (!this.isOurs(recordState, 'done')) return this.lost(recordState);
      const stored = this.onCompleted(outcome, true, startedAt);
      return store.isRetryable(cause) ? stored : { kind: 'stored', despite: cause };
    };
    try {
      return await retryWhileUnavailable(look, this.lease.ends);
    } catch (error) {
      return this.unrecorded(error);
    }
  }

  private async rolledBack(how: 'release' | 'discard', error: unknown): Promise<RecordingResult> {
    if (this.stepRunner?.isUnknown) return this.hold(error);
    const freed = await this.free(how);
    return freed.kind === 'lost' ? freed : { kind: 'rolledBack', error };
  }

  private async free(how: 'release' | 'discard'): Promise<RecordingResult> {
    const { store, events } = this.host;
    this.lease.markEnding();
    try {
      const answer = await (how === 'release'
        ? store.release(this.ownership, this.execution.retentionMs)
        : store.discard(this.ownership));
      if (!answer.held) return this.lost(await this.readRecord());
      if (events.observed) events.next({ type: 'released', ...this.inEvents() });
      this.close(undefined, answer.awaited);
    } catch (error) {
      // The key stays taken until the lease runs out.
      this.unrecorded(error);
    }
    return { kind: 'freed' };
  }

  private async hold(error?: unknown): Promise<RecordingResult> {
    this.lease.markEnding();
    await this.host.store.hold(this.ownership).catch(() => undefined);
    if (this.host.events.observed) this.host.events.next({ type: 'held', ...this.inEvents() });
    return { kind: 'held', error };
  }

  private onCompleted(outcome: StoredOutcome, awaited: boolean, startedAt: number): RecordingResult {
    const { events } = this.host;
    if (events.observed) {
      events.next({ type: 'completed', ...this.inEvents(), takeMs: performance.now() - startedAt });
    }
    const steps = this.stepRunner?.unreached;
    if (steps?.length) events.next({ type: 'unreachedSteps', ...this.inEvents(), steps });
    this.close(outcome, awaited);
    return STORED;
  }

  private unrecorded(error: unknown): RecordingResult {
    this.host.events.next({ type: 'unrecorded', ...this.inEvents(), error });
    return { kind: 'unrecorded', error };
  }

  private async lost(recordState: RecordState | undefined): Promise<RecordingResult> {
    this.lease.lose();
    const fingerprint = recordState?.outcome && (await this.operation.input?.fingerprint());
    // Another request's outcome must not answer this one: a streamed input is compared only now.
    const isOther = fingerprint && !recordState.fingerprint.equals(fingerprint);
    return { kind: 'lost', recordState: isOther ? undefined : recordState };
  }

  private readRecord(): Promise<RecordState | undefined> {
    return this.host.store.read(this.ownership.recordId).catch(() => undefined);
  }

  private isOurs(recordState: RecordState | undefined, status: RecordStatus): boolean {
    const { owner, token } = this.ownership;
    return recordState?.status === status && recordState.owner === owner && recordState.token === token;
  }

  private useTransaction(transaction: StoreTransaction | undefined): void {
    this.transaction = transaction;
    this.execution.openTransaction = transaction?.manager;
  }

  /**
   * Returns whether a step may begin. Once the lease is over by either clock, the store decides: after a long pause of this process, or
   * of its machine, another execution may own the record, and would do the step's effect a second time.
   */
  private owns(): boolean | Promise<boolean> {
    const { lease } = this;
    if (lease.isCurrent || lease.isGivenUp) return lease.isCurrent;
    // On a single connection, the renewal would wait for the transaction that waits for it.
    if (this.transaction && this.host.store.steps.joinsTransaction) return true;
    return lease.confirm();
  }

  onLeaseLost(): void {
    this.stepRunner?.abandon();
    this.host.events.next({ type: 'leaseLost', ...this.inEvents() });
    this.execution.lose(new LeaseLostError());
    this.host.onLost(this);
  }

  onOverrun(maxDurationMs: number): void {
    this.host.events.next({ type: 'overran', ...this.inEvents() });
    this.execution.abort(new MaxDurationError(maxDurationMs));
  }

  onLongRun(): void {
    this.host.events.next({ type: 'longRunning', ...this.inEvents() });
  }

  private close(outcome: StoredOutcome | undefined, awaited: boolean): void {
    if (!this.lease.end()) return;
    this.execution.end();
    this.host.onEnd(this, outcome, awaited);
  }

  private inEvents() {
    const { recordId, token } = this.ownership;
    return { recordId, endpoint: this.operation.endpoint, attempt: this.execution.attempt, token };
  }
}
