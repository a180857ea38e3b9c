import { setImmediate as nextTurn } from 'node:timers/promises';
import { runInStep } from './current-step.js';
import { noObservable } from './observables.js';
import { mayPass, NestedOperationError, StoreRefusedError, UnreadableRecordError } from './errors.js';
import { retryWhileUnavailable } from './retry.js';
import type { RecordedStep, RecordState, StepEnd, StepStore, StoreTransaction } from './ports/record-store.js';
import { storedText } from './stored-text.js';
import { packStepResult, RESULT_NOT_KEPT, storedStepName, unpackStepResult } from './step-result.js';

/** Wraps a result of `verify`, where the step happened and its result is `null`, `undefined` or `false`. */
export class StepResult<T> {
  constructor(readonly value: T) {}
}

/** How a later attempt finds out whether a step happened. */
export interface StepOptions<T> {
  /**
   * Decides whether a step happened whose outcome is unknown. Returns the step's result if it happened. Returns `undefined` or `null`,
   * as ORMs do for "not found", or `false`, as `exists()` does, if it did not. Return `new StepResult(null)` for a result that is really
   * null, or false. Ask the downstream service by the derived key that `fn` sends. Default: `afterCrash` decides.
   *
   * @example
   * await execution.step('charge', () => psp.charge(execution.deriveKey('charge'), amount), {
   *   verify: () => psp.findCharge(execution.deriveKey('charge')),
   * });
   */
  readonly verify?: () => Promise<T | StepResult<T> | null | undefined> | T | StepResult<T> | null | undefined;
}

/** Another execution or an operator has the record now. Nothing that this execution does from here on is recorded. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
  constructor() {
    super('This execution has lost its idempotency record');
  }
}

/**
 * Whether a step happened, or what it returned, is unknown. The record is held until an operator resolves it.
 *
 * Throw it inside a step for an answer that did not come, where the other side cannot be asked: any other error frees the key, and a retry
 * runs the step again. Under `afterCrash: 'hold'` that holds although the database is lost at that moment.
 *
 * @example
 * await execution.step('pay', () =>
 *   bank.pay(order).catch((cause: unknown) => {
 *     throw new StepUnknownError('pay', { cause });
 *   }),
 * );
 */
export class StepUnknownError extends Error {
  override readonly name = 'StepUnknownError';
  constructor(
    readonly step: string,
    options?: ErrorOptions,
  ) {
    super(`Whether step "${step}" happened is unknown`, options);
  }
}

/** A step wrote through its operation's own transaction. The statement was not sent. */
export class StepInTransactionError extends Error {
  override readonly name = 'StepInTransactionError';
  constructor(readonly step: string) {
    super(
      `Step "${step}" writes through execution.manager. A step is recorded at once, and what it writes in the transaction ` +
        'may still be rolled back: a retry would skip the step and lose the write. Write through execution.manager outside ' +
        'of step(), where it commits with the outcome; keep step() for effects elsewhere',
    );
  }
}

export interface StepRunnerSettings {
  readonly holdOnCrash: boolean;
  readonly transaction: () => StoreTransaction | undefined;
  /** Returns when the lease ends unless it is renewed, by `performance.now()`. */
  readonly leaseEnds: () => number;
  /** Returns whether the execution still owns its record; asks the store once the lease is over. */
  readonly owns: () => boolean | Promise<boolean>;
  /** Called where a step is recorded as done without its result. */
  readonly onResultNotKept: (step: string, cause: unknown) => void;
}

/** A call of `step()`. */
interface Step<T> extends StepOptions<T> {
  /** As the store has it: it is in errors and in the log, and may come from a client. */
  readonly name: string;
  readonly fn: () => Promise<T> | T;
}

/**
 * Runs the steps of one execution. For each call of the handler, a name is in one of these states:
 *
 * - free: no step has it, or its `fn` threw. Left by a call of `step()`.
 * - running: `fn` runs. Left for done, for unknown where `fn` throws a {@link StepUnknownError}, or for free where it throws another error:
 *   a handler may try a failed step again.
 * - done: final for this call of the handler.
 * - unknown: final. Every further call throws the same error.
 *
 * A second `step()` of a name that is running or done throws, because two items of a loop would share one record. A further call of
 * the handler, by an interceptor that retries, gets the results of steps that are done, and waits for those that run.
 */
