import type { Claim, FencedAnswer, Ownership, RecordedStep, RecordState } from '../../engine/ports/record-store.js';
import type { DialectName } from './dialect-name.js';

/** The quoted names of the two tables, as TypeORM is configured. */
export interface TableNames {
  readonly record: string;
  readonly step: string;
}

/** A record as a statement returns it: the bytes of its outcome still sealed. */
export interface RecordRow extends RecordState {
  /** The claim has left the record as it was, and may take it: see {@link Dialect.takeOver}. */
  readonly isFree?: boolean;
}

export interface StepRow {
  readonly name: string;
  readonly status: RecordedStep['status'];
  readonly result: Buffer | null;
}

/** An outcome with its bytes sealed. */
export interface OutcomeRow {
  readonly code: number;
  readonly head: Buffer | null;
  readonly body: Buffer | null;
}

/** A completion with its bytes sealed. */
export interface CompletionRow extends Ownership, OutcomeRow {
  readonly retentionMs: number;
  /** `null`: the claim's stays. */
  readonly fingerprint: Buffer | null;
}

/** The result of a batch of {@link Dialect.forgetScope}. */
export interface ForgottenBatch {
  readonly forgotten: number;
  /** Fewer than asked for: these were the last. */
  readonly found: number;
}

/** What a record still has to be, for an operator who decided about what it was. */
export interface Unchanged {
  /** Its fencing token, as each attempt has another one. Default, and `null`: whichever. */
  readonly token?: number | null;
  /** Whether an execution may hold a lease on it. Default: true. */
  readonly evenIfRunning?: boolean;
}

/** The status a record moves to when its owner lets go of it. */
export type LetGo = 'failed' | 'held';

/**
 * The statements of one database. Each method is one statement or one short transaction, and can be read beside the
 * protocol: whatever is compared with a lease or an expiry is compared on the database's clock, inside the statement.
 *
 * `Connection` is the driver's own: a transaction's, or the pool for statements that stand alone.
 */
export interface Dialect<Connection = unknown> {
  readonly name: DialectName;
  /** Whether several claims or completions go as one statement. */
  readonly batches: boolean;

  /** One row for each claim, in any order. Ids are distinct and sorted, so that concurrent batches cannot deadlock. */
  claim(on: Connection, claims: readonly Claim[]): Promise<readonly RecordRow[]>;
  /**
   * Claims records that {@link claim} has found free (expired, released or lapsed) and has left as they were, in a transaction. There
   * where a lease may be renewed beside its record: one statement cannot both lock the record and see what was renewed before that.
   */
  takeOver?(on: Connection, claims: readonly Claim[]): Promise<readonly RecordRow[]>;
  read(on: Connection, recordId: string): Promise<RecordRow | undefined>;
  /** Returns the ids that were completed, and whether requests wait for them. */
  complete(on: Connection, completions: readonly CompletionRow[]): Promise<ReadonlyMap<string, FencedAnswer>>;

  /**
   * Marks a transaction as its first statement, so that {@link completeWithin} can tell whether it is still the same one.
   * The mark ends with the transaction, however that ends.
   *
   * @param mark a word of letters and digits, new for each transaction
   */
  markTransaction(on: Connection, mark: string): Promise<void>;
  /**
   * As {@link complete}, in a transaction that was marked. `'ended'`: the mark is gone, as the transaction was committed
   * or undone; nothing is written then.
   *
   * @param isWanted false once the caller has given up and rolls back: a statement that is sent after that ROLLBACK would
   *   record the outcome of writes that are gone
   */
  completeWithin(
    on: Connection,
    mark: string,
    completion: CompletionRow,
    isWanted: () => boolean,
  ): Promise<FencedAnswer | 'ended'>;
  /** As {@link completeWithin}, by one statement that fails where it completes nothing: COMMIT may go with it. */
  completeLast?(on: Connection, mark: string, completion: CompletionRow): Promise<FencedAnswer | 'ended'>;

  /**
   * Returns whether the connection is still in a transaction, asked after a statement of it has failed. PostgreSQL refuses
   * by itself what comes after that, and need not be asked.
   */
  isInTransaction(on: Connection): Promise<boolean>;

  /** Releases or holds a record. A released one is kept for `retentionMs` from now. */
  letGo(on: Connection, ownership: Ownership, status: LetGo, retentionMs: number): Promise<FencedAnswer>;
  discard(on: Connection, ownership: Ownership): Promise<FencedAnswer>;
  /** @param transactional whether a transaction may be under way that completes the record: it must not find the row changed */
  renew(on: Connection, ownership: Ownership, leaseMs: number, transactional: boolean): Promise<FencedAnswer>;
  /** @param transactional as for {@link renew} */
  markAwaited(on: Connection, recordId: string, transactional: boolean): Promise<void>;

  loadSteps(on: Connection, recordId: string): Promise<readonly StepRow[]>;
  putStep(on: Connection, ownership: Ownership, step: StepRow): Promise<FencedAnswer>;

  /**
   * Resolves a held record with an outcome, or frees it (`null`), and returns whether there was one. Either is kept from
   * now for `retentionMs`, or where that is `null`, for the operation's own retention. To free it means that what had begun did not happen: its steps may run again.
   * Asked for in a transaction.
   *
   * @param token the fencing token that the record still has to have, or `null` for whichever
   */
  resolveHeld(
    on: Connection,
    recordId: string,
    outcome: OutcomeRow | null,
    retentionMs: number | null,
    token: number | null,
  ): Promise<boolean>;
  /**
   * Deletes a record and its steps, and returns whether there was one that is `unchanged`. Asked for in a transaction, so that
   * no step outlives its record: the next operation with this id would take it for its own.
   */
  forget(on: Connection, recordId: string, unchanged: Unchanged): Promise<boolean>;
  /**
   * Deletes up to `limit` records that have one of these digests of a scope, and their steps, but those that an
   * execution holds a lease on. Asked for in a transaction.
   */
  forgetScope(on: Connection, digests: readonly Buffer[], limit: number): Promise<ForgottenBatch>;
  /** Deletes up to `limit` expired records and their steps, in a transaction. Returns the number of records. */
  sweep(on: Connection, limit: number): Promise<number>;
}

/**
 * Owner of a record that was settled by hand. The execution that owned it may come back, and must not take the outcome
 * for its own.
 */
export const NOBODY = '00000000-0000-0000-0000-000000000000';

/**
 * The name of a row beside a record, among its steps, none of which has an empty name. It has the end of the lease as
 * `updated_at`, and whether a request waits as its status.
 *
 * Above READ COMMITTED, PostgreSQL refuses to write a row that has changed since the transaction's first statement. A
 * heartbeat, or a request that waits, would make the completion of a transactional operation fail: so they write here.
 */
export const BESIDE = '';

/** The answer of a fenced write that found its record in other hands. */
export const NOT_HELD: FencedAnswer = Object.freeze({ held: false, awaited: false });

/** Reads a row by the columns' names. Drivers give some numbers as text. */
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

/** The columns that a claim writes as they are. */
export const CLAIM_COLUMNS =
  'owner, endpoint, route, scope_digest, fingerprint, binding, request, hold_on_crash, attempts_left';

/** The values of {@link CLAIM_COLUMNS}. */
export function claimValues(c: Claim): unknown[] {
  const { owner, endpoint, route, scopeDigest, fingerprint, binding, request } = c;
  return [owner, endpoint, route, scopeDigest, fingerprint, binding, request, c.holdOnCrash ? 1 : 0, c.maxAttempts - 1];
}
