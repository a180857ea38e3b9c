import type { Claim, FencedAnswer, Ownership } from '../../engine/ports/record-store.js';
import type { Mysql2ResultInternals } from '../../private-names/mysql2.js';
import { MYSQL_NOW as NOW } from './clock.js';
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

/** What we use of a `mysql2` connection, with promises. */
export interface MysqlConnection {
  /** Prepared, cached by text on each connection. */
  execute(sql: string, values: readonly unknown[]): Promise<MysqlAnswer>;
  /** As text: for statements whose number of parameters varies. */
  query(sql: string, values: readonly unknown[]): Promise<MysqlAnswer>;
  /** MariaDB answers an INSERT with rows; MySQL has to be asked again. */
  readonly returning: boolean;
  /**
   * Before a statement of a longer transaction that has to see the row as it is, and not as it was when the transaction began.
   * MariaDB from 11.6 on would refuse it by default (innodb_snapshot_isolation), as a heartbeat has changed the row.
   */
  readonly currentRead: string;
  /**
   * Of a node of a Galera cluster, outside of transactions: the same connection, whose statements first wait until the node has
   * applied what was committed elsewhere before. Without that, a node may answer from before the claim.
   */
  readonly caughtUp?: MysqlConnection;
}

/** SERVER_STATUS_IN_TRANS, in the flags that MySQL sends with each result that has no rows. */
const IN_TRANSACTION = 1;

/** Returns whether the session is in a transaction after a statement; `undefined`: its result does not tell. */
export function isInTransactionAfter(result: unknown): boolean | undefined {
  const { serverStatus } = (result ?? {}) as Mysql2ResultInternals;
  return serverStatus === undefined ? undefined : (serverStatus & IN_TRANSACTION) !== 0;
}

export interface MysqlAnswer {
  readonly rows: readonly MysqlRow[];
  readonly affectedRows: number;
  readonly insertId: number;
  /** Whether the session is in a transaction after the statement; of a result without rows only. */
  readonly inTransaction: boolean;
}

type MysqlRow = Record<string, unknown>;

/** Long retentions end on a full minute, so that few completions touch the index. The parameter is given twice. */
const EXPIRY = `IF(? < 3600000, ${NOW} + ?, ((${NOW} + ?) DIV 60000 + 1) * 60000)`;
const expiry = (ms: number | null) => [ms, ms, ms];
/** The same, of the record's own retention unless another one is given. */
const OWN_EXPIRY = EXPIRY.replaceAll('?', 'COALESCE(?, retention_ms)');

/** ER_SP_DOES_NOT_EXIST, which MySQL also says of a savepoint. */
const NO_SUCH_SAVEPOINT = 1305;

const LAPSED = `(lease_until <= ${NOW})`;

/** `VALUES(column)` is the claim's own. */
const MOVE = move({
  r: '',
  n: (column) => `VALUES(${column})`,
  now: NOW,
  lapsed: LAPSED,
  differ: (a, b) => `NOT (${a} <=> ${b})`,
});

const UNKNOWN = unknown({ r: '', lapsed: LAPSED });
const EXECUTING = executing({ r: '', lapsed: LAPSED });

/** Of a claim that has won: one fewer where it took over from an owner that died, whose lease still stands in the row. */
const ATTEMPTS_LEFT = `CASE WHEN taken_from <> 'processing' OR taken_from IS NULL THEN VALUES(attempts_left)
  WHEN ${LAPSED} THEN attempts_left - 1 ELSE attempts_left END`;

const COLUMNS = `id, owner, status, token, attempt, taken_from, attempts_left, fingerprint, binding, lease_until - ${NOW} AS lease_left,
  response_code, response_head, response_body`;

const OWNED = `id = ? AND owner = ? AND token = ? AND status = 'processing'`;
const owned = ({ recordId, owner, token }: Ownership) => [recordId, owner, token];

/** Returns the row in the same answer, as its insert id: 1 for a row, 2 for one that a request waits for. */
const TELL = `awaited = LAST_INSERT_ID(awaited + 1) - 1`;

