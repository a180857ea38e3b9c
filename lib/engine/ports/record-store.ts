import type { CallRunner } from '../handler-calls.js';
import type { StoredOutcome } from '../outcome.js';

/**
 * Where records live. The store decides who owns a record, on its own clock: no method takes a point in time, only
 * durations in milliseconds.
 *
 * Every method rejects with {@link StoreUnavailableError} when the store cannot be asked within its time limit, and with
 * {@link StoreRefusedError} when it refuses what it is asked: the same call would be refused again.
 */
export interface RecordStore {
  /**
   * Inserts the record, takes it over, or returns the existing record, atomic among any number of claimants: one round trip
   * where the key is fresh, running or done. The claim was won if the answer's owner is `claim.owner`; this also recognises
   * a claim of ours whose first answer was lost.
   *
   * @param onLate gets an answer that comes after the store was given up on
   */
  claim(claim: Claim, onLate?: (record: RecordState) => void): Promise<RecordState>;

  /** Returns the record, or `undefined` where there is none or it has expired. Takes no lock. */
  read(recordId: string): Promise<RecordState | undefined>;

  /** Records an outcome, fenced: only if `ownership` still holds the record. */
  complete(ownership: Ownership, completion: Completion): Promise<FencedAnswer>;

  /**
   * Frees the key for the next request, fenced; the fingerprint and the steps still bind it for `retentionMs` from now.
   */
  release(ownership: Ownership, retentionMs: number): Promise<FencedAnswer>;

  /** Takes back a claim whose operation never began, fenced: a first attempt leaves nothing behind. */
  discard(ownership: Ownership): Promise<FencedAnswer>;

  /** Marks the outcome as unknown, fenced. */
  hold(ownership: Ownership): Promise<FencedAnswer>;

  /**
   * Extends the lease to `leaseMs` from now, fenced. Waits, within its time limit, for a transaction that completes this record.
   *
   * @param transactional whether the operation may be in a transaction, at any isolation level, whose completion this must
   *   not make fail. Such a renewal never makes the lease shorter.
   */
  renew(ownership: Ownership, leaseMs: number, transactional?: boolean): Promise<FencedAnswer>;

  /**
   * Marks the record as awaited, so that its completion is announced. Returns the existing record.
   *
   * @param transactional as for {@link renew}
   */
  markAwaited(recordId: string, transactional?: boolean): Promise<RecordState | undefined>;

  /**
   * Runs `work` in a transaction of the application's data source. Resolves after COMMIT. Rejects after ROLLBACK with
   * what `work` threw, or with what ended its connection. Rejects with `CommitUnknownError` when anything fails after
   * `work`: a COMMIT that was refused, whose answer was lost, or that something of the application's followed and threw.
   *
   * @param endpoint the operation, as errors name it
   */
  transaction<T>(work: (transaction: StoreTransaction) => Promise<T>, endpoint?: string): Promise<T>;

  readonly steps: StepStore;

  /** Returns whether the same transaction may succeed when it is tried again (deadlock, lost connection). */
  isRetryable(error: unknown): boolean;

  /** Returns whether the store closed a connection at a statement: that is how some servers refuse one that is too large. */
  closedConnection(error: unknown): boolean;

  /** Describes an error of the store or of a handler's statement in a line for the log: cause, code, and what to do. */
  explain(error: unknown): string;
}

/** A transaction that the handler's writes and the record's completion share. */
export interface StoreTransaction {
  /** The store's own handle on the transaction, opaque to the engine (TypeORM's EntityManager). */
  readonly manager: unknown;
  /** Runs what comes from elsewhere as part of the transaction, in its async context where it has one. */
  readonly inside: CallRunner;
  /**
   * As {@link RecordStore.complete}, inside this transaction.
   *
   * @throws TransactionEndedError where this is no longer the transaction that was begun: on a connection that has
   *   gone back to autocommit, an outcome would be recorded for writes that were undone
   */
  complete(ownership: Ownership, completion: Completion): Promise<FencedAnswer>;
  /**
   * As {@link complete}, where nothing follows: the store may commit by the same message, and saves a round trip. Absent where
   * it cannot.
   *
   * @throws CommitUnknownError where the transaction may have been committed
   */
  completeLast?(ownership: Ownership, completion: Completion): Promise<FencedAnswer>;
}

/**
 * Progress inside an operation. All writes are fenced by the record's token. `within` is the transaction that the
 * execution runs in, for stores that have only one connection.
 */