export class StepRunner {
  /** The steps that earlier attempts have recorded. */
  private recordedSteps: Promise<Map<string, RecordedStep>> | undefined;
  /** The names of those that this attempt has not called yet. */
  private readonly unreachedNames = new Set<string>();
  /** The names in use, by call of the handler. */
  private readonly usedNames = new WeakMap<object, Set<string>>();
  /** The results of this attempt, for a handler that is called again. */
  private readonly results = new Map<string, Promise<unknown>>();
  /** Whether the outcome of a step is unknown. The record has to be held, even where the handler catches the error. */
  isUnknown = false;
  /** Set where what an earlier attempt has recorded cannot be read. The operation has no outcome, even where the handler catches the error. */
  unreadable: UnreadableRecordError | undefined;
  /**
   * Ends of steps that may not stay on record: a rollback undoes them on a store that has a single connection, and elsewhere no connection
   * was free for them.
   */
  private unrecorded = new Map<string, StepEnd>();
  private running = 0;
  private isClosed = false;
  private isAbandoned = false;
  private onIdle: (() => void) | undefined;

  constructor(
    private readonly store: StepStore,
    private readonly ownership: RecordState,
    private readonly settings: StepRunnerSettings,
  ) {}

  /** @param call the call of the handler that runs the step */
  async run<T>(name: string, fn: () => Promise<T> | T, options: StepOptions<T> = {}, call: object = this): Promise<T> {
    if (this.isClosed) throw stepAfterEnd(name);
    this.running++;
    try {
      return await this.runNamed({ ...options, name: storedStepName(name), fn }, call);
    } catch (error) {
      if (error instanceof UnreadableRecordError) this.unreadable = error;
      throw error;
    } finally {
      if (--this.running === 0) this.onIdle?.();
    }
  }

  /**
   * Waits for the steps that run, and then refuses further ones: the end of the operation is about to be recorded. A handler may end
   * before its steps, as with `Promise.all()` where one of them fails. If the key became free meanwhile, a retry would run a step that
   * is still running, and charge twice.
   *
   * @returns `undefined` where no step runs
   */
  close(): Promise<void> | undefined {
    if (this.running > 0) return this.closeWhenIdle();
    this.isClosed = true;
    return undefined;
  }

  /** Ends the wait of {@link close}: another execution may own the record, and nothing of this one will be recorded. */
  abandon(): void {
    this.isAbandoned = true;
    this.onIdle?.();
  }

  private async closeWhenIdle(): Promise<void> {
    while (this.running > 0 && !this.isAbandoned) {
      await new Promise<void>((resolve) => (this.onIdle = resolve));
      // The code behind a step continues in this turn, and may call the next one.
      await nextTurn();
    }
    this.isClosed = true;
  }

  private async runNamed<T>(step: Step<T>, call: object): Promise<T> {
    const { name } = step;
    const used = this.usedNames.get(call) ?? new Set();
    this.usedNames.set(call, used);
    if (used.has(name)) throw new Error(`Step "${name}" is named twice in one operation`);
    used.add(name);
    const { results } = this;
    const run = () => this.runOnce(step);
    const runAgain = (error: unknown) => (error instanceof StepUnknownError ? Promise.reject(error) : run());
    const result = results.get(name)?.catch(runAgain) ?? run();
    results.set(name, result);
    try {
      return (await result) as T;
    } catch (error) {
      used.delete(name);
      if (results.get(name) === result && !(error instanceof StepUnknownError)) results.delete(name);
      throw error;
    }
  }

  /**
   * Records the ends of steps that are not on record. Their effects elsewhere are there, and a retry would repeat them: where this fails,
   * the record may not be freed.
   *
   * @returns `undefined` where all are on record, or the record has to be held already
   */
  recordAgain(): Promise<void> | undefined {
    return this.unrecorded.size > 0 && !this.isUnknown ? this.recordEnds() : undefined;
  }

  /** Whether {@link recordAgain} has failed. */
  get hasUnrecorded(): boolean {
    return this.unrecorded.size > 0;
  }

  private async recordEnds(): Promise<void> {
    for (const [name, end] of this.unrecorded) {
      try {
        await this.end(name, end);
      } catch (error) {
        if (end.status === 'done') {
          // Without a free connection, the record cannot be held either: its lease runs out.
          if (!(error instanceof NestedOperationError)) this.isUnknown = true;
          throw error;
        }
      }
      this.unrecorded.delete(name);
    }
  }

  /** Returns the recorded result of a step. Runs the step where it has none, and `verify` does not find that it happened. */
  private async runOnce<T>(step: Step<T>): Promise<T> {
    const recordedSteps = await this.load();
    this.unreachedNames.delete(step.name);
    const recorded = recordedSteps.get(step.name);
    if (recorded?.status === 'done' && recorded.result !== RESULT_NOT_KEPT) {
      return unpackStepResult(recorded.result) as T;
    }
    const verified = recorded && (await this.verify(step, recorded));
    const value = verified ? verified.value : await this.runFunction(step, recordedSteps);
    await this.recordDone(step, value);
    return value;
  }