function statements({ record, step }: TableNames) {
  /**
   * Assignments see those before them. First go the columns that {@link MOVE} does not look at and the owner, then the
   * status, then, by those two, the rest: an owner that claims again what it runs extends its lease, no more.
   */
  const moved = (column: string, cases: string) => `${column} = CASE ${MOVE} ${cases} ELSE ${column} END`;
  const won = (column: string, value = `VALUES(${column})`) =>
    `${column} = IF(owner = VALUES(owner) AND status = 'processing', ${value}, ${column})`;
  return {
    claim: (
      count: number,
    ) => `INSERT INTO ${record} (id, ${CLAIM_COLUMNS}, status, token, attempt, awaited, lease_until, created_at, expires_at, retention_ms)
    VALUES ${Array(count)
      .fill(`(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'processing', 1, 1, 0, ${NOW} + ?, ${NOW}, ${EXPIRY}, ?)`)
      .join(', ')}
    ON DUPLICATE KEY UPDATE
      ${moved('token', `WHEN 'restart' THEN token + 1 WHEN 'take' THEN token + 1`)},
      ${moved('attempt', `WHEN 'restart' THEN 1 WHEN 'take' THEN attempt + 1`)},
      ${moved('created_at', `WHEN 'restart' THEN VALUES(created_at)`)},
      ${moved('taken_from', `WHEN 'restart' THEN status WHEN 'take' THEN status`)},
      ${moved('awaited', `WHEN 'restart' THEN 0 WHEN 'take' THEN 0`)},
      ${moved('owner', `WHEN 'restart' THEN VALUES(owner) WHEN 'take' THEN VALUES(owner)`)},
      ${moved('status', `WHEN 'restart' THEN 'processing' WHEN 'take' THEN 'processing' WHEN 'hold' THEN 'held'`)},
      ${won('endpoint')}, ${won('route')}, ${won('scope_digest')}, ${won('request')}, ${won('completed_at', 'NULL')},
      ${won('response_code', 'NULL')}, ${won('response_head', 'NULL')}, ${won('response_body', 'NULL')},
      ${won('fingerprint')}, ${won('binding')}, ${won('hold_on_crash')}, ${won('attempts_left', ATTEMPTS_LEFT)}, ${won('lease_until')}, ${won('expires_at')},
      ${won('retention_ms')}`,
    returning: ` RETURNING ${COLUMNS}`,
    readMany: (count: number) => `SELECT ${COLUMNS} FROM ${record} WHERE id IN (${Array(count).fill('?').join(', ')})`,
    read: `SELECT ${COLUMNS} FROM ${record}
      WHERE id = ? AND (expires_at > ${NOW} OR status IN ('processing', 'held'))`,
    complete: `UPDATE ${record} SET status = 'done', response_code = ?, response_head = ?, response_body = ?,
      completed_at = ${NOW}, expires_at = ${EXPIRY}, fingerprint = COALESCE(?, fingerprint), ${TELL} WHERE ${OWNED}`,
    /** With the mark: a savepoint, which ends with its transaction. */
    mark: (mark: string) => `SAVEPOINT ${mark}`,
    proof: (mark: string) => `RELEASE SAVEPOINT ${mark}`,
    letGo: `UPDATE ${record} SET status = ?, lease_until = ${NOW}, expires_at = ${EXPIRY}, ${TELL} WHERE ${OWNED}`,
    /** The steps are those of an operation that had expired. */
    discard: `DELETE r, s FROM ${record} r LEFT JOIN ${step} s ON s.record_id = r.id
      WHERE r.id = ? AND r.owner = ? AND r.token = ? AND r.status = 'processing' AND r.attempt = 1`,
    giveBack: `UPDATE ${record} SET status = 'failed', lease_until = ${NOW}, expires_at = ${OWN_EXPIRY}, ${TELL}
      WHERE ${OWNED}`,
    renew: `UPDATE ${record} SET lease_until = ${NOW} + ?, ${TELL} WHERE ${OWNED}`,
    /** Changes the row, by which a cluster certifies what other nodes make of it: a millisecond more of lease does no harm. */
    touch: `UPDATE ${record} SET lease_until = lease_until + 1, ${TELL} WHERE ${OWNED}`,
    markAwaited: `UPDATE ${record} SET awaited = 1 WHERE id = ? AND status = 'processing' AND NOT awaited`,
    /** Tokens and attempts grow together, so this leaves out the steps of an operation that expired. */
    loadSteps: `SELECT s.name, s.status, s.result FROM ${step} s JOIN ${record} r ON r.id = s.record_id
      WHERE s.record_id = ? AND s.token > r.token - r.attempt`,
    putStep: `INSERT INTO ${step} (record_id, name, status, token, result, updated_at)
      SELECT id, ?, ?, token, ?, ${NOW} FROM ${record} WHERE ${OWNED} FOR UPDATE
      ON DUPLICATE KEY UPDATE status = VALUES(status), token = VALUES(token), result = VALUES(result),
        updated_at = VALUES(updated_at)`,
    resolveDone: `UPDATE ${record} SET status = 'done', owner = '${NOBODY}', response_code = ?, response_head = ?, response_body = ?,
      completed_at = ${NOW}, expires_at = ${OWN_EXPIRY} WHERE id = ? AND token = COALESCE(?, token) AND ${UNKNOWN}`,
    resolveFree: `UPDATE ${record} SET status = 'failed', expires_at = ${OWN_EXPIRY}
      WHERE id = ? AND token = COALESCE(?, token) AND ${UNKNOWN}`,
    freeSteps: `UPDATE ${step} SET status = 'failed' WHERE record_id = ? AND status = 'begun'`,
    forget: `DELETE FROM ${record} WHERE id = ? AND token = COALESCE(?, token) AND (? OR NOT ${EXECUTING})`,
    forgetSteps: (count: number) => `DELETE FROM ${step} WHERE record_id IN (${Array(count).fill('?').join(', ')})`,
    doomed: `SELECT r.id FROM ${record} r WHERE ${expired(
      { r: 'r.', now: NOW },
      `r.lease_until + r.retention_ms <= ${NOW} AND NOT EXISTS (SELECT 1 FROM ${step} s WHERE s.record_id = r.id)`,
    )} LIMIT ? FOR UPDATE SKIP LOCKED`,
    ofScope: (count: number) =>
      `SELECT id FROM ${record} WHERE scope_digest IN (${Array(count).fill('?').join(', ')}) AND NOT ${EXECUTING} LIMIT ?`,
    /** Locks by id: a lock on a part of the index would keep new records of the scope waiting. */
    stillFree: (count: number) => `SELECT id FROM ${record}
      WHERE id IN (${Array(count).fill('?').join(', ')}) AND NOT ${EXECUTING} FOR UPDATE`,
    sweep: (count: number) => `DELETE FROM ${record} WHERE id IN (${Array(count).fill('?').join(', ')})`,
  };
}

