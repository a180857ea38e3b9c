import type { Claim, FencedAnswer, Ownership } from '../../engine/ports/record-store.js';
import { SQLITE_NOW as NOW } from './clock.js';
import {
  CLAIM_COLUMNS,
  claimValues,
  type CompletionRow,
  type Dialect,
  type ForgottenBatch,
  type LetGo,
  NOBODY,
  NOT_HELD,
  type OutcomeRow,
  type RecordRow,
  type StepRow,
  type TableNames,
  toRecord,
  type Unchanged,
} from './dialect.js';
import { executing, expired, move, unknown } from './predicates.js';

/** What we use of a better-sqlite3 database. Everything it does is synchronous. */
export interface SqliteConnection {
  prepare(sql: string): SqliteStatement;
  exec(sql: string): unknown;
  readonly inTransaction: boolean;
}

interface SqliteStatement {
  all(...values: unknown[]): SqliteRow[];
  get(...values: unknown[]): SqliteRow | undefined;
  run(...values: unknown[]): { changes: number };
}

type SqliteRow = Record<string, unknown>;

const LAPSED = `(lease_until <= ${NOW})`;

/** `r` is the record, `n` the claim. */
const MOVE = move({
  r: 'r.',
  n: (column) => `n.${column}`,
  now: NOW,
  lapsed: LAPSED,
  differ: (a, b) => `${a} IS NOT ${b}`,
});

const UNKNOWN = unknown({ r: '', lapsed: LAPSED });
const EXECUTING = executing({ r: '', lapsed: LAPSED });

const COLUMNS = `id, owner, status, token, attempt, taken_from, attempts_left, fingerprint, binding, lease_until - ${NOW} AS lease_left,
  response_code, response_head, response_body`;

const OWNED = `id = ? AND owner = ? AND token = ? AND status = 'processing'`;
const owned = ({ recordId, owner, token }: Ownership) => [recordId, owner, token];

function statements({ record, step }: TableNames) {
  return {
    look: `SELECT ${MOVE} AS move FROM ${record} r, (SELECT ? AS fingerprint, ? AS binding, ? AS hold_on_crash) n
      WHERE r.id = ?`,
    insert: `INSERT INTO ${record} (${CLAIM_COLUMNS}, lease_until, expires_at, retention_ms, id, status, token, attempt, awaited,
      created_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ${NOW} + ?, ${NOW} + ?, ?, ?, 'processing', 1, 1, 0, ${NOW})`,
    take: `UPDATE ${record} SET owner = ?, endpoint = ?, route = ?, scope_digest = ?, fingerprint = ?, binding = ?,
      request = ?, hold_on_crash = ?, attempts_left = CASE status WHEN 'processing' THEN attempts_left - 1 ELSE ? END,
      lease_until = ${NOW} + ?, expires_at = ${NOW} + ?, retention_ms = ?, taken_from = status, status = 'processing',
      token = token + 1, attempt = attempt + 1, awaited = 0, completed_at = NULL, response_code = NULL, response_head = NULL,
      response_body = NULL WHERE id = ?`,
    restart: `UPDATE ${record} SET attempt = 1, created_at = ${NOW} WHERE id = ?`,
    hold: `UPDATE ${record} SET status = 'held' WHERE id = ?`,
    stands: `SELECT ${COLUMNS} FROM ${record} WHERE id = ?`,
    read: `SELECT ${COLUMNS} FROM ${record}
      WHERE id = ? AND (expires_at > ${NOW} OR status IN ('processing', 'held'))`,
    complete: `UPDATE ${record} SET status = 'done', response_code = ?, response_head = ?, response_body = ?,
      completed_at = ${NOW}, expires_at = ${NOW} + ?, fingerprint = COALESCE(?, fingerprint)
      WHERE ${OWNED} RETURNING awaited`,
    mark: (mark: string) => `SAVEPOINT ${mark}`,
    proof: (mark: string) => `RELEASE ${mark}`,
    letGo: `UPDATE ${record} SET status = ?, lease_until = ${NOW}, expires_at = ${NOW} + ? WHERE ${OWNED}
      RETURNING awaited`,
    giveBack: `UPDATE ${record} SET status = 'failed', lease_until = ${NOW}, expires_at = ${NOW} + retention_ms WHERE ${OWNED}
      RETURNING awaited`,
    discard: `DELETE FROM ${record} WHERE ${OWNED} AND attempt = 1 RETURNING awaited`,
    renew: `UPDATE ${record} SET lease_until = ${NOW} + ? WHERE ${OWNED} RETURNING awaited`,
    markAwaited: `UPDATE ${record} SET awaited = 1 WHERE id = ? AND status = 'processing' AND NOT awaited`,
    /** Tokens and attempts grow together, so this leaves out the steps of an operation that expired. */
    loadSteps: `SELECT s.name, s.status, s.result FROM ${step} s JOIN ${record} r ON r.id = s.record_id
      WHERE s.record_id = ? AND s.token > r.token - r.attempt`,
    putStep: `INSERT INTO ${step} (record_id, name, status, token, result, updated_at)
      SELECT id, ?, ?, token, ?, ${NOW} FROM ${record} WHERE ${OWNED}
      ON CONFLICT (record_id, name) DO UPDATE SET status = excluded.status, token = excluded.token,
        result = excluded.result, updated_at = excluded.updated_at
      RETURNING 0 AS awaited`,
    resolveDone: `UPDATE ${record} SET status = 'done', owner = '${NOBODY}', response_code = ?, response_head = ?, response_body = ?,
      completed_at = ${NOW}, expires_at = ${NOW} + COALESCE(?, retention_ms)
      WHERE id = ? AND token = COALESCE(?, token) AND ${UNKNOWN}`,
    resolveFree: `UPDATE ${record} SET status = 'failed', expires_at = ${NOW} + COALESCE(?, retention_ms)
      WHERE id = ? AND token = COALESCE(?, token) AND ${UNKNOWN}`,
    freeSteps: `UPDATE ${step} SET status = 'failed' WHERE record_id = ? AND status = 'begun'`,
    forget: `DELETE FROM ${record} WHERE id = ? AND token = COALESCE(?, token) AND (? OR NOT ${EXECUTING})`,
    ofScope: (count: number) =>
      `SELECT id FROM ${record} WHERE scope_digest IN (${Array(count).fill('?').join(', ')}) AND NOT ${EXECUTING} LIMIT ?`,
    forgetSteps: `DELETE FROM ${step} WHERE record_id = ?`,
    doomed: `SELECT r.id FROM ${record} r WHERE ${expired(
      { r: 'r.', now: NOW },
      `r.lease_until + r.retention_ms <= ${NOW} AND NOT EXISTS (SELECT 1 FROM ${step} s WHERE s.record_id = r.id)`,
    )} LIMIT ?`,
  };
}

