import type { FencedAnswer, Ownership } from '../../engine/ports/record-store.js';
import type { Mysql2ResultInternals } from '../../private-names/mysql2.js';
import { MYSQL_NOW as NOW } from './clock.js';
import { CLAIM_COLUMNS, claimValues, NOT_HELD, once, toRecord } from './dialect.js';
import type { CompletionRow, Dialect, StepRow, TableNames, UnresolvedStatus } from './dialect.js';
import { claimEffect, executing } from './predicates.js';
import { completionValues, leaseExpired, OWNED, owned, parameters, sharedStatements } from './shared-statements.js';

/** What the dialect needs of a `mysql2` connection, as promises. */
export interface MysqlConnection {
  /** Runs a prepared statement, which each connection caches by its text. */
  execute(sql: string, values: readonly unknown[]): Promise<MysqlAnswer>;
  /** Runs a statement as text: for statements whose number of parameters varies. */
  query(sql: string, values: readonly unknown[]): Promise<MysqlAnswer>;
  /** As `execute`, for a read that must see what is committed. */
  read(sql: string, values: readonly unknown[]): Promise<MysqlAnswer>;
  /** Whether an INSERT can return rows: MariaDB. MySQL needs a second statement. */
  readonly returning: boolean;
  /**
   * Changes the text of a statement of a longer transaction so that it sees the row as it is now, not as when the transaction began.
   * Otherwise, MariaDB from 11.6 refuses the completion (innodb_snapshot_isolation), because a heartbeat changed the row. It
   * also takes the server's clock instead of one that the handler may have set.
   */
  readonly currentRead: (sql: string) => string;
  /**
   * The same connection, on a node of a Galera cluster and outside of transactions. Its statements first wait until the node
   * has applied what was committed elsewhere. Without that wait, a node may answer from before the claim.
   */
  readonly synced?: MysqlConnection;
}

export interface MysqlAnswer {
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  readonly affectedRows: number;
  readonly insertId: number;
  /** Whether the session is in a transaction after the statement. False for a result with rows, which does not say. */
  readonly inTransaction: boolean;
}

/** SERVER_STATUS_IN_TRANS, in the flags that MySQL sends with each result that has no rows. */
const IN_TRANSACTION = 1;

/** Returns whether the session is in a transaction after a statement, or `undefined` where its result does not say. */
export function isInTransactionAfter(result: unknown): boolean | undefined {
  const { serverStatus } = (result ?? {}) as Mysql2ResultInternals;
  return serverStatus === undefined ? undefined : (serverStatus & IN_TRANSACTION) !== 0;
}

/** Returns whether a ROLLBACK has left writes, in a table whose engine has no transactions. MySQL warns of nothing else there. */
export function hasLeftWrites(result: unknown): boolean {
  return ((result as { warningStatus?: number } | null | undefined)?.warningStatus ?? 0) > 0;
}

/**
 * Returns whether a statement of the store, which is in no transaction of its own, stays uncommitted: its session has `autocommit`
 * off, or a handler has left a transaction open in it.
 */
export function isUncommitted(result: unknown): boolean {
  if (Array.isArray(result)) return Number((result[0] as { autocommit?: unknown } | undefined)?.autocommit ?? 1) === 0;
  return isInTransactionAfter(result) === true;
}

/** ER_SP_DOES_NOT_EXIST, which MySQL also reports for a savepoint. */
const NO_SUCH_SAVEPOINT = 1305;

/** Long retentions end on a full minute: a completion in the same minute as its claim does not change the index. */
const EXPIRY = `IF(? < 3600000, ${NOW} + ?, ((${NOW} + ?) DIV 60000 + 1) * 60000)`;
const expiry = (ms: number | null) => [ms, ms, ms];

const LEASE_EXPIRED = leaseExpired(NOW);

/** `VALUES(column)` is the claim's. */
const EFFECT = claimEffect({
  r: '',
  n: (column) => `VALUES(${column})`,
  now: NOW,
  leaseExpired: LEASE_EXPIRED,
  differ: (a, b) => `NOT (${a} <=> ${b})`,
});