/** MySQL 8 and MariaDB 10.6 or newer. */
export class MysqlDialect implements Dialect<MysqlConnection> {
  readonly name = 'mysql';
  readonly batches = false;

  private made: ReturnType<typeof statements> | undefined;

  constructor(private readonly tables: TableNames) {}

  private get sql(): ReturnType<typeof statements> {
    return (this.made ??= statements(this.tables));
  }

  async claim(on: MysqlConnection, claims: readonly Claim[]): Promise<readonly RecordRow[]> {
    const values = claims.flatMap((c) => [
      c.recordId,
      ...claimValues(c),
      c.leaseMs,
      ...expiry(c.retentionMs),
      c.retentionMs,
    ]);
    const insert = this.sql.claim(claims.length);
    if (on.returning) return (await on.execute(insert + this.sql.returning, values)).rows.map(toRecord);
    const ids = claims.map((claim) => claim.recordId);
    for (;;) {
      await on.execute(insert, values);
      const { rows } = await on.execute(this.sql.readMany(ids.length), ids);
      // A record may have been deleted in between. The claim then counts as not made.
      if (rows.length === ids.length) return rows.map(toRecord);
    }
  }

  async read(on: MysqlConnection, recordId: string): Promise<RecordRow | undefined> {
    const { rows } = await (on.caughtUp ?? on).execute(this.sql.read, [recordId]);
    return rows.length ? toRecord(rows[0]) : undefined;
  }

  async complete(
    on: MysqlConnection,
    completions: readonly CompletionRow[],
  ): Promise<ReadonlyMap<string, FencedAnswer>> {
    const answers = new Map<string, FencedAnswer>();
    for (const completion of completions) answers.set(completion.recordId, await this.completeOne(on, completion));
    return answers;
  }

  private async completeOne(on: MysqlConnection, c: CompletionRow, prefix = ''): Promise<FencedAnswer> {
    const values = [c.code, c.head, c.body, ...expiry(c.retentionMs), c.fingerprint, ...owned(c)];
    return fenced(on, (to) => to.execute(prefix + this.sql.complete, values));
  }

  async markTransaction(on: MysqlConnection, mark: string): Promise<void> {
    await on.query(this.sql.mark(mark), []);
  }

  async completeWithin(
    on: MysqlConnection,
    mark: string,
    completion: CompletionRow,
    isWanted: () => boolean,
  ): Promise<FencedAnswer | 'ended'> {
    try {
      await on.query(this.sql.proof(mark), []);
    } catch (error) {
      if ((error as { errno?: unknown }).errno === NO_SUCH_SAVEPOINT) return 'ended';
      throw error;
    }
    if (!isWanted()) return 'ended';
    return this.completeOne(on, completion, on.currentRead);
  }

  async isInTransaction(on: MysqlConnection): Promise<boolean> {
    return (await on.query('DO 0', [])).inTransaction;
  }

