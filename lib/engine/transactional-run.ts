import { performance } from 'node:perf_hooks';
import { CommitUnknownError, TransactionEndedError } from './errors.js';
import type { CallRunner } from './handler-calls.js';
import type { StoreTransaction } from './ports/record-store.js';
import {
  type HandlerResult,
  type Recorder,
  type RecordingResult,
  type RecordOwner,
  STORED,
  type UncommittedOutcome,
} from './recorder.js';
import { LeaseLostError } from './steps.js';

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

/**
 * The states of a transaction. The last three are left by its end only.
 *
 * - `'beginning'`: BEGIN is not answered. Left for `'running'`.
 * - `'running'`: the handler runs, or steps that it has left running. Left for each of the others.
 * - `'failed'`: the handler has failed.
 * - `'replaced'`: the handler was called again, and `nextCall` waits for the next transaction.
 * - `'completing'`: the handler has succeeded, and the record is completed with `outcome`.
 */
type Progress =
  | { readonly phase: 'beginning' | 'running' | 'failed' }
  | { readonly phase: 'replaced'; readonly nextCall: WaitingCall }
  | ({ readonly phase: 'completing' } & UncommittedOutcome);

const BEGINNING: Progress = { phase: 'beginning' };
const RUNNING: Progress = { phase: 'running' };
const FAILED: Progress = { phase: 'failed' };

/** A transaction of a handler. */
interface TransactionAttempt {
  /** Runs the handler, or waits for the one that runs already. */
  readonly handler: () => Promise<HandlerResult>;
  /** The call that waits for this transaction, where it is not the first one. */
  readonly waitingCall: WaitingCall | undefined;
  /** The end of the handler, once it runs. */
  handlerEnd?: Promise<HandlerResult>;
  progress: Progress;
}

/** Runs the handler of an execution in a transaction that also completes its record, so that both happen or neither does. */
export class TransactionalRun {
  /** The transaction that is open. */
  transaction: StoreTransaction | undefined;
  /** Whether the end is left to the transaction of a caller. */
  isJoined = false;
  /** Rolls the open transaction back and begins another one. */
  private restartFor: ((call: WaitingCall) => void) | undefined;

  constructor(
    private readonly owner: RecordOwner,
    private readonly recorder: Recorder,
  ) {}

  /**
   * Runs `handler` in a transaction, and records how it ended. Rejects only where `handler` does.
   *
   * @param waitingCall the call that waits for this transaction, where it is not the first one
   */
  async run(handler: () => Promise<HandlerResult>, waitingCall?: WaitingCall): Promise<RecordingResult> {
    const attempt: TransactionAttempt = { handler, waitingCall, progress: BEGINNING };
    const { operation, store } = this.owner;
    try {
      const { awaited } = await store.transaction(
        (transaction) => this.runAndComplete(transaction, attempt),
        operation.endpoint,
      );
      const completed = attempt.progress as Progress & { phase: 'completing' };
      if (this.transaction?.settleAtEnd?.(() => this.settleJoined(completed))) return this.leaveToOuter();
      return this.recorder.onCompleted(completed.outcome, awaited, completed.startedAt);
    } catch (error) {
      this.use(undefined);
      if (attempt.progress.phase === 'beginning' && waitingCall)
        await this.refuseRestart(waitingCall, error, handler());
      await this.recorder.recordSteps();
      return this.onNotCommitted(attempt, error);
    }
  }

  /**
   * Rolls the transaction back and begins another one, for a further call of the handler. Returns what runs that call within the new
   * transaction.
   *
   * @throws LeaseLostError where no transaction is open, and what the store throws where it cannot begin one
   */
  restart(): Promise<CallRunner> {
    return new Promise((resolve, reject) => {
      if (this.restartFor) this.restartFor({ resolve, reject });
      else reject(new LeaseLostError());
    });
  }

