import type { StoredOutcome } from '../../engine/outcome.js';
import type { Claim, FencedAnswer, Ownership, RecordedStep, RecordState } from '../../engine/ports/record-store.js';
import type { DialectName } from './dialect-name.js';

/** The quoted names of the two tables, and who may write them. Read at first use: the data source may be configured later than the store is made. */
export interface TableNames {
  readonly record: string;
  readonly step: string;
  /** The role that connections to PostgreSQL have when they are opened. Absent until the first statement. */
  readonly role?: string;
}

/** A record as a statement returns it. The bytes of its outcome are still sealed. */
export interface RecordRow extends RecordState {
  /** Whether the claim left the record unchanged and may take it: see {@link Dialect.takeOver}. */
  readonly isFree?: boolean;
}

export interface StepRow {
  readonly name: string;
  readonly status: RecordedStep['status'];
  readonly result: Buffer | null;
}

/** A completion, its bytes sealed. */
export interface CompletionRow extends Ownership, StoredOutcome {
  readonly retentionMs: number;
  /** `null` keeps the claim's. */
  readonly fingerprint: Buffer | null;
}

/** The result of a batch of {@link Dialect.forgetScope}. */
export interface ForgottenBatch {
  readonly forgotten: number;
  /** Fewer than the limit: there are no more. */
  readonly found: number;
}

/** What a record must still be: an operator decided about the state that they saw. */
export interface Unchanged {
  /** Its fencing token, which each attempt changes. `null`, the default: any. */
  readonly token?: number | null;
  /** Whether it may be deleted while an execution holds a lease on it. Default: true. */
  readonly evenIfRunning?: boolean;
}

/** The status of a record whose owner ended its lease without an outcome. */
export type UnresolvedStatus = 'failed' | 'held';

/**
 * The statements of one database. Each method is one statement or one short transaction. Leases and expiries are compared
 * on the database's clock, inside the statement: a read followed by a separate write lets two requests run the handler.
 *
 * To add a dialect, implement this and {@link Connector}, name it in `DialectName`, and follow the compiler. Each dialect's
 * file has the same parts in the same order: its connection, constants, its statements, and this interface.
 */
export interface Dialect<Connection = unknown> {
  readonly name: DialectName;
  /** Whether several claims or completions are sent as one statement. */
  readonly batches: boolean;
  /** Whether DDL and the like commit the transaction that they run in, even where they fail. */
  readonly commitsImplicitly: boolean;

  /** Returns one row for each claim, in any order. Ids are distinct, and sorted so that concurrent batches cannot deadlock. */
  claim(on: Connection, claims: readonly Claim[]): Promise<readonly RecordRow[]>;
  /**
   * Claims records that {@link claim} found free (expired, released, or their owner died) and left unchanged. Called in a
   * transaction. Present where a lease may be renewed in its {@link LEASE_ROW}: one statement cannot both lock the record
   * and see what was renewed before the lock.
   */
  takeOver?(on: Connection, claims: readonly Claim[]): Promise<readonly RecordRow[]>;
  read(on: Connection, recordId: string): Promise<RecordRow | undefined>;
  /** Returns an answer for each record that was completed, by its id. */
  complete(on: Connection, completions: readonly CompletionRow[]): Promise<ReadonlyMap<string, FencedAnswer>>;

  /**
   * Marks a transaction, as its first statement. By the mark, {@link completeWithin} notices that it is another transaction:
   * the mark ends with the transaction, by whatever statement that ends.
   *
   * @param mark letters and digits, new for each transaction
   */
  markTransaction(on: Connection, mark: string): Promise<void>;
  /**
   * As {@link complete}, in a marked transaction. Returns `'ended'`, and writes nothing, where the mark is gone because the
   * transaction was committed or undone.
   *
   * @param isWanted returns false once the caller has given up and rolls back. After that ROLLBACK, a statement would record
   *   the outcome of writes that are gone.
   */
  completeWithin(
    on: Connection,
    mark: string,
    completion: CompletionRow,
    isWanted: () => boolean,
  ): Promise<FencedAnswer | 'ended'>;
  /**
   * Gives up the role that the handler has taken, in a marked transaction: the role may have no right to write the tables.
   * Absent where a transaction cannot change its role.
   */
  leaveRole?(on: Connection): Promise<void>;
  /** Takes the handler's role again. Deferred triggers run at COMMIT, and must not get more rights than the handler had. */
  returnToRole?(on: Connection): Promise<void>;
  /** As {@link completeWithin}, by one statement that fails where it completes nothing: COMMIT may be sent with it. */
  completeLast?(on: Connection, mark: string, completion: CompletionRow): Promise<FencedAnswer | 'ended'>;