export interface StepStore {
  /** Whether what is recorded `within` a transaction is undone with it, for want of another connection. */
  readonly joinsTransaction: boolean;
  /** Everything recorded of the steps of a record. */
  load(recordId: string, within?: StoreTransaction): Promise<readonly RecordedStep[]>;
  /** Notes that a step has begun. */
  begin(ownership: Ownership, name: string, within?: StoreTransaction): Promise<FencedAnswer>;
  /** Notes a step's end: its result as JSON text (`null` for undefined), or that it threw. */
  end(ownership: Ownership, name: string, end: StepEnd, within?: StoreTransaction): Promise<FencedAnswer>;
}

/** How a step ended. */
export type StepEnd = { readonly status: 'done'; readonly result: string | null } | { readonly status: 'failed' };

/** A step as it is on record. */
export interface RecordedStep {
  readonly name: string;
  /** `begun` without an end means that the process died inside the step: whether it happened is unknown. */
  readonly status: 'begun' | 'done' | 'failed';
  /** JSON text, or `null` for undefined. */
  readonly result: string | null;
}

/** Who asks for a record, and on what terms. */
export interface Claim {
  /** 128 bits of the SHA-256 of (namespace, scope, endpoint, key), as a UUID in lower case. */
  readonly recordId: string;
  /** Random, new for every execution: identifies a claim whose answer was lost, when it is sent again. */
  readonly owner: string;
  /** What operators see of the operation, such as `POST /payments`. At most 255 characters. */
  readonly endpoint: string;
  /** The route of an operation that has a name of its own, for operators. At most 255 characters. */
  readonly route: string | null;
  /** By what all records of one scope are found: see the class `ScopeDigest`. */
  readonly scopeDigest: Buffer | null;
  /**
   * 32 bytes: the request's fingerprint, with the full digest of (namespace, scope, endpoint, key) in it. Of an input that
   * is streamed, the claim has the part that is known by then, and the completion the whole.
   */
  readonly fingerprint: Buffer;
  /** 16 bytes of an HMAC of the credential that the record is bound to, if any. */
  readonly binding: Buffer | null;
  /** What is kept of the request, if anything. */
  readonly request: Buffer | null;
  readonly leaseMs: number;
  readonly retentionMs: number;
  /** How many executions in a row may die without an outcome, this one included, before the record is held. */
  readonly maxAttempts: number;
  /** Whether an owner that dies leaves an unknown outcome that someone must resolve. */
  readonly holdOnCrash: boolean;
  /**
   * Whether the store may commit this claim asynchronously, as nothing lasts of the operation but what commits with its completion. A
   * server that crashes may forget the claim: the completion then finds no record, which undoes the operation.
   */
  readonly asyncCommit: boolean;
}

/** Proof of ownership: what every write of an execution is fenced by. */
export interface Ownership {
  readonly recordId: string;
  readonly owner: string;
  readonly token: number;
}

/** An outcome that is to be recorded. */
export interface Completion {
  readonly outcome: StoredOutcome;
  /** How long the outcome is kept, in milliseconds from now. */
  readonly retentionMs: number;
  /** Takes the place of the claim's fingerprint, where that did not cover the whole input. */
  readonly fingerprint?: Buffer | undefined;
}

/** The answer to a fenced write. */
export interface FencedAnswer {
  /** Whether the write took place: false when the record has another owner, token or state. */
  readonly held: boolean;
  /** Whether a request waits for the record. */
  readonly awaited: boolean;
}

/** The states of a record: see docs/guarantees.md. */
export type RecordStatus = 'processing' | 'done' | 'failed' | 'held';

/** A record as it stands in the store. */
export interface RecordState {
  readonly recordId: string;
  readonly owner: string;
  readonly status: RecordStatus;
  /** The fencing token: grows at every claim. */
  readonly token: number;
  /** 1 on a first run. */
  readonly attempt: number;
  /**
   * The state the present owner found the record in: `processing` means that it took over from an owner that fell
   * silent, `done` that an expired outcome made room; `null` where there was no record.
   */
  readonly takenFrom: RecordStatus | null;
  /** How many more executions may take over from one that died; none: the record is held instead. */
  readonly attemptsLeft: number;
  readonly fingerprint: Buffer;
  readonly binding: Buffer | null;
  /** What is left of the lease, in milliseconds, by the store's clock; negative when it ran out. */
  readonly leaseLeftMs: number;
  readonly outcome: StoredOutcome | null;
}
