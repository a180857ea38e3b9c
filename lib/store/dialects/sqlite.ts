import type { Claim, FencedAnswer } from '../../engine/ports/record-store.js';
import { bufferOf } from '../entities/transformers.js';
import { SQLITE_NOW as NOW } from './clock.js';
import { CLAIM_COLUMNS, claimValues, NOT_HELD, once, toRecord } from './dialect.js';
import type { CompletionRow, Dialect, StepRow, TableNames, Unchanged } from './dialect.js';
import { claimEffect } from './predicates.js';
import { completionValues, leaseExpired, OWNED, owned, sharedStatements } from './shared-statements.js';

/** What the dialect needs of a better-sqlite3 database. Everything it does is synchronous. */
export interface SqliteConnection {
  prepare(sql: string): SqliteStatement;
  exec(sql: string): unknown;
  readonly inTransaction: boolean;
  /** Whether the database is in memory. */
  readonly memory: boolean;
}

interface SqliteStatement {
  all(...values: unknown[]): SqliteRow[];
  get(...values: unknown[]): SqliteRow | undefined;
  run(...values: unknown[]): { changes: number };
}

type SqliteRow = Record<string, unknown>;

const EXPIRY = `${NOW} + ?`;

/** `r` is the record, `n` the claim. */
const EFFECT = claimEffect({
  r: 'r.',
  n: (column) => `n.${column}`,
  now: NOW,
  leaseExpired: leaseExpired(NOW),
  differ: (a, b) => `${a} IS NOT ${b}`,
});

function statements(tables: TableNames) {
  const { record, step } = tables;
  const updateOwned = (set: string) => `UPDATE ${record} AS r SET ${set} WHERE ${OWNED} RETURNING awaited`;
  const shared = sharedStatements(tables, { now: NOW, expiry: EXPIRY, updateOwned });
  return {
    ...shared,
    decide: `SELECT ${EFFECT} AS effect FROM ${record} r, (SELECT ? AS fingerprint, ? AS binding, ? AS hold_on_crash) n
      WHERE r.id = ?`,
    insert: `INSERT INTO ${record} (${CLAIM_COLUMNS}, lease_until, expires_at, retention_ms, id, status, token, attempt, awaited,
      created_at)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ${NOW} + ?, ${EXPIRY}, ?, ?, 'processing', 1, 1, 0, ${NOW})`,
    take: `UPDATE ${record} SET owner = ?, endpoint = ?, route = ?, scope_digest = ?, fingerprint = ?, binding = ?,
      request = ?, hold_on_crash = ?, attempts_left = CASE status WHEN 'processing' THEN attempts_left - 1 ELSE ? END,
      lease_until = ${NOW} + ?, expires_at = ${EXPIRY}, retention_ms = ?, taken_from = status, status = 'processing',
      token = token + 1, attempt = attempt + 1, awaited = 0, completed_at = NULL, response_code = NULL, response_head = NULL,
      response_body = NULL WHERE id = ?`,
    restart: `UPDATE ${record} SET attempt = 1, created_at = ${NOW} WHERE id = ?`,
    hold: `UPDATE ${record} SET status = 'held' WHERE id = ?`,
    readClaimed: `SELECT ${shared.columns} FROM ${record} WHERE id = ?`,
    discard: `DELETE FROM ${record} WHERE ${OWNED} AND attempt = 1 RETURNING awaited`,
    putStep: `INSERT INTO ${step} (record_id, name, status, token, result, updated_at)
      SELECT id, ?, ?, token, ?, ${NOW} FROM ${record} WHERE ${OWNED}
      ON CONFLICT (record_id, name) DO UPDATE SET status = excluded.status, token = excluded.token,
        result = excluded.result, updated_at = excluded.updated_at
      RETURNING 0 AS awaited`,
  };
}