/** Of a claim that has won: one fewer after an owner that died. The dead owner's lease is still in the row. */
const ATTEMPTS_LEFT = `CASE WHEN taken_from <> 'processing' OR taken_from IS NULL THEN VALUES(attempts_left)
  WHEN ${LEASE_EXPIRED} THEN attempts_left - 1 ELSE attempts_left END`;

/** Returns whether a request waits as the statement's insert id: 1 for no, 2 for yes. A trigger may take its place. */
const RETURN_AWAITED = `awaited = LAST_INSERT_ID(awaited + 1) - 1`;

/** A step's name as UTF-8, and back: a session with another encoding would find the step under another name, and repeat it. */
const NAME = 'CONVERT(CAST(? AS BINARY) USING utf8mb4)';
const NAME_BYTES = 'CAST(s.name AS BINARY)';

function statements(tables: TableNames) {
  const { record, step } = tables;
  const updateOwned = (set: string) => `UPDATE ${record} AS r SET ${set}, ${RETURN_AWAITED} WHERE ${OWNED}`;
  const shared = sharedStatements(tables, { now: NOW, expiry: EXPIRY, stepName: NAME_BYTES, updateOwned });
  /**
   * Assignments see the new values of those before them. First come the owner and the columns that {@link EFFECT} does not
   * read, then the status, then the rest by those two. An owner that claims its own record again only extends its lease.
   */
  const byEffect = (column: string, cases: string) => `${column} = CASE ${EFFECT} ${cases} ELSE ${column} END`;
  const ifWon = (column: string, value = `VALUES(${column})`) =>
    `${column} = IF(owner = VALUES(owner) AND status = 'processing', ${value}, ${column})`;
  return {
    ...shared,
    claim: (
      count: number,
    ) => `INSERT INTO ${record} (id, ${CLAIM_COLUMNS}, status, token, attempt, awaited, lease_until, created_at, expires_at, retention_ms)
    VALUES ${Array(count)
      .fill(`(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'processing', 1, 1, 0, ${NOW} + ?, ${NOW}, ${EXPIRY}, ?)`)
      .join(', ')}
    ON DUPLICATE KEY UPDATE
      ${byEffect('token', `WHEN 'restart' THEN token + 1 WHEN 'take' THEN token + 1`)},
      ${byEffect('attempt', `WHEN 'restart' THEN 1 WHEN 'take' THEN attempt + 1`)},
      ${byEffect('created_at', `WHEN 'restart' THEN VALUES(created_at)`)},
      ${byEffect('taken_from', `WHEN 'restart' THEN status WHEN 'take' THEN status`)},
      ${byEffect('awaited', `WHEN 'restart' THEN 0 WHEN 'take' THEN 0`)},
      ${byEffect('owner', `WHEN 'restart' THEN VALUES(owner) WHEN 'take' THEN VALUES(owner)`)},
      ${byEffect('status', `WHEN 'restart' THEN 'processing' WHEN 'take' THEN 'processing' WHEN 'hold' THEN 'held'`)},
      ${ifWon('endpoint')}, ${ifWon('route')}, ${ifWon('scope_digest')}, ${ifWon('request')}, ${ifWon('completed_at', 'NULL')},
      ${ifWon('response_code', 'NULL')}, ${ifWon('response_head', 'NULL')}, ${ifWon('response_body', 'NULL')},
      ${ifWon('fingerprint')}, ${ifWon('binding')}, ${ifWon('hold_on_crash')}, ${ifWon('attempts_left', ATTEMPTS_LEFT)},
      ${ifWon('lease_until')}, ${ifWon('expires_at')}, ${ifWon('retention_ms')}`,
    /** A result with rows has no flags: see {@link isUncommitted}. */
    returning: ` RETURNING ${shared.columns}, (@@autocommit AND NOT @@in_transaction) AS autocommit`,
    /** Sees only what is committed, in READ UNCOMMITTED sessions of handlers too. */
    readMany: (count: number) =>
      `SELECT ${shared.columns} FROM ${record} WHERE id IN (${parameters(count)}) LOCK IN SHARE MODE`,
    /** The steps are those of an earlier operation that had expired. */
    discard: `DELETE r, s FROM ${record} r LEFT JOIN ${step} s ON s.record_id = r.id
      WHERE r.id = ? AND r.owner = ? AND r.token = ? AND r.status = 'processing' AND r.attempt = 1`,
    /** Changes the row even in the millisecond of its last renewal: see {@link fenced}. */
    renew: updateOwned(`lease_until = ${NOW} + ? + (lease_until = ${NOW} + ?)`),
    /** Changes the row by a millisecond of lease: a Galera cluster certifies changes of rows, and not locks. */
    touch: updateOwned('lease_until = lease_until + 1'),
    putStep: `INSERT INTO ${step} (record_id, name, status, token, result, updated_at)
      SELECT id, ${NAME}, ?, token, ?, ${NOW} FROM ${record} WHERE ${OWNED} FOR UPDATE
      ON DUPLICATE KEY UPDATE status = VALUES(status), token = VALUES(token), result = VALUES(result),
        updated_at = VALUES(updated_at)`,
    /** Locks by id: a lock on a part of the scope's index would make new records of the scope wait. */
    lockIdle: (count: number) => `SELECT id FROM ${record} WHERE id IN (${parameters(count)})
      AND NOT ${executing({ r: '', leaseExpired: LEASE_EXPIRED })} FOR UPDATE`,
    lockExpired: `${shared.findExpired} FOR UPDATE SKIP LOCKED`,
    forgetMany: (count: number) => `DELETE FROM ${record} WHERE id IN (${parameters(count)})`,
  };
}