export class SqliteDialect implements Dialect<SqliteConnection> {
  readonly name = 'sqlite';
  readonly batches = true;

  private made: ReturnType<typeof statements> | undefined;
  private readonly prepared = new WeakMap<SqliteConnection, Map<string, SqliteStatement>>();

  constructor(private readonly tables: TableNames) {}

  private get sql(): ReturnType<typeof statements> {
    return (this.made ??= statements(this.tables));
  }

  async claim(on: SqliteConnection, claims: readonly Claim[]): Promise<readonly RecordRow[]> {
    return immediately(on, () => claims.map((claim) => this.claimOne(on, claim)));
  }

  private claimOne(on: SqliteConnection, c: Claim): RecordRow {
    const look = this.on(on, this.sql.look).get(c.fingerprint, c.binding, c.holdOnCrash ? 1 : 0, c.recordId);
    const found = look?.move ?? 'insert';
    const values = [...claimValues(c), c.leaseMs, c.retentionMs, c.retentionMs, c.recordId];
    if (found === 'insert') this.on(on, this.sql.insert).run(...values);
    if (found === 'take' || found === 'restart') this.on(on, this.sql.take).run(...values);
    if (found === 'restart') this.on(on, this.sql.restart).run(c.recordId);
    if (found === 'hold') this.on(on, this.sql.hold).run(c.recordId);
    return toRecord(this.on(on, this.sql.stands).get(c.recordId)!);
  }

  async read(on: SqliteConnection, recordId: string): Promise<RecordRow | undefined> {
    const row = this.on(on, this.sql.read).get(recordId);
    return row && toRecord(row);
  }

  async complete(
    on: SqliteConnection,
    completions: readonly CompletionRow[],
  ): Promise<ReadonlyMap<string, FencedAnswer>> {
    return immediately(on, () => {
      const answers = new Map<string, FencedAnswer>();
      for (const c of completions) {
        const values = [c.code, c.head, c.body, c.retentionMs, c.fingerprint, ...owned(c)];
        const row = this.on(on, this.sql.complete).get(...values);
        if (row) answers.set(c.recordId, fenced(row));
      }
      return answers;
    });
  }

  async markTransaction(on: SqliteConnection, mark: string): Promise<void> {
    on.exec(this.sql.mark(mark));
  }

