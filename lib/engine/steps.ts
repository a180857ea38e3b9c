import { runInStep } from './current-step.js';
import { StoreRefusedError, StoreUnavailableError } from './errors.js';
import { retryWhileUnavailable, until } from './retry.js';
import type { Ownership, RecordedStep, StepEnd, StepStore, StoreTransaction } from './ports/record-store.js';
import { packStepResult, RESULT_NOT_KEPT, storedStepName, unpackStepResult } from './step-result.js';

/** A result of `verify` that is really `null` or `undefined`: the step did happen, and returned that. */
export class StepResult<T> {
  constructor(readonly value: T) {}
}

/** How the outcome of a step is found out after a crash. */
export interface StepOptions<T> {
  /**
   * Decides whether a step happened whose outcome is unknown. Returns the step's result if it happened. Returns
   * `undefined` or `null`, which is what ORMs return for "not found", if it did not; a result that is really null is
   * returned as `new StepResult(null)`. Ask the downstream service by the derived key that `fn` sends.
   *
   * @example
   * await execution.step('charge', () => psp.charge(execution.deriveKey('charge'), amount), {
   *   verify: () => psp.findCharge(execution.deriveKey('charge')),
   * });
   */
  readonly verify?: () => Promise<T | StepResult<T> | null | undefined> | T | StepResult<T> | null | undefined;
}

/** The execution has lost its record to another, or to an operator: what it does from here on is not recorded. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
  constructor() {
    super('This execution has lost its idempotency record');
  }
}

/** Whether a step happened, or what it returned, is unknown: the record is held until someone resolves it. */
export class StepUnknownError extends Error {
  override readonly name = 'StepUnknownError';
  constructor(
    readonly step: string,
    options?: ErrorOptions,
  ) {
    super(`Whether step "${step}" happened is unknown`, options);
  }
}

/** A step wrote through its operation's own transaction. Nothing was written. */
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
  readonly attempt: number;
  readonly holdOnCrash: boolean;
  readonly transaction: () => StoreTransaction | undefined;
  /** When the lease ends as it stands now, by `performance.now()`. */
  readonly leaseEnds: () => number;
  /** Returns whether the execution still has its record; asks the store where the lease is over. */
  readonly owns: () => boolean | Promise<boolean>;
  /** Called where a step is on record as done without its result. */
  readonly onResultNotKept: (step: string, cause: unknown) => void;
}

/**
 * Runs the steps of one execution.
 *
 * A name is free, running, or done. It is running while `fn` runs, and free again once `fn` has thrown: the handler may
 * try such a step again. A second call of a name that is running or done is a mistake: two items would share one record. Where an
 * interceptor calls the handler again, a step that an earlier call has done is done, and one that it still runs is waited for.
 */
export class StepRunner {
  private earlier: Promise<Map<string, RecordedStep>> | undefined;
  /** The names that each call of the handler has used. Made by the first step: most operations have none. */
  private taken: WeakMap<object, Set<string>> | undefined;
  /** What runs or is done in this process, for a handler that is called again. */
  private results: Map<string, Promise<unknown>> | undefined;
  private unknownStep: string | undefined;
  /** What was recorded within the transaction, on a store that has a single connection. */
  private within: Map<string, StepEnd> | undefined;

  constructor(
    private readonly store: StepStore,
    private readonly ownership: Ownership,
    private readonly settings: StepRunnerSettings,
  ) {}

  /** The step whose outcome is unknown, once one was met: the record has to be held, whatever the handler makes of it. */
  get unknown(): string | undefined {
    return this.unknownStep;
  }

  /** @param call of the handler: one that is called again gets the results of the earlier call's steps */
  async run<T>(name: string, fn: () => Promise<T> | T, options: StepOptions<T> = {}, call: object = this): Promise<T> {
    const stored = storedStepName(name);
    this.taken ??= new WeakMap();
    const taken = this.taken.get(call) ?? new Set();
    this.taken.set(call, taken);
    if (taken.has(stored)) throw new Error(`Step "${name}" is named twice in one operation`);
    taken.add(stored);
    this.results ??= new Map();
    const { results } = this;
    const run = () => this.runOnce(name, stored, fn, options);
    const result = results.get(stored)?.catch(run) ?? run();
    results.set(stored, result);
    try {
      return (await result) as T;
    } catch (error) {
      taken.delete(stored);
      if (results.get(stored) === result) results.delete(stored);
      throw error;
    }
  }

