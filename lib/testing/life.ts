import { AsyncLocalStorage } from 'node:async_hooks';
import type { Admission } from '../engine/admission.js';
import { type EngineParts, IdempotencyEngine } from '../engine/engine.js';
import type { Operation } from '../engine/operation.js';
import type { HeldLock, LockAttempt, RecordLock } from '../engine/ports/record-lock.js';
import type { RecordStore, StoreTransaction } from '../engine/ports/record-store.js';
import type { Runner, LeasedExecution } from '../engine/leased-execution.js';
import type { HandlerResult, RecordingResult } from '../engine/recorder.js';
import { FaultyRecordStore } from './faulty-record-store.js';
import type { FaultPoint, FaultSite } from './points.js';

/** The callers of an execution get this error when its process "died" by a simulated crash. */
export class SimulatedCrashError extends Error {
  override readonly name = 'SimulatedCrashError';
  constructor() {
    super('The process "died" here: a simulated crash');
  }
}

const never = new Promise<never>(() => undefined);

/** The execution of the running code. */
const running = new AsyncLocalStorage<{ readonly life: Life; readonly recordId: string }>();

/** Reaches a point of the application in the current execution. Does nothing outside of one. */
export async function reachOwnPoint(point: string): Promise<void> {
  const execution = running.getStore();
  await execution?.life.pass({ point, recordId: execution.recordId });
}

/** One life of an engine. Once it is dead, no call reaches the store, none is answered, and open transactions roll back. */
export class Life {
  readonly engine: IdempotencyEngine;
  private dead = false;
  /** Rejects what is under way. Racing with one promise instead would keep everything that ever raced with it. */
  private readonly pending = new Set<(error: SimulatedCrashError) => void>();
  private readonly locks = new Set<HeldLock>();

  constructor(
    parts: EngineParts,
    private readonly reach: (site: FaultSite, life: Life) => void | Promise<void>,
    wrap: (parts: EngineParts) => EngineParts,
    isArmed: (point: FaultPoint) => boolean,
  ) {
    const store = new FaultyRecordStore(this.transactionsRollBack(parts.store), (site) => this.pass(site), isArmed);
    this.engine = new IdempotencyEngine(wrap({ ...parts, store, lock: parts.lock && this.watched(parts.lock) }));
  }

  async admit(operation: Operation): Promise<Admission> {
    const admission = await this.orDeath(Promise.resolve(this.engine.admit(operation)));
    if (admission.kind !== 'run') return admission;
    return { kind: 'run', leased: this.mortal(admission.leased, operation.recordId) };
  }

  /** Ends this life. Calls from outside reject with {@link SimulatedCrashError}. */
  die(): void {
    if (this.dead) return;
    this.dead = true;
    for (const fail of this.pending) fail(new SimulatedCrashError());
    this.pending.clear();
    // A lock of a killed process expires. Here, its renewals would go on.
    for (const lock of this.locks) lock.release();
  }

  async pass(site: FaultSite): Promise<void> {
    if (this.dead) return never;
    await this.reach(site, this);
    if (this.dead) return never;
  }

  private orDeath<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      work.finally(() => this.pending.delete(reject)).then(resolve, reject);
      if (this.dead) reject(new SimulatedCrashError());
      else this.pending.add(reject);
    });
  }

  private mortal(leased: LeasedExecution, recordId: string): LeasedExecution {
    const runToEnd = (handler: () => Promise<HandlerResult>): Promise<RecordingResult> =>
      this.orDeath(
        running.run({ life: this, recordId }, () =>
          leased.runToEnd(async () => {
            await this.pass({ point: 'before handler', recordId });
            const result = await handler();
            await this.pass({ point: 'after handler', recordId });
            return result;
          }),
        ),
      );
    return Object.create(leased, {
      runToEnd: { value: runToEnd },
      run: {
        value(this: LeasedExecution, runner: Runner) {
          this.runAsPromise(runner);
        },
      },
    }) as LeasedExecution;
  }

  private transactionsRollBack(store: RecordStore): RecordStore {
    const transaction = <T>(work: (transaction: StoreTransaction) => Promise<T>) =>
      store.transaction((within) => this.orDeath(work(within)));
    return Object.create(store, { transaction: { value: transaction } }) as RecordStore;
  }

  private watched(lock: RecordLock): RecordLock {
    return {
      acquire: async (recordId, ttlMs): Promise<LockAttempt> => {
        if (this.dead) return never;
        const attempt = await lock.acquire(recordId, ttlMs);
        if (attempt.kind !== 'acquired') return attempt;
        const held: HeldLock = {
          renew: () => attempt.lock.renew(),
          release: () => {
            this.locks.delete(held);
            attempt.lock.release();
          },
        };
        this.locks.add(held);
        if (this.dead) held.release();
        return { kind: 'acquired', lock: held };
      },
      close: () => lock.close(),
    };
  }
}
