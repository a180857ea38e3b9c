import { CommitUnknownError } from '../engine/errors.js';
import type {
  Claim,
  Completion,
  FencedAnswer,
  Ownership,
  RecordStore,
  RecordState,
  StepEnd,
  StepStore,
  StoreTransaction,
} from '../engine/ports/record-store.js';
import type { FaultCall, FaultHook, FaultPoint, FaultSite } from './points.js';

/** Points between a completion in a transaction and its COMMIT, which may be one message to the database. */
const BETWEEN: readonly FaultPoint[] = ['after complete', 'before commit'];

/**
 * A record store that calls a hook before and after each call of another store. A hook that throws `StoreUnavailableError` before a call
 * loses the request, and after a call the answer. A hook that never resolves simulates a process that stopped there.
 *
 * @example
 * const store = new FaultyRecordStore(real, ({ point }) => {
 *   if (point === 'after claim') throw new StoreUnavailableError();
 * });
 */
export class FaultyRecordStore implements RecordStore {
  readonly steps: StepStore;

  constructor(
    private readonly store: RecordStore,
    private readonly reach: FaultHook,
    /** Returns whether a fault waits at this point. Default: at each. */
    private readonly isArmed: (point: FaultPoint) => boolean = () => true,
  ) {
    this.steps = {
      joinsTransaction: store.steps.joinsTransaction,
      load: (recordId, within) => this.around('read', { recordId }, () => store.steps.load(recordId, within)),
      begin: (ownership, name, within) =>
        this.fenced('step begin', ownership, () => this.store.steps.begin(ownership, name, within)),
      end: (ownership, name, end: StepEnd, within) =>
        this.fenced('step end', ownership, () => this.store.steps.end(ownership, name, end, within)),
    };
  }

  claim(claim: Claim, onLate?: (record: RecordState) => void): Promise<RecordState> {
    return this.around('claim', { recordId: claim.recordId, claim }, () => this.store.claim(claim, onLate));
  }

  read(recordId: string): Promise<RecordState | undefined> {
    return this.around('read', { recordId }, () => this.store.read(recordId));
  }

  complete(ownership: Ownership, completion: Completion): Promise<FencedAnswer> {
    return this.fenced('complete', ownership, () => this.store.complete(ownership, completion));
  }

  release(ownership: Ownership, retentionMs: number): Promise<FencedAnswer> {
    return this.fenced('release', ownership, () => this.store.release(ownership, retentionMs));
  }

  discard(ownership: Ownership): Promise<FencedAnswer> {
    return this.fenced('release', ownership, () => this.store.discard(ownership));
  }

  hold(ownership: Ownership): Promise<FencedAnswer> {
    return this.fenced('release', ownership, () => this.store.hold(ownership));
  }

  renew(
    ownership: Ownership,
    leaseMs: number,
    transactional?: boolean,
    within?: StoreTransaction,
  ): Promise<FencedAnswer> {
    return this.fenced('renew', ownership, () => this.store.renew(ownership, leaseMs, transactional, within));
  }

  markAwaited(recordId: string, transactional?: boolean): Promise<RecordState | undefined> {
    return this.around('read', { recordId }, () => this.store.markAwaited(recordId, transactional));
  }

  async transaction<T>(work: (transaction: StoreTransaction) => Promise<T>, endpoint?: string): Promise<T> {
    let completes: Omit<FaultSite, 'point'> = { recordId: '' };
    let committing = false;
    const result = await this.store.transaction(async (transaction) => {
      const complete = (ownership: Ownership, completion: Completion) => {
        completes = { recordId: ownership.recordId, ownership };
        return this.fenced('complete', ownership, () => transaction.complete(ownership, completion));
      };
      const done = await work({
        manager: transaction.manager,
        inside: transaction.inside,
        complete,
        completeLast: async (ownership, completion) => {
          // A fault between the two needs separate messages.
          if (!transaction.completeLast || BETWEEN.some(this.isArmed)) return complete(ownership, completion);
          completes = { recordId: ownership.recordId, ownership };
          await this.reach({ ...completes, point: 'before complete' });
          await this.reach({ ...completes, point: 'before commit' });
          committing = true;
          return transaction.completeLast(ownership, completion);
        },
      });
      if (!committing) await this.reach({ ...completes, point: 'before commit' });
      return done;
    }, endpoint);
    try {
      if (committing) await this.reach({ ...completes, point: 'after complete' });
      await this.reach({ ...completes, point: 'after commit' });
    } catch (error) {
      throw new CommitUnknownError({ cause: error });
    }
    return result;
  }

  closedConnection(error: unknown): boolean {
    return this.store.closedConnection(error);
  }

  isRetryable(error: unknown): boolean {
    return this.store.isRetryable(error);
  }

  explain(error: unknown): string {
    return this.store.explain(error);
  }

  private fenced(call: FaultCall, ownership: Ownership, work: () => Promise<FencedAnswer>): Promise<FencedAnswer> {
    return this.around(call, { recordId: ownership.recordId, ownership }, work);
  }

  private async around<T>(call: FaultCall, details: Omit<FaultSite, 'point'>, work: () => Promise<T>): Promise<T> {
    await this.reach({ ...details, point: `before ${call}` });
    const answer = await work();
    await this.reach({
      ...details,
      point: `after ${call}`,
      answer: Array.isArray(answer) ? undefined : (answer as FaultSite['answer']),
    });
    return answer;
  }
}
