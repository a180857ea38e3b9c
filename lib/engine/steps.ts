import { retryWhileUnavailable } from './retry.js';
import type { Ownership, RecordedStep, StepStore, StoreTransaction } from './ports/record-store.js';

/** How a step is found out about after a crash. */
export interface StepOptions<T> {
  /**
   * Asked where it is unknown whether the step happened: returns the step's result if it did, `undefined` if it did
   * not. Ask the downstream service by the derived key that `fn` sends.
   */
  readonly verify?: () => Promise<T | undefined> | T | undefined;
}

/** The execution has lost its record to another, or to an operator: what it does from here on is not recorded. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
  constructor() {
    super('This execution has lost its idempotency record');
  }
}

/** A step began in an earlier attempt and its process died: whether it happened is unknown. */
export class StepUnknownError extends Error {
  override readonly name = 'StepUnknownError';
  constructor(readonly step: string) {
    super(`Whether step "${step}" happened is unknown`);
  }
}

const LONGEST_NAME = 191;

/** Runs the steps of one execution. */
export class StepRunner {
  private earlier: Promise<ReadonlyMap<string, RecordedStep>> | undefined;
  private readonly running = new Set<string>();
  private unknownStep: string | undefined;

  constructor(
    private readonly store: StepStore,
    private readonly ownership: Ownership,
    private readonly settings: {
      readonly attempt: number;
      readonly holdOnCrash: boolean;
      readonly transaction: () => StoreTransaction | undefined;
      /** Whether the lease still allows a pause of so many milliseconds. */
      readonly mayRetry: (pauseMs: number) => boolean;
    },
  ) {}

  /** The step whose outcome is unknown, once one was met: the record has to be held, whatever the handler makes of it. */
  get unknown(): string | undefined {
    return this.unknownStep;
  }

  async run<T>(name: string, fn: () => Promise<T> | T, options: StepOptions<T> = {}): Promise<T> {
    if (name.length === 0 || name.length > LONGEST_NAME) {
      throw new RangeError(`A step's name has 1 to ${LONGEST_NAME} characters`);
    }
    if (this.running.has(name)) throw new Error(`Step "${name}" is named twice in one operation`);
    this.running.add(name);

    const recorded = (await this.recorded()).get(name);
    if (recorded?.status === 'done') return parse<T>(recorded.result);
    if (recorded) {
      const verified = await this.verify(recorded, options);
      if (verified !== undefined) {
        await this.end(name, { status: 'done', result: stringify(verified) });
        return verified;
      }
    }
    // A beginning is worth a write only to whom it tells something after a crash.
    if (options.verify || this.settings.holdOnCrash) {
      fence(await this.store.begin(this.ownership, name, this.settings.transaction()));
    }
    return this.carryOut(name, fn);
  }

  private async carryOut<T>(name: string, fn: () => Promise<T> | T): Promise<T> {
    let result: T;
    try {
      result = await fn();
    } catch (error) {
      // What is left standing as begun says the same to a later attempt, only less exactly.
      await this.end(name, { status: 'failed' }).catch(() => undefined);
      throw error;
    }
    await this.end(name, { status: 'done', result: stringify(result) });
    return result;
  }

  private async verify<T>(recorded: RecordedStep, options: StepOptions<T>): Promise<T | undefined> {
    if (options.verify) return options.verify();
    if (recorded.status === 'begun' && this.settings.holdOnCrash) {
      this.unknownStep = recorded.name;
      throw new StepUnknownError(recorded.name);
    }
    return undefined;
  }

  private async end(name: string, end: Parameters<StepStore['end']>[2]): Promise<void> {
    const put = () => this.store.end(this.ownership, name, end, this.settings.transaction());
    fence(await retryWhileUnavailable(put, this.settings.mayRetry));
  }

  /** A first attempt has nothing to look up. */
  private recorded(): Promise<ReadonlyMap<string, RecordedStep>> {
    this.earlier ??=
      this.settings.attempt === 1
        ? Promise.resolve(new Map())
        : this.store
            .load(this.ownership.recordId, this.settings.transaction())
            .then((steps) => new Map(steps.map((step) => [step.name, step])));
    return this.earlier;
  }
}

function fence({ held }: { held: boolean }): void {
  if (!held) throw new LeaseLostError();
}

function stringify(value: unknown): string | null {
  return JSON.stringify(value) ?? null;
}

function parse<T>(json: string | null): T {
  return (json === null ? undefined : JSON.parse(json)) as T;
}