  /** Runs the handler in an open transaction, and completes its record there. Throws to roll the transaction back. */
  private async runAndComplete(transaction: StoreTransaction, attempt: TransactionAttempt) {
    const { owner } = this;
    const { execution, operation, ownership } = owner;
    attempt.progress = RUNNING;
    this.use(transaction);
    attempt.waitingCall?.resolve(transaction.inside);
    let result: HandlerResult;
    try {
      result = await this.runHandler(attempt);
    } finally {
      this.restartFor = undefined;
      // The transaction stays open for steps that still run, as they may read in it.
      const closing = attempt.progress.phase === 'replaced' ? undefined : owner.closeSteps();
      if (closing) await closing;
    }
    const { isUnknown, unreadable } = owner.usedSteps ?? {};
    if (result.kind !== 'store' || result.failed || isUnknown || unreadable || !execution.storable) {
      throw new RollBack(result);
    }
    const { outcome } = result;
    const fingerprint = operation.input && (await operation.input.fingerprint());
    owner.lease.markEnding();
    attempt.progress = { phase: 'completing', outcome, startedAt: performance.now() };
    const completion = { outcome, retentionMs: execution.retentionMs, fingerprint };
    const fenced = await (transaction.completeLast?.(ownership, completion) ??
      transaction.complete(ownership, completion));
    if (!fenced.held) throw new LeaseLostError();
    return fenced;
  }

  /** Rejects when the handler fails, and when a further call of it needs another transaction. */
  private runHandler(attempt: TransactionAttempt): Promise<HandlerResult> {
    return new Promise((resolve, reject) => {
      this.restartFor = (nextCall) => {
        this.restartFor = undefined;
        attempt.progress = { phase: 'replaced', nextCall };
        reject(new RollBack({ kind: 'release' }));
      };
      attempt.handlerEnd = attempt.handler();
      attempt.handlerEnd.then(resolve, (error: unknown) => {
        if (attempt.progress.phase === 'running') attempt.progress = FAILED;
        reject(error as Error);
      });
    });
  }

  /** Records the end of a transaction that was rolled back, or whose COMMIT is unknown. */
  private async onNotCommitted(attempt: TransactionAttempt, error: unknown): Promise<RecordingResult> {
    const { recorder } = this;
    const { progress, waitingCall } = attempt;
    if (progress.phase === 'replaced') return this.runNextCall(attempt, progress.nextCall, error);
    if (error instanceof TransactionEndedError) return recorder.hold(error);
    if (error instanceof LeaseLostError) return recorder.lostInTransaction();
    if (progress.phase === 'failed') throw error;
    if (error instanceof RollBack) return recorder.record(error.result);
    if (error instanceof CommitUnknownError && progress.phase === 'completing') {
      return recorder.lookUpCommit(progress, error.cause ?? error);
    }
    return recorder.rolledBack(progress.phase === 'beginning' && !waitingCall ? 'discard' : 'release', error);
  }

  /** Runs a further call in a new transaction. Other errors of the rollback, such as a broken connection, do not matter any more. */
  private async runNextCall(attempt: TransactionAttempt, nextCall: WaitingCall, error: unknown) {
    const handlerEnd = attempt.handlerEnd!;
    const isEnded = error instanceof TransactionEndedError;
    if (!isEnded && !this.owner.execution.isLost) return this.run(() => handlerEnd, nextCall);
    await this.refuseRestart(nextCall, isEnded ? error : new LeaseLostError(), handlerEnd);
    return isEnded ? this.recorder.hold(error) : this.recorder.lostInTransaction();
  }

  /** Fails a call by `error`, and waits for the handler: a free key would let a second execution run beside it. */
  private async refuseRestart(call: WaitingCall, error: unknown, handlerEnd: Promise<unknown>): Promise<void> {
    call.reject(error);
    await handlerEnd.catch(() => undefined);
  }

  /**
   * Returns the outcome to the caller whose transaction the operation has joined. Until that ends, the outcome is not on record: no
   * duplicate may have it, and a rollback is no crash of this execution.
   */
  private leaveToOuter(): RecordingResult {
    this.isJoined = true;
    this.owner.lease.stopRenewing();
    return STORED;
  }

  /** Finds out how a transaction has ended that the operation had joined: a rollback to a savepoint may have undone a part of it. */
  private async settleJoined(completing: UncommittedOutcome): Promise<void> {
    await this.recorder.lookUpCommit(completing, undefined);
    this.owner.close();
  }

  private use(transaction: StoreTransaction | undefined): void {
    this.transaction = transaction;
    this.owner.execution.openTransaction = transaction?.manager;
  }
}
