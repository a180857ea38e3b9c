import type { CallRunner } from '../handler-calls.js';
import type { StoredOutcome } from '../outcome.js';

/**
 * The database that holds the records. An implementation has to keep these rules:
 *
 * - The store decides who owns a record, by one atomic statement. A read followed by a separate write lets two requests run the handler:
 *   the double charge this package exists to prevent.
 * - It does so by its own clock. No method takes a point in time, only durations in milliseconds: the clocks of two processes differ, and
 *   one of them would end the other's lease.
 * - A *fenced* write takes effect only if {@link Ownership} still matches the record in processing. An owner that was paused for longer
 *   than its lease would otherwise overwrite the outcome of its successor.
 * - A method rejects with {@link StoreUnavailableError} where the store does not answer within its time limit, and with
 *   {@link StoreRefusedError} where it refuses the statement. The engine retries the first, and never the second.
 */
export interface RecordStore {
  /**
   * Inserts the record, takes over one whose lease has run out, or returns the existing record. Atomic among any number of claimants, in
   * one round trip where the key is fresh, running or done. The claim is won if the returned owner is `claim.owner`: the same claim may
   * be sent again after its answer was lost.
   *
   * @param onLate receives an answer that comes after the time limit, so that a claim that was won can be given back
   */
  claim(claim: Claim, onLate?: (record: RecordState) => void): Promise<RecordState>;

  /** Returns the record, or `undefined` where it does not exist or has expired. Takes no lock. */
  read(recordId: string): Promise<RecordState | undefined>;

  /** Records an outcome, fenced. */
  complete(ownership: Ownership, completion: Completion): Promise<FencedAnswer>;

  /**
   * Frees the key for the next request, fenced. For `retentionMs` from now, the fingerprint still binds that request, and it finds the
   * steps: another request under the key would get their results.
   */
  release(ownership: Ownership, retentionMs: number): Promise<FencedAnswer>;

  /** Frees the record of an execution that never began, fenced. The record of a first attempt is deleted. */
  discard(ownership: Ownership): Promise<FencedAnswer>;

  /** Marks the outcome as unknown, fenced. No claim wins the record until an operator resolves it. */
  hold(ownership: Ownership): Promise<FencedAnswer>;

  /**
   * Extends the lease to `leaseMs` from now, fenced. Waits, within its time limit, for a transaction that completes this record: so it
   * shows whether a COMMIT took place whose answer was lost.
   *
   * @param transactional whether the operation may be in a transaction. Then the renewal must not make its completion fail, at any
   *   isolation level, and never shortens the lease
   * @param within the execution's transaction, if it is open: a store with a single connection may have to write there
   */
  renew(
    ownership: Ownership,
    leaseMs: number,
    transactional?: boolean,
    within?: StoreTransaction,
  ): Promise<FencedAnswer>;

  /**
   * Marks the record as awaited, so that its owner announces the completion. Returns the existing record.
   *
   * @param transactional as for {@link renew}
   */
  markAwaited(recordId: string, transactional?: boolean): Promise<RecordState | undefined>;

  /**
   * Runs `work` in a transaction of the application's data source. Resolves after COMMIT, or, where that is left to a caller
   * ({@link StoreTransaction.settleAtEnd}), after `work`. Rejects after ROLLBACK with what `work` threw,
   * or with what broke its connection. Rejects with `CommitUnknownError` where anything fails after `work`: the database refuses COMMIT,
   * its answer is lost, or a subscriber of the application throws after it.
   *
   * @param endpoint the operation's name, for errors
   */
  transaction<T>(work: (transaction: StoreTransaction) => Promise<T>, endpoint?: string): Promise<T>;

  readonly steps: StepStore;

  /** Returns whether the same transaction may succeed at another try, as after a deadlock or a lost connection. */
  isRetryable(error: unknown): boolean;

  /** Returns whether a connection broke at a statement. Some servers refuse a statement that is too large in this way. */
  closedConnection(error: unknown): boolean;

  /** Describes an error in one line for the log: cause, code, and what to do. */
  explain(error: unknown): string;
}

/** The transaction in which the handler's writes commit together with the completion. */
export interface StoreTransaction {
  /** The store's handle on the transaction, such as TypeORM's EntityManager. Opaque to the engine. */
  readonly manager: unknown;
  /** Runs a function in the transaction's async context, where it has one. A further call of the handler comes from elsewhere. */
  readonly inside: CallRunner;
  /**
   * As {@link RecordStore.complete}, inside this transaction.
   *
   * @throws TransactionEndedError where the transaction has ended meanwhile. The connection is back in autocommit, and the outcome would
   *   be recorded though the writes were undone
   */
  complete(ownership: Ownership, completion: Completion): Promise<FencedAnswer>;
  /**
   * As {@link complete}, but commits in the same message, which saves a round trip. Absent where the store cannot.
   *
   * @throws CommitUnknownError where the transaction may have been committed
   */
  completeLast?(ownership: Ownership, completion: Completion): Promise<FencedAnswer>;
  /**
   * To be called once {@link RecordStore.transaction} has resolved. Returns `true` where the transaction is still open, because it is
   * that of a caller, which the operation joined: then `settle` is called after its end, which waits for it. Absent where a store begins all
   * transactions itself.
   */
  settleAtEnd?(settle: () => Promise<unknown>): boolean;
}