  async completeWithin(on: SqliteConnection, mark: string, completion: CompletionRow): Promise<FencedAnswer | 'ended'> {
    try {
      on.exec(this.sql.proof(mark));
    } catch (error) {
      if ((error as Error).message.startsWith('no such savepoint')) return 'ended';
      throw error;
    }
    return (await this.complete(on, [completion])).get(completion.recordId) ?? NOT_HELD;
  }

  async isInTransaction(on: SqliteConnection): Promise<boolean> {
    return on.inTransaction;
  }

  async letGo(on: SqliteConnection, ownership: Ownership, status: LetGo, retentionMs: number): Promise<FencedAnswer> {
    return fenced(this.on(on, this.sql.letGo).get(status, retentionMs, ...owned(ownership)));
  }

  async discard(on: SqliteConnection, ownership: Ownership): Promise<FencedAnswer> {
    return immediately(on, () => {
      const gone = this.on(on, this.sql.discard).get(...owned(ownership));
      // The steps are those of an operation that had expired.
      if (gone) this.on(on, this.sql.forgetSteps).run(ownership.recordId);
      return fenced(gone ?? this.on(on, this.sql.giveBack).get(...owned(ownership)));
    });
  }

  async renew(on: SqliteConnection, ownership: Ownership, leaseMs: number): Promise<FencedAnswer> {
    return fenced(this.on(on, this.sql.renew).get(leaseMs, ...owned(ownership)));
  }

  async markAwaited(on: SqliteConnection, recordId: string): Promise<void> {
    this.on(on, this.sql.markAwaited).run(recordId);
  }

  async loadSteps(on: SqliteConnection, recordId: string): Promise<readonly StepRow[]> {
    return this.on(on, this.sql.loadSteps).all(recordId) as unknown as StepRow[];
  }

  async putStep(on: SqliteConnection, ownership: Ownership, step: StepRow): Promise<FencedAnswer> {
    return fenced(this.on(on, this.sql.putStep).get(step.name, step.status, step.result, ...owned(ownership)));
  }

  async resolveHeld(
    on: SqliteConnection,
    recordId: string,
    outcome: OutcomeRow | null,
    retentionMs: number | null,
    token: number | null,
  ): Promise<boolean> {
    return immediately(on, () => {
      const { changes } = outcome
        ? this.on(on, this.sql.resolveDone).run(outcome.code, outcome.head, outcome.body, retentionMs, recordId, token)
        : this.on(on, this.sql.resolveFree).run(retentionMs, recordId, token);
      if (!outcome && changes > 0) this.on(on, this.sql.freeSteps).run(recordId);
      return changes > 0;
    });
  }

  async forget(on: SqliteConnection, recordId: string, unchanged: Unchanged): Promise<boolean> {
    return immediately(on, () => this.delete(on, recordId, unchanged));
  }

  async forgetScope(on: SqliteConnection, digests: readonly Buffer[], limit: number): Promise<ForgottenBatch> {
    return immediately(on, () => {
      const found = this.on(on, this.sql.ofScope(digests.length)).all(...digests, limit);
      for (const { id } of found) this.delete(on, id as string);
      return { found: found.length, forgotten: found.length };
    });
  }

  async sweep(on: SqliteConnection, limit: number): Promise<number> {
    return immediately(on, () => {
      const doomed = this.on(on, this.sql.doomed).all(limit);
      for (const { id } of doomed) this.delete(on, id as string);
      return doomed.length;
    });
  }

  private delete(
    on: SqliteConnection,
    recordId: string,
    { token = null, evenIfRunning = true }: Unchanged = {},
  ): boolean {
    const { changes } = this.on(on, this.sql.forget).run(recordId, token, Number(evenIfRunning));
    if (changes > 0) this.on(on, this.sql.forgetSteps).run(recordId);
    return changes > 0;
  }

  private on(connection: SqliteConnection, sql: string): SqliteStatement {
    let statementsOf = this.prepared.get(connection);
    if (!statementsOf) this.prepared.set(connection, (statementsOf = new Map()));
    let statement = statementsOf.get(sql);
    if (!statement) statementsOf.set(sql, (statement = connection.prepare(sql)));
    return statement;
  }
}

/** Takes the write lock before reading, so that what was read is still so when it is written. */
function immediately<T>(on: SqliteConnection, work: () => T): T {
  if (on.inTransaction) return work();
  on.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    on.exec('COMMIT');
    return result;
  } catch (error) {
    if (on.inTransaction) on.exec('ROLLBACK');
    throw error;
  }
}

function fenced(row: SqliteRow | undefined): FencedAnswer {
  return row ? { held: true, awaited: row.awaited === 1 } : NOT_HELD;
}