  async letGo(on: MysqlConnection, ownership: Ownership, status: LetGo, retentionMs: number): Promise<FencedAnswer> {
    const values = [status, ...expiry(retentionMs), ...owned(ownership)];
    return fenced(on, (to) => to.execute(this.sql.letGo, values));
  }

  async discard(on: MysqlConnection, ownership: Ownership): Promise<FencedAnswer> {
    const answer = await on.execute(this.sql.discard, owned(ownership));
    if (answer.affectedRows > 0) return { held: true, awaited: true };
    return fenced(on, (to) => to.execute(this.sql.giveBack, [...expiry(null), ...owned(ownership)]));
  }

  async renew(on: MysqlConnection, ownership: Ownership, leaseMs: number): Promise<FencedAnswer> {
    return fenced(on, (to) => to.execute(this.sql.renew, [leaseMs, ...owned(ownership)]));
  }

  async markAwaited(on: MysqlConnection, recordId: string): Promise<void> {
    await on.execute(this.sql.markAwaited, [recordId]);
  }

  async loadSteps(on: MysqlConnection, recordId: string): Promise<readonly StepRow[]> {
    return (await (on.caughtUp ?? on).execute(this.sql.loadSteps, [recordId])).rows as unknown as StepRow[];
  }

  async putStep(on: MysqlConnection, ownership: Ownership, step: StepRow): Promise<FencedAnswer> {
    const values = [step.name, step.status, step.result, ...owned(ownership)];
    const put = await asked(
      on,
      (to) => to.execute(this.sql.putStep, values),
      ({ affectedRows }) => affectedRows > 0,
    );
    if (put.affectedRows === 0) return NOT_HELD;
    // Nodes of a cluster see a record locked that another node takes over meanwhile: what counts there is a change of it.
    if (on.caughtUp) return fenced(on, (to) => to.execute(this.sql.touch, owned(ownership)));
    return { held: true, awaited: false };
  }

  async resolveHeld(
    on: MysqlConnection,
    recordId: string,
    outcome: OutcomeRow | null,
    retentionMs: number | null,
    token: number | null,
  ): Promise<boolean> {
    const retention = expiry(retentionMs);
    const { affectedRows } = outcome
      ? await on.execute(this.sql.resolveDone, [
          outcome.code,
          outcome.head,
          outcome.body,
          ...retention,
          recordId,
          token,
        ])
      : await on.execute(this.sql.resolveFree, [...retention, recordId, token]);
    if (!outcome && affectedRows > 0) await on.execute(this.sql.freeSteps, [recordId]);
    return affectedRows > 0;
  }

  async forget(
    on: MysqlConnection,
    recordId: string,
    { token = null, evenIfRunning = true }: Unchanged,
  ): Promise<boolean> {
    const { affectedRows } = await on.execute(this.sql.forget, [recordId, token, Number(evenIfRunning)]);
    if (affectedRows > 0) await on.execute(this.sql.forgetSteps(1), [recordId]);
    return affectedRows > 0;
  }

  async forgetScope(on: MysqlConnection, digests: readonly Buffer[], limit: number): Promise<ForgottenBatch> {
    const found = (await on.query(this.sql.ofScope(digests.length), [...digests, limit])).rows.map((row) => row.id);
    if (found.length === 0) return { found: 0, forgotten: 0 };
    const free = (await on.query(this.sql.stillFree(found.length), found)).rows.map((row) => row.id);
    return { found: found.length, forgotten: await this.delete(on, free) };
  }

  async sweep(on: MysqlConnection, limit: number): Promise<number> {
    return this.delete(
      on,
      (await on.query(this.sql.doomed, [limit])).rows.map((row) => row.id),
    );
  }

  private async delete(on: MysqlConnection, ids: readonly unknown[]): Promise<number> {
    if (ids.length === 0) return 0;
    await on.query(this.sql.sweep(ids.length), ids);
    await on.query(this.sql.forgetSteps(ids.length), ids);
    return ids.length;
  }
}

/** Affected rows would not do: a server may count only rows that changed. */
async function fenced(on: MysqlConnection, ask: (to: MysqlConnection) => Promise<MysqlAnswer>): Promise<FencedAnswer> {
  const { insertId } = await asked(on, ask, (answer) => answer.insertId > 0);
  return insertId > 0 ? { held: true, awaited: insertId === 2 } : NOT_HELD;
}

/** A node of a cluster that finds nothing may not have the claim yet: it is asked again once it has caught up. */
async function asked(
  on: MysqlConnection,
  ask: (to: MysqlConnection) => Promise<MysqlAnswer>,
  found: (answer: MysqlAnswer) => boolean,
): Promise<MysqlAnswer> {
  const answer = await ask(on);
  return found(answer) || !on.caughtUp ? answer : ask(on.caughtUp);
}