/**
 * The steps of operations. All writes are fenced, and commit at once. `within` is the transaction of the execution, in which a store with
 * a single connection may have to write.
 */
export interface StepStore {
  /** Whether a rollback of `within` may undo the recorded steps, because the store has a single connection. */
  readonly joinsTransaction: boolean;
  /** Returns the recorded steps of a record. */
  load(recordId: string, within?: StoreTransaction): Promise<readonly RecordedStep[]>;
  /** Records that a step has begun. */
  begin(ownership: Ownership, name: string, within?: StoreTransaction): Promise<FencedAnswer>;
  /** Records a step's end. */
  end(ownership: Ownership, name: string, end: StepEnd, within?: StoreTransaction): Promise<FencedAnswer>;
}

/** How a step ended: `result` as text, or `null` for undefined. */
export type StepEnd = { readonly status: 'done'; readonly result: string | null } | { readonly status: 'failed' };

/** A step as the store has it. */
export interface RecordedStep {
  readonly name: string;
  /** `begun`: the process died inside the step, or still runs it. Whether its effect happened is unknown. */
  readonly status: 'begun' | 'done' | 'failed';
  /** JSON text, or `null` for undefined. */
  readonly result: string | null;
}

/** A request for the ownership of a record. */
export interface Claim {
  /** 128 bits of the SHA-256 of (namespace, scope, endpoint, key), as a UUID in lower case. */
  readonly recordId: string;
  /** Random, and new for every execution. A claim that is sent again after a lost answer is recognised by it. */
  readonly owner: string;
  /** The operation's name as operators see it, such as `POST /payments`. At most 255 characters. */
  readonly endpoint: string;
  /** The route of an operation that has its own name, for operators. At most 255 characters. */
  readonly route: string | null;
  /** Finds all records of one scope: see the class `ScopeDigest`. */
  readonly scopeDigest: Buffer | null;
  /**
   * 32 bytes over the request and the full digest of (namespace, scope, endpoint, key). Of a streamed input, the claim covers the part
   * that is known by then, and the completion the whole.
   */
  readonly fingerprint: Buffer;
  /** 16 bytes of an HMAC of the caller's credential, if the record is bound to one. */
  readonly binding: Buffer | null;
  /** The part of the request that the record keeps. */
  readonly request: Buffer | null;
  readonly leaseMs: number;
  readonly retentionMs: number;
  /** How many executions in a row may die without an outcome, including this one, before the record is held. */
  readonly maxAttempts: number;
  /** Whether the record of an owner that died is held, until an operator resolves it. */
  readonly holdOnCrash: boolean;
  /**
   * Whether the store may commit this claim without waiting for the disk. A server that crashes may then forget the claim. The completion
   * finds no record and rolls the transaction back, so that only transactional operations may do so.
   */
  readonly asyncCommit: boolean;
}

/** Identifies one claim of a record. Every write of an execution is fenced by it. */
export interface Ownership {
  readonly recordId: string;
  readonly owner: string;
  readonly token: number;
  /** As of the record: an outcome that is encrypted is so for the caller that the record is bound to. */
  readonly binding?: Buffer | null | undefined;
}

/** An outcome to record. */
export interface Completion {
  readonly outcome: StoredOutcome;
  /** How long the outcome is kept, in milliseconds from now. */
  readonly retentionMs: number;
  /** Replaces the claim's fingerprint, where that did not cover a streamed input. */
  readonly fingerprint?: Buffer | undefined;
}

/** The result of a fenced write. */
export interface FencedAnswer {
  /** Whether the write took effect; `false` where the record has another owner, token or state. */
  readonly held: boolean;
  /** Whether a request of another process waits for the record, and its end has to be announced. */
  readonly awaited: boolean;
}

/** The states of a record: see docs/guarantees.md. */
export type RecordStatus = 'processing' | 'done' | 'failed' | 'held';

/** A record, as the store has it. */
export interface RecordState {
  readonly recordId: string;
  readonly owner: string;
  readonly status: RecordStatus;
  /** The fencing token, which every claim raises. */
  readonly token: number;
  /** 1 on a first run. */
  readonly attempt: number;
  /**
   * The state in which the owner found the record. `processing`: it took over from an owner whose lease had run out. `done`: the earlier
   * outcome had expired. `null`: there was no record.
   */
  readonly takenFrom: RecordStatus | null;
  /** How many more executions may take over from one that died. At 0, the record is held instead. */
  readonly attemptsLeft: number;
  readonly fingerprint: Buffer;
  readonly binding: Buffer | null;
  /** The rest of the lease, in milliseconds by the store's clock; negative once it has run out. */
  readonly leaseLeftMs: number;
  readonly outcome: StoredOutcome | null;
}
