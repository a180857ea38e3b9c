import type { Claim, FencedAnswer, Ownership } from '../../engine/ports/record-store.js';
import { POSTGRES_NOW as NOW } from './clock.js';
import {
  BESIDE,
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

/** What we use of a `pg` pool or client. */
export interface PgConnection {
  query(statement: { text: string; name?: string; values?: unknown[] }): Promise<PgAnswer>;
}

export interface PgAnswer {
  readonly rows: PgRow[];
}

type PgRow = Record<string, unknown>;

/**
 * A statement waits for a row while another process commits it, and no longer: its connection, and the rows that share its
 * batch, must not hang on an operator's open transaction. What has to wait longer asks again. Always true, and set for the
 * statement's own transaction.
 */
const BRIEFLY = `set_config('lock_timeout', '50ms', true) <> ''`;

/** Local to a transaction: gone once it ends, by whatever statement. */
const MARK_NAME = 'nestjs_idempotency.transaction';
const MARK = `current_setting('${MARK_NAME}', true)`;

/** By SET, which is no query: a handler may still choose its isolation level. */
export function markStatement(mark: string): string {
  return `SET LOCAL ${MARK_NAME} = '${mark}'`;
}

/** invalid_text_representation: what {@link orFail} fails by. */
const NO_BOOLEAN = '22P02';

/** A completion that fails where it completes nothing, by a text that is no boolean. @param mark the parameter's number */
const orFail = (completion: string, mark: number) => `WITH completed AS (${completion})
SELECT coalesce((SELECT awaited FROM completed),
  (CASE WHEN ${MARK} = $${mark} THEN 'not held' ELSE 'ended' END)::boolean) AS awaited`;

/** Answers before the claim is on disk, where it may be forgotten: the wait for the disk is the handler's own commit's. */
const COMMIT_LATER = `AND set_config('synchronous_commit', 'off', true) <> ''`;

/** To poolers that send reads to standbys, such as pgpool: what decides is read where it is written. */
const AT_PRIMARY = '/*NO LOAD BALANCE*/ ';

const after = (ms: string) => `${NOW} + ${ms} * interval '1 ms'`;

/**
 * Long retentions end on a full minute: a completion within the same minute as its claim then leaves the indexed column
 * as it is, which makes the update heap-only.
 */
const expiry = (ms: string) =>
  `CASE WHEN ${ms} < 3600000 THEN ${after(ms)} ELSE date_trunc('minute', ${after(ms)}) + interval '1 minute' END`;

/** The record's own, unless another one is given. */
const OWN_RETENTION = 'coalesce($2::float8, r.retention_ms)';

/** What a statement returns of a record beside its id and its lease. */
const RECORD = 'owner, status, token, attempt, taken_from, attempts_left, fingerprint, binding, response_code';

/**
 * Bytes in base64, two thirds of the hexadecimal digits that `pg` asks for, and decoded in half the time.
 *
 * @param leaseUntil the end of the lease of `r`
 */
const columns = (leaseUntil: string) => `r.id, ${RECORD.replace(/\w+/g, 'r.$&')},
  encode(r.response_head, 'base64') AS response_head, encode(r.response_body, 'base64') AS response_body,
  extract(epoch FROM ${leaseUntil} - ${NOW})::float8 * 1000 AS lease_left`;

/** The types of {@link claimRow}, in which `lease` and `retention` are in milliseconds. */
const CLAIM_TYPES = 'uuid, uuid, text, text, bytea, bytea, bytea, bytea, boolean, int, float8, float8'.split(', ');
const ASKED = `asked(id, ${CLAIM_COLUMNS}, lease, retention)`;

/** The types of {@link completionRow}. */
const COMPLETION_TYPES = 'uuid, uuid, bigint, smallint, bytea, bytea, float8, bytea'.split(', ');

/**
 * Rows of parameters. Each value is a parameter of its own, as `pg` sends a Buffer as it is, but an array of them as text in
 * hexadecimal digits. The first row says the types of all.
 */
function rowsOf(types: readonly string[], count: number): string {
  const row = (cast: boolean, at: number) =>
    `(${types.map((type, i) => `$${at * types.length + i + 1}${cast ? `::${type}` : ''}`).join(', ')})`;
  return `VALUES ${Array.from({ length: count }, (_, at) => row(at === 0, at)).join(', ')}`;
}

/**
 * Always true, and decided by its first half. To the planner it makes a row expensive to look at, and so the whole table,
 * however few rows that has: a plan is made once for a connection, perhaps while the table is empty, and kept while it
 * grows.
 */
const byIndex = (r: string) => `(${r}.token > 0 OR (SELECT count(*) FROM generate_series(1, ${r}.token)) < 0)`;
const BY_INDEX = byIndex('r');

function statements({ record, step }: TableNames) {
  const beside = `FROM ${step} s WHERE s.record_id = r.id AND s.name = '${BESIDE}' AND s.token = r.token AND ${byIndex('s')}`;
  const leaseUntil = `greatest(r.lease_until, (SELECT s.updated_at ${beside}))`;
  /** Looks beside the record only where its own lease has run out. */
  const lapsed = `(r.lease_until <= ${NOW} AND ${leaseUntil} <= ${NOW})`;
  const awaited = `(r.awaited OR EXISTS (SELECT ${beside} AND s.status = 'awaited'))`;
  const asItStands = columns(leaseUntil);

  const isExecuting = executing({ r: 'r.', lapsed });
  const isUnknown = unknown({ r: 'r.', lapsed });
  /** @param isLapsed a condition: the lease of `r` has run out */
  const moveIf = (isLapsed: string) =>
    move({
      r: 'r.',
      n: (column) => `i.${column}`,
      now: NOW,
      lapsed: isLapsed,
      differ: (a, b) => `${a} IS DISTINCT FROM ${b}`,
    });
  const decided = moveIf(lapsed);

  /**
   * Reads first: a replay writes nothing, and a claim that must stand back does not wait for a transaction that has written the
   * record. A record that became visible only after the statement's snapshot is found by ON CONFLICT, and gets no row.
   *
   * A record that is free is left to {@link takeOver}, as few are: what it takes to decide on them costs every statement.
   *
   * The claims are inserted in the order in which they come, sorted by id, so that concurrent batches do not deadlock.
   */
  const claim = (count: number, andWhere = '') => `
WITH ${ASKED} AS MATERIALIZED (${rowsOf(CLAIM_TYPES, count)}),
existing AS MATERIALIZED (
  SELECT ${columns('r.lease_until')}, ${moveIf(`r.lease_until <= ${NOW}`)} <> 'stand' AS is_free
  FROM asked i CROSS JOIN LATERAL (SELECT * FROM ${record} r WHERE r.id = i.id AND ${BY_INDEX} OFFSET 0) r
), claimed AS (
  INSERT INTO ${record} AS r (id, ${CLAIM_COLUMNS}, status, token, attempt, awaited, lease_until, created_at, expires_at, retention_ms)
  SELECT id, ${CLAIM_COLUMNS}, 'processing', 1, 1, false, ${after('lease')}, ${NOW}, ${expiry('retention')}, retention::bigint
  FROM asked WHERE id IS NOT NULL AND id NOT IN (SELECT id FROM existing) AND ${BRIEFLY} ${andWhere}
  ON CONFLICT (id) DO NOTHING RETURNING r.id
)
SELECT * FROM existing UNION ALL SELECT id, ${RECORD.replace(/\w+/g, 'NULL')}, NULL, NULL, NULL, NULL FROM claimed`;

  const takeOver = (count: number) => `
WITH ${ASKED} AS MATERIALIZED (${rowsOf(CLAIM_TYPES, count)}),
held AS (
  UPDATE ${record} r SET status = 'held' FROM asked i WHERE r.id = i.id AND ${BY_INDEX} AND ${decided} = 'hold'
)
UPDATE ${record} r SET owner = i.owner, endpoint = i.endpoint, route = i.route, scope_digest = i.scope_digest,
  fingerprint = i.fingerprint, binding = i.binding, request = i.request, status = 'processing', token = r.token + 1,
  attempt = CASE ${decided} WHEN 'restart' THEN 1 ELSE r.attempt + 1 END, taken_from = r.status,
  hold_on_crash = i.hold_on_crash, awaited = false,
  attempts_left = CASE r.status WHEN 'processing' THEN r.attempts_left - 1 ELSE i.attempts_left END,
  lease_until = ${after('i.lease')}, created_at = CASE ${decided} WHEN 'restart' THEN ${NOW} ELSE r.created_at END,
  completed_at = NULL, expires_at = ${expiry('i.retention')}, retention_ms = i.retention::bigint,
  response_code = NULL, response_head = NULL, response_body = NULL
FROM asked i WHERE r.id = i.id AND ${BY_INDEX} AND ${decided} IN ('restart', 'take')`;

  const complete = (count: number, andWhere = BRIEFLY, isAwaited = 'r.awaited') => `
UPDATE ${record} r SET status = 'done', response_code = i.code, response_head = i.head, response_body = i.body,
  completed_at = ${NOW}, expires_at = ${expiry('i.retention')}, fingerprint = coalesce(i.fingerprint, r.fingerprint)
FROM (${rowsOf(COMPLETION_TYPES, count)}) AS i(id, owner, token, code, head, body, retention, fingerprint)
WHERE r.id = i.id AND r.owner = i.owner AND r.token = i.token AND r.status = 'processing' AND ${BY_INDEX} AND ${andWhere}
RETURNING r.id, ${isAwaited} AS awaited`;

  const isExpired = expired(
    { r: 'r.', now: NOW },
    `r.lease_until + r.retention_ms * interval '1 ms' <= ${NOW}
    AND NOT EXISTS (SELECT FROM ${step} s WHERE s.record_id = r.id
      AND (s.name <> '${BESIDE}' OR s.updated_at + r.retention_ms * interval '1 ms' > ${NOW}))`,
  );

  /** A transaction with an older snapshot cannot see whether a request waits. */
  const completeWithin = complete(
    1,
    `${MARK} = $${COMPLETION_TYPES.length + 1}`,
    `(current_setting('transaction_isolation') <> 'read committed' OR ${awaited})`,
  );

  const owned = `r.id = $1 AND r.owner = $2 AND r.token = $3 AND r.status = 'processing' AND ${BRIEFLY}`;

  return {
    claim,
    claimLater: (count: number) => claim(count, COMMIT_LATER),
    takeOver,
    complete: (count: number) => complete(count),
    completeWithin,
    completeLast: orFail(completeWithin, COMPLETION_TYPES.length + 1),
    mark: `SELECT ${MARK} AS mark`,
    lock: `SELECT FROM ${record} r WHERE r.id = ANY($1::uuid[]) AND ${BY_INDEX} AND ${BRIEFLY} ORDER BY r.id FOR UPDATE`,
    readMany: `${AT_PRIMARY}SELECT ${asItStands} FROM ${record} r WHERE r.id = ANY($1::uuid[]) AND ${BY_INDEX}`,
    read: `${AT_PRIMARY}SELECT ${asItStands} FROM ${record} r WHERE r.id = $1 AND ${BY_INDEX}
      AND (r.expires_at > ${NOW} OR r.status IN ('processing', 'held'))`,
    letGo: `UPDATE ${record} r SET status = $4, lease_until = ${NOW}, expires_at = ${expiry('$5::float8')}
      WHERE ${owned} RETURNING ${awaited} AS awaited`,
    /** The steps are those of an operation that had expired. */
    discard: `WITH gone AS (DELETE FROM ${record} r WHERE ${owned} AND r.attempt = 1 RETURNING r.id, ${awaited} AS awaited),
      steps AS (DELETE FROM ${step} s USING gone WHERE s.record_id = gone.id),
      back AS (UPDATE ${record} r SET status = 'failed', lease_until = ${NOW}, expires_at = ${expiry('r.retention_ms')}
        WHERE ${owned} AND r.attempt > 1 RETURNING ${awaited} AS awaited)
      SELECT awaited FROM gone UNION ALL SELECT awaited FROM back`,
    renew: `WITH renewed AS (UPDATE ${record} r SET lease_until = ${after('$4::float8')} WHERE ${owned}
        RETURNING r.id, r.lease_until, ${awaited} AS awaited),
      beside AS (UPDATE ${step} s SET updated_at = renewed.lease_until FROM renewed
        WHERE s.record_id = renewed.id AND s.name = '${BESIDE}' AND ${byIndex('s')})
      SELECT awaited FROM renewed`,
    /** Locks the record, so that a claim which takes over has to wait, and then finds the lease renewed. */
    renewBeside: `INSERT INTO ${step} AS s (record_id, name, status, token, updated_at)
      SELECT r.id, '${BESIDE}', 'running', r.token, ${after('$4::float8')} FROM ${record} r WHERE ${owned} FOR UPDATE
      ON CONFLICT (record_id, name) DO UPDATE SET token = excluded.token, updated_at = excluded.updated_at,
        status = CASE WHEN s.token = excluded.token THEN s.status ELSE excluded.status END
      RETURNING s.status = 'awaited' AS awaited`,
    markAwaited: `UPDATE ${record} r SET awaited = true WHERE r.id = $1 AND r.status = 'processing' AND NOT r.awaited
      AND ${BRIEFLY}`,
    /**
     * Locks the record, so that its completion is seen here, or sees this. One that waits for this very lock sees neither: then
     * the next look finds it.
     */
    markAwaitedBeside: `INSERT INTO ${step} AS s (record_id, name, status, token, updated_at)
      SELECT r.id, '${BESIDE}', 'awaited', r.token, r.lease_until FROM ${record} r
      WHERE r.id = $1 AND r.status = 'processing' AND ${BY_INDEX} AND ${BRIEFLY} FOR UPDATE
      ON CONFLICT (record_id, name) DO UPDATE SET token = excluded.token, status = excluded.status,
        updated_at = CASE WHEN s.token = excluded.token THEN s.updated_at ELSE excluded.updated_at END`,
    /** Tokens and attempts grow together, so this leaves out the steps of an operation that expired. */
    loadSteps: `${AT_PRIMARY}SELECT s.name, s.status, s.result FROM ${step} s JOIN ${record} r ON r.id = s.record_id
      WHERE s.record_id = $1 AND s.token > r.token - r.attempt AND s.name <> '${BESIDE}'`,
    putStep: `INSERT INTO ${step} AS s (record_id, name, status, token, result, updated_at)
      SELECT r.id, $4, $5, r.token, $6, ${NOW} FROM ${record} r WHERE ${owned} FOR UPDATE
      ON CONFLICT (record_id, name) DO UPDATE SET status = excluded.status, token = excluded.token,
        result = excluded.result, updated_at = excluded.updated_at
      RETURNING false AS awaited`,
    resolveDone: `UPDATE ${record} r SET status = 'done', owner = '${NOBODY}', response_code = $3, response_head = $4, response_body = $5,
      completed_at = ${NOW}, expires_at = ${expiry(OWN_RETENTION)} WHERE r.id = $1 AND r.token = coalesce($6, r.token) AND ${isUnknown}
      AND ${BRIEFLY} RETURNING r.id`,
    resolveFree: `WITH freed AS (UPDATE ${record} r SET status = 'failed', expires_at = ${expiry(OWN_RETENTION)}
        WHERE r.id = $1 AND r.token = coalesce($3, r.token) AND ${isUnknown} AND ${BRIEFLY} RETURNING r.id),
      steps AS (UPDATE ${step} s SET status = 'failed' FROM freed WHERE s.record_id = freed.id AND s.status = 'begun')
      SELECT id FROM freed`,
    forget: `DELETE FROM ${record} r WHERE r.id = $1 AND r.token = coalesce($2, r.token) AND ($3::boolean OR NOT ${isExecuting})
      AND ${BRIEFLY} RETURNING r.id`,
    ofScope: `${AT_PRIMARY}SELECT r.id FROM ${record} r WHERE r.scope_digest = ANY($1::bytea[]) AND NOT ${isExecuting} LIMIT $2`,
    /** Asked again, as an execution may have begun meanwhile. */
    forgetMany: `DELETE FROM ${record} r WHERE r.id = ANY($1::uuid[]) AND NOT ${isExecuting} AND ${BY_INDEX} AND ${BRIEFLY}
      RETURNING r.id`,
    /** With its table, as the same place in two partitions holds two rows. */
    sweep: `WITH doomed AS (
        SELECT r.tableoid, r.ctid FROM ${record} r WHERE ${isExpired} LIMIT $1 FOR UPDATE SKIP LOCKED
      ) DELETE FROM ${record} r USING doomed WHERE r.tableoid = doomed.tableoid AND r.ctid = doomed.ctid RETURNING r.id`,
    forgetSteps: `DELETE FROM ${step} s WHERE s.record_id = ANY($1::uuid[])`,
  };
}

type Statements = ReturnType<typeof statements>;
type RowsStatement = 'claim' | 'claimLater' | 'takeOver' | 'complete';
type SingleStatement = Exclude<keyof Statements, RowsStatement>;

export class PostgresDialect implements Dialect<PgConnection> {
  readonly name = 'postgres';
  readonly batches = true;

  private made: Statements | undefined;
  private readonly texts = new Map<string, string>();

  constructor(private readonly tables: TableNames) {}

  private get sql(): Statements {
    return (this.made ??= statements(this.tables));
  }

  async claim(on: PgConnection, claims: readonly Claim[]): Promise<readonly RecordRow[]> {
    const name = claims.every((claim) => claim.asyncCommit) ? 'claimLater' : 'claim';
    const { rows } = await this.runRows(on, name, claims.map(claimRow));
    if (rows.length === claims.length && rows.every(isClaimed)) return claims.map(claimed);
    const byId = new Map(rows.map((row) => [row.id, isClaimed(row) ? undefined : recordOf(row)]));
    const lapsed = [...byId.values()].filter((record) => record?.isFree && record.status === 'processing');
    for (const record of lapsed.length > 0 ? await this.readMany(on, lapsed as RecordRow[]) : []) {
      const isFree = record.status !== 'done' && record.leaseLeftMs <= 0;
      byId.set(record.recordId, isFree ? { ...record, isFree } : record);
    }
    const found = claims.filter(({ recordId }) => byId.has(recordId));
    // Records that others made while the statement ran, and that it sees when it runs again.
    const missed = claims.filter(({ recordId }) => !byId.has(recordId));
    const records = found.map((claim) => byId.get(claim.recordId) ?? claimed(claim));
    return missed.length > 0 ? [...records, ...(await this.claim(on, missed))] : records;
  }

  /** The second statement sees every heartbeat that was there before the lock. */
  async takeOver(on: PgConnection, claims: readonly Claim[]): Promise<readonly RecordRow[]> {
    await this.run(on, 'lock', [claims.map(({ recordId }) => recordId)]);
    await this.runRows(on, 'takeOver', claims.map(claimRow));
    const found = await this.readMany(on, claims);
    const gone = claims.filter(({ recordId }) => !found.some((record) => record.recordId === recordId));
    return gone.length > 0 ? [...found, ...(await this.claim(on, gone))] : found;
  }

  private async readMany(on: PgConnection, records: readonly { recordId: string }[]): Promise<readonly RecordRow[]> {
    const { rows } = await this.run(on, 'readMany', [records.map(({ recordId }) => recordId)]);
    return rows.map(recordOf);
  }

  async read(on: PgConnection, recordId: string): Promise<RecordRow | undefined> {
    const { rows } = await this.run(on, 'read', [recordId]);
    return rows.length ? recordOf(rows[0]) : undefined;
  }

  async complete(on: PgConnection, completions: readonly CompletionRow[]): Promise<ReadonlyMap<string, FencedAnswer>> {
    const answer = await this.runRows(on, 'complete', completions.map(completionRow));
    return new Map(answer.rows.map((r) => [r.id as string, { held: true, awaited: r.awaited as boolean }]));
  }

  async markTransaction(on: PgConnection, mark: string): Promise<void> {
    await on.query({ text: markStatement(mark) });
  }

  async completeWithin(on: PgConnection, mark: string, c: CompletionRow): Promise<FencedAnswer | 'ended'> {
    const { rows } = await this.run(on, 'completeWithin', [...completionRow(c), mark]);
    if (rows.length) return { held: true, awaited: rows[0].awaited as boolean };
    const found = await this.run(on, 'mark', []);
    return found.rows[0].mark === mark ? NOT_HELD : 'ended';
  }

  async completeLast(on: PgConnection, mark: string, c: CompletionRow): Promise<FencedAnswer | 'ended'> {
    try {
      const { rows } = await this.run(on, 'completeLast', [...completionRow(c), mark]);
      return { held: true, awaited: rows[0].awaited as boolean };
    } catch (error) {
      const { code, message } = error as { code?: unknown; message: string };
      if (code !== NO_BOOLEAN) throw error;
      return message.includes('ended') ? 'ended' : NOT_HELD;
    }
  }

  async isInTransaction(_on: PgConnection): Promise<boolean> {
    return true;
  }

  letGo(on: PgConnection, ownership: Ownership, status: LetGo, retentionMs: number): Promise<FencedAnswer> {
    return this.fenced(on, 'letGo', ownership, status, retentionMs);
  }

  discard(on: PgConnection, ownership: Ownership): Promise<FencedAnswer> {
    return this.fenced(on, 'discard', ownership);
  }

  renew(on: PgConnection, ownership: Ownership, leaseMs: number, transactional: boolean): Promise<FencedAnswer> {
    return this.fenced(on, transactional ? 'renewBeside' : 'renew', ownership, leaseMs);
  }

  async markAwaited(on: PgConnection, recordId: string, transactional: boolean): Promise<void> {
    await this.run(on, transactional ? 'markAwaitedBeside' : 'markAwaited', [recordId]);
  }

  async loadSteps(on: PgConnection, recordId: string): Promise<readonly StepRow[]> {
    const { rows } = await this.run(on, 'loadSteps', [recordId]);
    return rows as unknown as StepRow[];
  }

  putStep(on: PgConnection, ownership: Ownership, step: StepRow): Promise<FencedAnswer> {
    return this.fenced(on, 'putStep', ownership, step.name, step.status, step.result);
  }

  async resolveHeld(
    on: PgConnection,
    recordId: string,
    outcome: OutcomeRow | null,
    retentionMs: number | null,
    token: number | null,
  ): Promise<boolean> {
    await this.run(on, 'lock', [[recordId]]);
    const { rows } = outcome
      ? await this.run(on, 'resolveDone', [recordId, retentionMs, outcome.code, outcome.head, outcome.body, token])
      : await this.run(on, 'resolveFree', [recordId, retentionMs, token]);
    return rows.length > 0;
  }

  async forget(
    on: PgConnection,
    recordId: string,
    { token = null, evenIfRunning = true }: Unchanged,
  ): Promise<boolean> {
    if (!evenIfRunning) await this.run(on, 'lock', [[recordId]]);
    return (await this.delete(on, 'forget', recordId, token, evenIfRunning)) > 0;
  }

  async forgetScope(on: PgConnection, digests: readonly Buffer[], limit: number): Promise<ForgottenBatch> {
    const { rows } = await this.run(on, 'ofScope', [digests, limit]);
    if (rows.length === 0) return { found: 0, forgotten: 0 };
    const ids = rows.map((row) => row.id);
    // A statement that waits for the lock itself sees the leases as they were before.
    await this.run(on, 'lock', [ids]);
    return { found: rows.length, forgotten: await this.delete(on, 'forgetMany', ids) };
  }

  sweep(on: PgConnection, limit: number): Promise<number> {
    return this.delete(on, 'sweep', limit);
  }

  /** Steps by a statement of their own, which sees those that were written until the record was locked. */
  private async delete(
    on: PgConnection,
    name: 'forget' | 'forgetMany' | 'sweep',
    ...values: unknown[]
  ): Promise<number> {
    const { rows } = await this.run(on, name, values);
    if (rows.length) await this.run(on, 'forgetSteps', [rows.map((row) => row.id)]);
    return rows.length;
  }

  private async fenced(
    on: PgConnection,
    name: 'letGo' | 'discard' | 'renew' | 'renewBeside' | 'putStep',
    { recordId, owner, token }: Ownership,
    ...values: unknown[]
  ): Promise<FencedAnswer> {
    const { rows } = await this.run(on, name, [recordId, owner, token, ...values]);
    return rows.length ? { held: true, awaited: rows[0].awaited as boolean } : NOT_HELD;
  }

  /**
   * Runs a statement of many rows, padded to a power of two: a connection keeps few of them prepared, whatever comes together. A row
   * of padding is NULL, and meets no record.
   */
  private runRows(on: PgConnection, name: RowsStatement, rows: readonly unknown[][]): Promise<PgAnswer> {
    const count = 2 ** Math.ceil(Math.log2(rows.length));
    const values: unknown[] = Array(count * rows[0].length).fill(null);
    let at = 0;
    for (const row of rows) for (const value of row) values[at++] = value;
    return on.query({ name: `nestjs_idempotency_${name}${count}`, text: this.textOf(name, count), values });
  }

  /** Prepared by name: planning a statement costs more than running it. */
  private run(on: PgConnection, name: SingleStatement, values: unknown[]): Promise<PgAnswer> {
    return on.query({ name: `nestjs_idempotency_${name}`, text: this.sql[name], values });
  }

  private textOf(name: RowsStatement, count: number): string {
    const key = `${name}${count}`;
    let text = this.texts.get(key);
    if (!text) this.texts.set(key, (text = this.sql[name](count)));
    return text;
  }
}

function recordOf(row: PgRow): RecordRow {
  row.response_head = bytes(row.response_head);
  row.response_body = bytes(row.response_body);
  return toRecord(row);
}

function bytes(base64: unknown): Buffer | null {
  return base64 === null ? null : Buffer.from(base64 as string, 'base64');
}

function claimRow(c: Claim): unknown[] {
  return [c.recordId, ...claimValues(c), c.leaseMs, c.retentionMs];
}

function completionRow(c: CompletionRow): unknown[] {
  return [c.recordId, c.owner, c.token, c.code, c.head, c.body, c.retentionMs, c.fingerprint];
}

/** A claim that was inserted: the database knows nothing of it that the claim does not say. */
function isClaimed(row: PgRow): boolean {
  return row.status === null;
}

function claimed(c: Claim): RecordRow {
  return {
    recordId: c.recordId,
    owner: c.owner,
    status: 'processing',
    token: 1,
    attempt: 1,
    takenFrom: null,
    attemptsLeft: c.maxAttempts - 1,
    fingerprint: c.fingerprint,
    binding: c.binding,
    leaseLeftMs: c.leaseMs,
    outcome: null,
  };
}