/** SQLite through better-sqlite3. */
export function sqliteDialect(tables: TableNames): Dialect<SqliteConnection> {
  const sql = once(() => statements(tables));
  const statementsOf = new WeakMap<SqliteConnection, Map<string, SqliteStatement>>();

  const prepared = (on: SqliteConnection, text: string): SqliteStatement => {
    let known = statementsOf.get(on);
    if (!known) statementsOf.set(on, (known = new Map()));
    let statement = known.get(text);
    if (!statement) known.set(text, (statement = on.prepare(text)));
    return statement;
  };

  const claimOne = (on: SqliteConnection, c: Claim) => {
    const found = prepared(on, sql().decide).get(c.fingerprint, c.binding, Number(c.holdOnCrash), c.recordId);
    const effect = found?.effect ?? 'insert';
    const values = [...claimValues(c), c.leaseMs, c.retentionMs, c.retentionMs, c.recordId];
    if (effect === 'insert') prepared(on, sql().insert).run(...values);
    if (effect === 'take' || effect === 'restart') prepared(on, sql().take).run(...values);
    if (effect === 'restart') prepared(on, sql().restart).run(c.recordId);
    if (effect === 'hold') prepared(on, sql().hold).run(c.recordId);
    return toRecord(prepared(on, sql().readClaimed).get(c.recordId)!);
  };

  const complete = (on: SqliteConnection, row: CompletionRow) =>
    fenced(prepared(on, sql().complete).get(...completionValues(row, [row.retentionMs])));

  const deleteOne = (on: SqliteConnection, id: unknown, { token = null, evenIfRunning = true }: Unchanged = {}) => {
    const { changes } = prepared(on, sql().forget).run(id, token, Number(evenIfRunning));
    if (changes > 0) prepared(on, sql().forgetSteps(1)).run(id);
    return changes > 0;
  };

  const deleteFound = (on: SqliteConnection, find: string, ...values: unknown[]) =>
    immediately(on, () => {
      const found = prepared(on, find).all(...values);
      for (const { id } of found) deleteOne(on, id);
      return found.length;
    });

  return {
    name: 'sqlite',
    batches: true,
    commitsImplicitly: false,

    async claim(on, claims) {
      return immediately(on, () => claims.map((claim) => claimOne(on, claim)));
    },

    async read(on, recordId) {
      const row = prepared(on, sql().read).get(recordId);
      return row && toRecord(row);
    },

    async complete(on, rows) {
      return immediately(on, () => new Map(rows.map((row) => [row.recordId, complete(on, row)])));
    },

    async markTransaction(on, mark) {
      on.exec(`SAVEPOINT ${mark}`);
    },

    async completeWithin(on, mark, row) {
      try {
        on.exec(`RELEASE SAVEPOINT ${mark}`);
      } catch (error) {
        if ((error as Error).message.startsWith('no such savepoint')) return 'ended';
        throw error;
      }
      return immediately(on, () => complete(on, row));
    },

    async isInTransaction(on) {
      return on.inTransaction;
    },

    async endLease(on, ownership, status, retentionMs) {
      return fenced(prepared(on, sql().endLease).get(status, retentionMs, ...owned(ownership)));
    },

    async discard(on, ownership) {
      return immediately(on, () => {
        const deleted = prepared(on, sql().discard).get(...owned(ownership));
        // The steps are those of an earlier operation that had expired.
        if (deleted) prepared(on, sql().forgetSteps(1)).run(ownership.recordId);
        return fenced(deleted ?? prepared(on, sql().endLease).get('failed', null, ...owned(ownership)));
      });
    },

    async renew(on, ownership, leaseMs) {
      return fenced(prepared(on, sql().renew).get(leaseMs, ...owned(ownership)));
    },

    async markAwaited(on, recordId) {
      prepared(on, sql().markAwaited).run(recordId);
    },

    async loadSteps(on, recordId) {
      const rows = prepared(on, sql().loadSteps).all(recordId) as unknown as StepRow[];
      return rows.map((row) => ({ ...row, result: bufferOf(row.result) as Buffer | null }));
    },

    async putStep(on, ownership, { name, status, result }) {
      return fenced(prepared(on, sql().putStep).get(name, status, result, ...owned(ownership)));
    },

    async resolveHeld(on, recordId, outcome, retentionMs, token) {
      return immediately(on, () => {
        const values = [retentionMs, recordId, token];
        const { changes } = outcome
          ? prepared(on, sql().resolveDone).run(outcome.code, outcome.head, outcome.body, ...values)
          : prepared(on, sql().resolveFree).run(...values);
        if (!outcome && changes > 0) prepared(on, sql().failBegunSteps).run(recordId);
        return changes > 0;
      });
    },

    async forget(on, recordId, unchanged) {
      return immediately(on, () => deleteOne(on, recordId, unchanged));
    },

    async forgetScope(on, digests, limit) {
      const forgotten = deleteFound(on, sql().findByScope(digests.length), ...digests, limit);
      return { found: forgotten, forgotten };
    },

    async sweep(on, limit) {
      return deleteFound(on, sql().findExpired, limit);
    },
  };
}

/** Takes the write lock before it reads: no other process may change what was read until it is written. */
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
  return row ? { held: true, awaited: Number(row.awaited) === 1 } : NOT_HELD;
}