  /**
   * Returns whether the connection is still in a transaction after one of its statements failed. True on PostgreSQL, which
   * refuses every later statement of the transaction by itself.
   */
  isInTransaction(on: Connection): Promise<boolean>;

  /**
   * Releases (`failed`) or holds a record. A released one is kept for `retentionMs` from now. One with a step that is done, or that has
   * begun, is kept for a thousand years: after an expiry, the next request with its key would run the step a second time.
   */
  endLease(on: Connection, ownership: Ownership, status: UnresolvedStatus, retentionMs: number): Promise<FencedAnswer>;
  discard(on: Connection, ownership: Ownership): Promise<FencedAnswer>;
  /** @param transactional whether a transaction may be open that completes the record: it must not find the row changed */
  renew(on: Connection, ownership: Ownership, leaseMs: number, transactional: boolean): Promise<FencedAnswer>;
  /** @param transactional as for {@link renew} */
  markAwaited(on: Connection, recordId: string, transactional: boolean): Promise<void>;

  loadSteps(on: Connection, recordId: string): Promise<readonly StepRow[]>;
  putStep(on: Connection, ownership: Ownership, step: StepRow): Promise<FencedAnswer>;

  /**
   * Resolves a held record with an outcome, or frees it (`null`): the step that had begun did not happen, and may run again.
   * Returns whether a held record existed. Called in a transaction.
   *
   * @param retentionMs how long the record is kept from now; `null`: the operation's own retention
   * @param token the fencing token that the record must still have; `null`: any
   */
  resolveHeld(
    on: Connection,
    recordId: string,
    outcome: StoredOutcome | null,
    retentionMs: number | null,
    token: number | null,
  ): Promise<boolean>;
  /**
   * Deletes a record that is `unchanged`, and its steps. Returns whether it existed. Called in a transaction: the next
   * operation with this id would take steps that outlive their record for its own.
   */
  forget(on: Connection, recordId: string, unchanged: Unchanged): Promise<boolean>;
  /**
   * Deletes up to `limit` records of the scopes with these digests, and their steps, except those that an execution holds
   * a lease on. Called in a transaction.
   */
  forgetScope(on: Connection, digests: readonly Buffer[], limit: number): Promise<ForgottenBatch>;
  /** Deletes up to `limit` expired records and their steps. Returns the number of records. Called in a transaction. */
  sweep(on: Connection, limit: number): Promise<number>;
}

/**
 * The owner of a record that an operator resolved. The execution that owned it may come back, and must not take the
 * operator's outcome for its own.
 */
export const NO_OWNER = '00000000-0000-0000-0000-000000000000';

/**
 * The name of a record's lease row, which is stored among its steps: no step has an empty name. Its `updated_at` is the end
 * of the lease. Its status is `awaited` if a request waits.
 *
 * Heartbeats and waiting requests of transactional operations write this row instead of the record. Above READ COMMITTED,
 * PostgreSQL refuses to write a row that has changed since the transaction began, so the completion would fail.
 */
export const LEASE_ROW = '';

/** The answer of a fenced write whose record has another owner, token or state. */
export const NOT_HELD: FencedAnswer = Object.freeze({ held: false, awaited: false });

/** Converts a row of the statements' columns. Drivers return some numbers as text. */
export function toRecord(row: Readonly<Record<string, unknown>>): RecordRow {
  const { response_code: code, response_head: head, response_body: body } = row;
  return {
    recordId: row.id as string,
    owner: row.owner as string,
    status: row.status as RecordRow['status'],
    token: Number(row.token),
    attempt: Number(row.attempt),
    takenFrom: row.taken_from as RecordRow['takenFrom'],
    attemptsLeft: Number(row.attempts_left),
    fingerprint: row.fingerprint as Buffer,
    binding: row.binding as Buffer | null,
    leaseLeftMs: Number(row.lease_left),
    outcome: code === null ? null : { code: Number(code), head: head as Buffer | null, body: body as Buffer | null },
    ...(row.is_free === true && { isFree: true }),
  };
}

/** The columns that a claim writes. */
export const CLAIM_COLUMNS =
  'owner, endpoint, route, scope_digest, fingerprint, binding, request, hold_on_crash, attempts_left';

/** The values of {@link CLAIM_COLUMNS}. */
export function claimValues(c: Claim): unknown[] {
  const { owner, endpoint, route, scopeDigest, fingerprint, binding, request } = c;
  return [owner, endpoint, route, scopeDigest, fingerprint, binding, request, c.holdOnCrash ? 1 : 0, c.maxAttempts - 1];
}

/** Returns `make`, which runs at the first call alone: table names are not known before. */
export function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}