  private async runFunction<T>({ name, fn, verify }: Step<T>, recordedSteps: Map<string, RecordedStep>): Promise<T> {
    const begin = () => this.retried(() => this.store.begin(this.ownership, name, this.settings.transaction()));
    // Without these, a later attempt runs the step again whether it began or not.
    const recordsBeginning = verify !== undefined || this.settings.holdOnCrash;
    if (recordsBeginning) assertHeld(await begin());
    const owns = this.settings.owns();
    if (owns !== true && !(await owns)) throw new LeaseLostError();
    try {
      const transaction = this.settings.transaction();
      return noObservable(await (transaction ? runInStep({ name, transaction }, fn) : fn()), `Step "${name}"`);
    } catch (error) {
      if (error instanceof StepUnknownError) {
        this.isUnknown = true;
        // An operator looks for the step that is `begun`.
        if (!recordsBeginning) await begin().catch(() => undefined);
        throw error;
      }
      recordedSteps.set(name, { name, status: 'failed', result: null });
      // Where this write is lost, the step stays `begun`: a later attempt then asks `verify`, or holds the record.
      await this.end(name, { status: 'failed' }).catch(() => undefined);
      throw error;
    }
  }

  /** Returns the result of a step that happened, or `undefined` if it did not. */
  private async verify<T>({ name, verify }: Step<T>, recorded: RecordedStep): Promise<StepResult<T> | undefined> {
    const verified = noObservable(await verify?.(), `verify of step "${name}"`);
    if (verified instanceof StepResult) return verified;
    if (verified !== undefined && verified !== null && verified !== false) return new StepResult(verified);
    // A step recorded as done did happen, even if `verify` does not find it.
    const isUnknown =
      recorded.status === 'done' || (recorded.status === 'begun' && !verify && this.settings.holdOnCrash);
    if (!isUnknown) return undefined;
    this.isUnknown = true;
    throw new StepUnknownError(name);
  }

  /**
   * Records that a step is done. Its effect exists, so that a failure here must not run it again: where the store refuses the result, the
   * step is recorded without it. Where the store refuses that too, the record is held.
   */
  private async recordDone({ name }: Step<unknown>, value: unknown): Promise<void> {
    try {
      await this.end(name, { status: 'done', result: packStepResult(value) });
    } catch (error) {
      if (isUnsent(error)) throw error;
      const cause = error instanceof StoreRefusedError ? error.cause : error;
      await this.end(name, { status: 'done', result: RESULT_NOT_KEPT }).catch((refused: unknown) => {
        if (refused instanceof StoreRefusedError) this.isUnknown = true;
        throw refused instanceof StoreRefusedError ? new StepUnknownError(name, { cause }) : refused;
      });
      this.settings.onResultNotKept(name, cause);
    }
  }

  private async end(name: string, end: StepEnd): Promise<void> {
    const transaction = this.settings.transaction();
    try {
      assertHeld(await this.retried(() => this.store.end(this.ownership, name, end, transaction)));
      if (transaction && this.store.joinsTransaction) this.unrecorded.set(name, end);
    } catch (error) {
      if (error instanceof NestedOperationError) this.unrecorded.set(name, end);
      throw error;
    }
  }

  /** The steps of earlier attempts, once they are loaded, that this attempt has not called: their effects elsewhere may be there. */
  get unreached(): readonly string[] {
    return [...this.unreachedNames];
  }

  /** Loads the recorded steps once. A first attempt has none, and asks nothing. */
  load(): Promise<Map<string, RecordedStep>> {
    if (this.ownership.attempt === 1) return (this.recordedSteps ??= Promise.resolve(new Map<string, RecordedStep>()));
    if (!this.recordedSteps) {
      const load = () => this.store.load(this.ownership.recordId, this.settings.transaction());
      this.recordedSteps = this.retried(load).then((steps) => {
        for (const { name } of steps) this.unreachedNames.add(name);
        return new Map(steps.map((step) => [step.name, step]));
      });
      // The next step asks again: an outage may be over by then.
      this.recordedSteps.catch(() => (this.recordedSteps = undefined));
    }
    return this.recordedSteps;
  }

  private retried<T>(work: () => Promise<T>): Promise<T> {
    return retryWhileUnavailable(work, this.settings.leaseEnds());
  }
}

export function stepAfterEnd(name: string): Error {
  return new Error(`Step "${storedText(name)}" is called after its operation has ended`);
}

/** Whether the store has not looked at a result: another one would fare no better, and may be recorded in its place. */
function isUnsent(error: unknown): boolean {
  return mayPass(error) || error instanceof LeaseLostError || error instanceof NestedOperationError;
}

function assertHeld({ held }: { held: boolean }): void {
  if (!held) throw new LeaseLostError();
}