  /** Records again, after a rollback, what was recorded within the transaction: effects elsewhere are not undone. */
  async recordAgain(): Promise<void> {
    const { within = [] } = this;
    this.within = undefined;
    for (const [stored, end] of within) await this.end(stored, end);
  }

  private async runOnce<T>(
    name: string,
    stored: string,
    fn: () => Promise<T> | T,
    options: StepOptions<T>,
  ): Promise<T> {
    const earlier = await this.recorded();
    const recorded = earlier.get(stored);
    if (recorded?.status === 'done' && recorded.result !== RESULT_NOT_KEPT) {
      return unpackStepResult(recorded.result) as T;
    }
    if (recorded) {
      const verified = await this.verify(name, recorded, options);
      if (verified) {
        await this.keep(name, stored, verified.value);
        return verified.value;
      }
    }
    // A beginning is worth a write only where it is looked at after a crash.
    if (options.verify || this.settings.holdOnCrash) {
      fence(await this.retried(() => this.store.begin(this.ownership, stored, this.settings.transaction())));
    }
    const owns = this.settings.owns();
    if (owns !== true && !(await owns)) throw new LeaseLostError();
    let result: T;
    try {
      const transaction = this.settings.transaction();
      result = await (transaction ? runInStep({ name, transaction }, fn) : fn());
    } catch (error) {
      earlier.set(stored, { name: stored, status: 'failed', result: null });
      // A step that is left as begun means the same to a later attempt, only less exactly.
      await this.end(stored, { status: 'failed' }).catch(() => undefined);
      throw error;
    }
    await this.keep(name, stored, result);
    return result;
  }

  private async verify<T>(
    name: string,
    recorded: RecordedStep,
    { verify }: StepOptions<T>,
  ): Promise<StepResult<T> | undefined> {
    const verified = await verify?.();
    if (verified instanceof StepResult) return verified;
    if (verified !== undefined && verified !== null) return new StepResult(verified);
    // A step that is done did happen, whatever `verify` could not find.
    const isUnknown =
      recorded.status === 'done' || (recorded.status === 'begun' && !verify && this.settings.holdOnCrash);
    if (!isUnknown) return undefined;
    this.unknownStep = name;
    throw new StepUnknownError(name);
  }

  /**
   * Records that a step is done. Its effect is there: where its result cannot be kept, the step is recorded without it,
   * and where that is refused too, the record is held.
   */
  private async keep(name: string, stored: string, value: unknown): Promise<void> {
    try {
      await this.end(stored, { status: 'done', result: packStepResult(value) });
    } catch (error) {
      if (error instanceof LeaseLostError || error instanceof StoreUnavailableError) throw error;
      const cause = error instanceof StoreRefusedError ? error.cause : error;
      await this.end(stored, { status: 'done', result: RESULT_NOT_KEPT }).catch((refused: unknown) => {
        if (refused instanceof StoreRefusedError) this.unknownStep = name;
        throw refused instanceof StoreRefusedError ? new StepUnknownError(name, { cause }) : refused;
      });
      this.settings.onResultNotKept(name, cause);
    }
  }

  private async end(stored: string, end: StepEnd): Promise<void> {
    const transaction = this.settings.transaction();
    fence(await this.retried(() => this.store.end(this.ownership, stored, end, transaction)));
    if (transaction && this.store.joinsTransaction) (this.within ??= new Map()).set(stored, end);
  }

  /** A first attempt has nothing to look up. */
  private recorded(): Promise<Map<string, RecordedStep>> {
    if (!this.earlier) {
      const earlier =
        this.settings.attempt === 1
          ? Promise.resolve(new Map<string, RecordedStep>())
          : this.retried(() => this.store.load(this.ownership.recordId, this.settings.transaction())).then(
              (steps) => new Map(steps.map((step) => [step.name, step])),
            );
      this.earlier = earlier;
      // An outage that one step met says nothing of the next one.
      earlier.catch(() => (this.earlier = undefined));
    }
    return this.earlier;
  }

  private retried<T>(work: () => Promise<T>): Promise<T> {
    return retryWhileUnavailable(work, until(this.settings.leaseEnds()));
  }
}

function fence({ held }: { held: boolean }): void {
  if (!held) throw new LeaseLostError();
}