/** MySQL 8 and MariaDB 10.6 or newer. */
export function mysqlDialect(tables: TableNames): Dialect<MysqlConnection> {
  const sql = once(() => statements(tables));

  const completeOne = (on: MysqlConnection, row: CompletionRow, statement = sql().complete) =>
    fenced(on, statement, completionValues(row, expiry(row.retentionMs)));

  const endLease = (on: MysqlConnection, ownership: Ownership, status: UnresolvedStatus, retentionMs: number | null) =>
    fenced(on, sql().endLease, [status, ...expiry(retentionMs), ...owned(ownership)]);

  const deleteMany = async (on: MysqlConnection, ids: readonly unknown[]) => {
    if (ids.length === 0) return 0;
    await on.query(sql().forgetMany(ids.length), ids);
    await on.query(sql().forgetSteps(ids.length), ids);
    return ids.length;
  };

  return {
    name: 'mysql',
    batches: false,
    commitsImplicitly: true,

    async claim(on, claims) {
      const values = claims.flatMap((c) => [
        c.recordId,
        ...claimValues(c),
        c.leaseMs,
        ...expiry(c.retentionMs),
        c.retentionMs,
      ]);
      const insert = sql().claim(claims.length);
      if (on.returning) return (await on.execute(insert + sql().returning, values)).rows.map(toRecord);
      const ids = claims.map((claim) => claim.recordId);
      for (;;) {
        await on.execute(insert, values);
        const { rows } = await on.execute(sql().readMany(ids.length), ids);
        // A record may have been deleted between the two statements. The claim then counts as not made. More rows are of a table that
        // has lost its key, which the boot check reports: each further try would insert one more.
        if (rows.length >= ids.length) return rows.map(toRecord);
      }
    },

    async read(on, recordId) {
      const { rows } = await (on.synced ?? on).read(sql().read, [recordId]);
      return rows.length ? toRecord(rows[0]) : undefined;
    },

    async complete(on, rows) {
      const answers = new Map<string, FencedAnswer>();
      for (const row of rows) answers.set(row.recordId, await completeOne(on, row));
      return answers;
    },

    async markTransaction(on, mark) {
      await on.query(`SAVEPOINT ${mark}`, []);
    },

    async completeWithin(on, mark, row, isWanted) {
      try {
        await on.query(`RELEASE SAVEPOINT ${mark}`, []);
      } catch (error) {
        if ((error as { errno?: unknown }).errno === NO_SUCH_SAVEPOINT) return 'ended';
        throw error;
      }
      return isWanted() ? completeOne(on, row, on.currentRead(sql().complete)) : 'ended';
    },

    async isInTransaction(on) {
      return (await on.query('DO 0', [])).inTransaction;
    },

    endLease,

    async discard(on, ownership) {
      const { affectedRows } = await on.execute(sql().discard, owned(ownership));
      return affectedRows > 0 ? { held: true, awaited: true } : endLease(on, ownership, 'failed', null);
    },

    renew: (on, ownership, leaseMs) => fenced(on, sql().renew, [leaseMs, leaseMs, ...owned(ownership)]),

    async markAwaited(on, recordId) {
      await on.execute(sql().markAwaited, [recordId]);
    },

    async loadSteps(on, recordId) {
      const { rows } = await (on.synced ?? on).read(sql().loadSteps, [recordId]);
      return rows.map((row) => ({ ...row, name: String(row.name) }) as StepRow);
    },

    async putStep(on, ownership, { name, status, result }) {
      const values = [Buffer.from(name), status, result, ...owned(ownership)];
      const { affectedRows } = await untilFound(on, sql().putStep, values);
      if (affectedRows === 0) return NOT_HELD;
      // A lock of this node does not stop another node from taking the record over. A change of the record does.
      return on.synced ? fenced(on, sql().touch, owned(ownership)) : { held: true, awaited: false };
    },

    async resolveHeld(on, recordId, outcome, retentionMs, token) {
      const values = [...expiry(retentionMs), recordId, token];
      const { affectedRows } = outcome
        ? await on.execute(sql().resolveDone, [outcome.code, outcome.head, outcome.body, ...values])
        : await on.execute(sql().resolveFree, values);
      if (!outcome && affectedRows > 0) await on.execute(sql().failBegunSteps, [recordId]);
      return affectedRows > 0;
    },

    async forget(on, recordId, { token = null, evenIfRunning = true }) {
      const { affectedRows } = await on.execute(sql().forget, [recordId, token, Number(evenIfRunning)]);
      if (affectedRows > 0) await on.execute(sql().forgetSteps(1), [recordId]);
      return affectedRows > 0;
    },

    async forgetScope(on, digests, limit) {
      const found = await idsOf(on, sql().findByScope(digests.length), [...digests, limit]);
      if (found.length === 0) return { found: 0, forgotten: 0 };
      const idle = await idsOf(on, sql().lockIdle(found.length), found);
      return { found: found.length, forgotten: await deleteMany(on, idle) };
    },

    async sweep(on, limit) {
      return deleteMany(on, await idsOf(on, sql().lockExpired, [limit]));
    },
  };
}

async function idsOf(on: MysqlConnection, sql: string, values: readonly unknown[]): Promise<unknown[]> {
  return (await on.query(sql, values)).rows.map(({ id }) => id);
}

/**
 * Runs a statement with {@link RETURN_AWAITED}, which changes each row that it finds: a server may be set to count only rows that
 * changed. Where a trigger has taken the place of the insert id, it reports that a request waits.
 */
async function fenced(on: MysqlConnection, sql: string, values: readonly unknown[]): Promise<FencedAnswer> {
  const { affectedRows, insertId } = await untilFound(on, sql, values);
  return affectedRows > 0 ? { held: true, awaited: insertId !== 1 } : NOT_HELD;
}

/** Runs a statement. A node of a cluster that finds no row may not have the claim yet: it runs again once it is synced. */
async function untilFound(on: MysqlConnection, sql: string, values: readonly unknown[]): Promise<MysqlAnswer> {
  const answer = await on.execute(sql, values);
  return answer.affectedRows > 0 || !on.synced ? answer : on.synced.execute(sql, values);
}
