import type { EventSink } from './events.js';
import { Execution } from './execution.js';
import { type CallRunner, HandlerCalls } from './handler-calls.js';
import type { Heartbeats } from './heartbeats.js';
import { Lease, type Leaseholder, type SentClaim } from './lease.js';
import type { Operation } from './operation.js';
import type { StoredOutcome } from './outcome.js';
import type { HeldLock } from './ports/record-lock.js';
import type { RecordState, RecordStore, StoreTransaction } from './ports/record-store.js';
import { type HandlerResult, Recorder, type RecordingResult, type RecordOwner } from './recorder.js';
import { LeaseLostError, StepRunner } from './steps.js';
import { TransactionalRun } from './transactional-run.js';

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

/** The operation ran for longer than its `maxDuration`: its lease is no longer renewed. */
export class MaxDurationError extends Error {
  override readonly name = 'MaxDurationError';
  constructor(readonly maxDurationMs: number) {
    super(`This execution has run for longer than its \`maxDuration\` of ${maxDurationMs} ms`);
  }
}

/**
 * One execution by the owner of a record, from the claim to the fenced end. {@link Recorder} records that end, {@link TransactionalRun}
 * runs the handler of a transactional operation, and {@link Lease} keeps the record meanwhile.
 */
export class LeasedExecution implements Leaseholder, RecordOwner {
  readonly execution: Execution;
  readonly lease: Lease;
  usedSteps: StepRunner | undefined;
  private readonly recorder: Recorder;
  private readonly transactional: TransactionalRun | undefined;
  private runner: Runner | undefined;
  /** Ends the handler's part of the open transaction. Absent until that has begun. */
  private endHandler: ((result: HandlerResult) => void) | undefined;
  /** Whether {@link end} was called before the handler began, which must not begin after that. */
  private hasEnded = false;

  constructor(
    readonly operation: Operation,
    readonly ownership: RecordState,
    claim: SentClaim,
    lock: HeldLock | undefined,
    private readonly host: LeasedExecutionHost,
  ) {
    const { policy } = operation;
    this.recorder = new Recorder(this);
    const transactional = policy.transactional ? new TransactionalRun(this, this.recorder) : undefined;
    this.transactional = transactional;
    const calls = new HandlerCalls(transactional && (() => transactional.restart()));
    this.execution = new Execution(operation, ownership, calls, this);
    this.lease = new Lease(ownership, policy, claim, lock, host, this);
  }

  get store(): RecordStore {
    return this.host.store;
  }

  get events(): EventSink {
    return this.host.events;
  }

  /** The transaction of the operation, if it is open. */
  get openTransaction(): StoreTransaction | undefined {
    return this.transactional?.transaction;
  }

  get steps(): StepRunner {
    return (this.usedSteps ??= new StepRunner(this.store.steps, this.ownership, {
      holdOnCrash: this.operation.policy.afterCrash === 'hold',
      transaction: () => this.openTransaction,
      leaseEnds: () => this.lease.ends,
      owns: () => this.owns(),
      onResultNotKept: (step, error) => this.events.next({ type: 'notKept', ...this.inEvents(), step, error }),
    }));
  }

  /** Runs the handler, in a transaction where the operation is transactional, and records how it ended. */
  run(runner: Runner): void {
    if (this.operation.policy.transactional) return this.runAsPromise(runner);
    this.runner = runner;
    try {
      runner.begin();
    } catch (error) {
      void this.runToEnd(() => Promise.reject(error as Error)).catch(() => runner.onFailure(error));
    }
  }

  /** As {@link run}, by {@link runToEnd}. */
  runAsPromise(runner: Runner): void {
    this.runner = runner;
    const handler = () =>
      new Promise<HandlerResult>((resolve) => {
        if (this.hasEnded) return resolve({ kind: 'discard' });
        this.endHandler = resolve;
        runner.begin();
      });
    this.runToEnd(handler).then(
      (recorded) => this.hasEnded || runner.onRecorded(recorded),
      (error: unknown) => this.hasEnded || runner.onFailure(error),
    );
  }

  /**
   * Reports the end of the handler that {@link run} began. Called once. It may come before {@link Runner.begin}, which is then not called:
   * a time-out answers while the execution waits for its transaction.
   */
  end(result: HandlerResult): void {
    if (this.endHandler) return this.endHandler(result);
    this.hasEnded = true;
    const runner = this.runner!;
    this.record(result).then(
      (recorded) => {
        this.close();
        runner.onRecorded(recorded);
      },
      (error: unknown) => {
        this.close();
        runner.onFailure(error);
      },
    );
  }

  /**
   * Runs `handler`, in a transaction where the operation is transactional, and records how it ended. Rejects only where `handler` does, after
   * releasing the record.
   */
  async runToEnd(handler: () => Promise<HandlerResult>): Promise<RecordingResult> {
    const { transactional } = this;
    try {
      return transactional ? await transactional.run(handler) : await this.record(await handler());
    } catch (error) {
      await this.record({ kind: 'release' });
      throw error;
    } finally {
      if (!transactional?.isJoined) this.close();
    }
  }

  /** Records the end of a handler, once its steps have ended. */
  record(result: HandlerResult): Promise<RecordingResult> {
    return this.recorder.record(result);
  }

  /** As {@link TransactionalRun.restart}, for a transactional operation. */
  restartTransaction(): Promise<CallRunner> {
    return this.transactional!.restart();
  }

  closeSteps(): Promise<void> | undefined {
    // A handler that waits for its own response to be sent still runs, and may wait in a step.
    return this.execution.calls.isRunning ? undefined : this.usedSteps?.close();
  }

  /**
   * Returns whether a step may begin. Once the lease is over by either clock, the store decides: after a long pause of this process, or
   * of its machine, another execution may own the record, and would do the step's effect a second time.
   */
  private owns(): boolean | Promise<boolean> {
    const { lease } = this;
    if (lease.isCurrent || lease.isGivenUp) return lease.isCurrent;
    return lease.confirm();
  }

  onLeaseLost(): void {
    this.usedSteps?.abandon();
    this.events.next({ type: 'leaseLost', ...this.inEvents() });
    this.execution.lose(new LeaseLostError());
    this.host.onLost(this);
  }

  onOverrun(maxDurationMs: number): void {
    this.events.next({ type: 'overran', ...this.inEvents() });
    this.execution.abort(new MaxDurationError(maxDurationMs));
  }

  onLongRun(): void {
    this.events.next({ type: 'longRunning', ...this.inEvents() });
  }

  close(outcome?: StoredOutcome, awaited = true): void {
    if (!this.lease.end()) return;
    this.execution.end();
    this.host.onEnd(this, outcome, awaited);
  }

  inEvents() {
    const { recordId, token } = this.ownership;
    return { recordId, endpoint: this.operation.endpoint, attempt: this.execution.attempt, token };
  }
}
