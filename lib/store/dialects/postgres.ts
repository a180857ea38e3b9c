import type { Claim, FencedAnswer, Ownership } from '../../engine/ports/record-store.js';
import {
  BESIDE,
  type CompletionRow,
  type Dialect,
  type ForgottenBatch,
  isLapsed,
  type LetGo,
  NOBODY,
  NOT_HELD,
  type OutcomeRow,
  type RecordRow,
  type StepRow,
  type TableNames,
  toRecord,
} from './dialect.js';

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

/** Answers before the claim is on disk, where it may be forgotten: the wait for the disk is the handler's own commit's. */
const COMMIT_LATER = `AND set_config('synchronous_commit', 'off', true) <> ''`;

const NOW = 'clock_timestamp()';
const after = (ms: string) => `${NOW} + ${ms} * interval '1 ms'`;

/**
 * Long retentions end on a full minute: a completion within the same minute as its claim then leaves the indexed column
 * as it is, which makes the update heap-only.
 */
const expiry = (ms: string) =>
  `CASE WHEN ${ms} < 3600000 THEN ${after(ms)} ELSE date_trunc('minute', ${after(ms)}) + interval '1 minute' END`;

/** The record's own, unless another one is given. */
const OWN_RETENTION = 'coalesce($2::float8, r.retention_ms)';

/**
 * What a claim does to the record that stands: `r` is the record, `n` the claim.
 *
 * @param lapsed a condition: the lease of `r` has run out. Without one, leases are not judged.
 */
const move = (r: string, n: string, lapsed = '') => `CASE
  WHEN ${r}.expires_at <= ${NOW} AND ${r}.status IN ('done', 'failed') THEN 'restart'
  WHEN ${r}.fingerprint <> ${n}.fingerprint OR ${r}.binding IS DISTINCT FROM ${n}.binding THEN 'stand'
  WHEN ${r}.status = 'failed' THEN 'take'${
    lapsed &&
    `
  WHEN ${r}.status = 'processing' AND ${lapsed}
    THEN CASE WHEN ${r}.hold_on_crash OR ${n}.hold_on_crash OR ${r}.attempts_left <= 0 THEN 'hold' ELSE 'take' END`
  }
  ELSE 'stand' END`;

/** @param leaseUntil the end of the lease of `r` */
const columns = (leaseUntil: string) => `r.id, r.owner, r.status, r.token, r.attempt, r.taken_from, r.attempts_left,
  r.fingerprint, r.binding, extract(epoch FROM ${leaseUntil} - ${NOW})::float8 * 1000 AS lease_left,
  r.response_code, r.response_head, r.response_body`;

const CLAIM_TYPES = [
  'uuid',
  'uuid',
  'text',
  'text',
  'bytea',
  'bytea',
  'bytea',
  'bytea',
  'float8',
  'float8',
  'boolean',
  'int',
];
const COMPLETION_TYPES = ['uuid', 'uuid', 'bigint', 'smallint', 'bytea', 'bytea', 'float8', 'bytea'];

const row = (types: readonly string[]) => `(VALUES (${types.map((type, i) => `$${i + 1}::${type}`).join(', ')}))`;
/**
 * The arrays stand in sub-selects, so that the planner does not see how long they are: seeing it, it would make a new
 * plan for every batch.
 */
const rows = (types: readonly string[]) =>
  `unnest(${types.map((type, i) => `(SELECT $${i + 1}::${type}[])`).join(', ')})`;

/**
 * Always true, and decided by its first half. To the planner it makes a row dear to look at, and so the whole table,
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

  const executing = `(r.status = 'processing' AND NOT ${lapsed})`;

  /** Held, or about to be: its owner fell silent, and nobody has asked since. */
  const unknown = `(r.status = 'held' OR (r.status = 'processing' AND r.hold_on_crash AND ${lapsed}))`;

  /**
   * Reads first, so that a replay writes nothing. A record that became visible only after the statement's snapshot is
   * found by ON CONFLICT. A claim that must stand back gets no row then: the record's own transaction may have begun, and
   * must not find the row changed. Locks are taken in the order of ids, however the claims are joined, so that concurrent
   * batches do not deadlock.
   */
  const claim = (
    claims: string,
    {
      andWhere = '',
      ifLapsed = '',
      shown = columns('r.lease_until'),
    }: Partial<Record<'andWhere' | 'ifLapsed' | 'shown', string>> = {},
  ) => `
WITH asked AS MATERIALIZED (
  SELECT * FROM ${claims} AS i(id, owner, endpoint, route, scope_digest, fingerprint, binding, request, lease, retention, hold_on_crash,
    attempts_left)
  WHERE ${BRIEFLY} ${andWhere}
), standing AS MATERIALIZED (
  SELECT ${shown}
  FROM asked i CROSS JOIN LATERAL (SELECT * FROM ${record} r WHERE r.id = i.id AND ${BY_INDEX} OFFSET 0) r
  WHERE ${move('r', 'i', ifLapsed)} = 'stand'
), claimed AS (
  INSERT INTO ${record} AS r (id, owner, endpoint, route, scope_digest, fingerprint, binding, request, status, token,
    attempt, hold_on_crash, attempts_left, awaited, lease_until, created_at, expires_at, retention_ms)
  SELECT i.id, i.owner, i.endpoint, i.route, i.scope_digest, i.fingerprint, i.binding, i.request, 'processing', 1,
    1, i.hold_on_crash, i.attempts_left, false, ${after('i.lease')}, ${NOW}, ${expiry('i.retention')}, i.retention::bigint
  FROM asked i WHERE NOT EXISTS (SELECT FROM standing s WHERE s.id = i.id)
  ORDER BY i.id
  ON CONFLICT (id) DO UPDATE SET
    (owner, endpoint, route, scope_digest, fingerprint, binding, request, status, token, attempt, taken_from,
      hold_on_crash, attempts_left, awaited, lease_until, created_at, completed_at, expires_at, retention_ms, response_code, response_head,
      response_body) = (
    SELECT CASE WHEN won THEN excluded.owner ELSE r.owner END,
      CASE WHEN won THEN excluded.endpoint ELSE r.endpoint END,
      CASE WHEN won THEN excluded.route ELSE r.route END,
      CASE WHEN won THEN excluded.scope_digest ELSE r.scope_digest END,
      CASE WHEN won THEN excluded.fingerprint ELSE r.fingerprint END,
      CASE WHEN won THEN excluded.binding ELSE r.binding END,
      CASE WHEN won THEN excluded.request ELSE r.request END,
      CASE WHEN won THEN 'processing' WHEN move = 'hold' THEN 'held' ELSE r.status END,
      CASE WHEN won THEN r.token + 1 ELSE r.token END,
      CASE move WHEN 'restart' THEN 1 WHEN 'take' THEN r.attempt + 1 ELSE r.attempt END,
      CASE WHEN won THEN r.status ELSE r.taken_from END,
      CASE WHEN won THEN excluded.hold_on_crash ELSE r.hold_on_crash END,
      CASE WHEN NOT won THEN r.attempts_left WHEN r.status = 'processing' THEN r.attempts_left - 1
        ELSE excluded.attempts_left END,
      CASE WHEN won THEN false ELSE r.awaited END,
      CASE WHEN won THEN excluded.lease_until ELSE r.lease_until END,
      CASE move WHEN 'restart' THEN excluded.created_at ELSE r.created_at END,
      CASE WHEN won THEN NULL ELSE r.completed_at END,
      CASE WHEN won THEN excluded.expires_at ELSE r.expires_at END,
      CASE WHEN won THEN excluded.retention_ms ELSE r.retention_ms END,
      CASE WHEN won THEN NULL ELSE r.response_code END,
      CASE WHEN won THEN NULL ELSE r.response_head END,
      CASE WHEN won THEN NULL ELSE r.response_body END
    FROM (SELECT move, move IN ('restart', 'take') AS won FROM (SELECT ${move('r', 'excluded', ifLapsed)} AS move) a) b)
  WHERE ${move('r', 'excluded', ifLapsed)} <> 'stand'
  RETURNING ${shown}
)
SELECT * FROM standing UNION ALL SELECT * FROM claimed`;

  const complete = (completions: string, andWhere: string, isAwaited = 'r.awaited') => `
UPDATE ${record} r SET status = 'done', response_code = i.code, response_head = i.head, response_body = i.body,
  completed_at = ${NOW}, expires_at = ${expiry('i.retention')}, fingerprint = coalesce(i.fingerprint, r.fingerprint)
FROM ${completions} AS i(id, owner, token, code, head, body, retention, fingerprint)
WHERE r.id = i.id AND r.owner = i.owner AND r.token = i.token AND r.status = 'processing' AND ${BY_INDEX} AND ${andWhere}
RETURNING r.id, ${isAwaited} AS awaited`;

  /**
   * An operation without an outcome does not expire: a retry has to find its steps. What its owner left, without a step,
   * and nobody asked for during a whole retention, is of no use to anyone.
   */
  const expired = `r.expires_at <= ${NOW} AND (r.status IN ('done', 'failed') OR (r.status = 'processing'
    AND NOT r.hold_on_crash AND r.lease_until + r.retention_ms * interval '1 ms' <= ${NOW}
    AND NOT EXISTS (SELECT FROM ${step} s WHERE s.record_id = r.id
      AND (s.name <> '${BESIDE}' OR s.updated_at + r.retention_ms * interval '1 ms' > ${NOW}))))`;

  const owned = `r.id = $1 AND r.owner = $2 AND r.token = $3 AND r.status = 'processing' AND ${BRIEFLY}`;

  return {
    claimOne: claim(row(CLAIM_TYPES)),
    claimMany: claim(rows(CLAIM_TYPES)),
    claimOneLater: claim(row(CLAIM_TYPES), { andWhere: COMMIT_LATER }),
    claimManyLater: claim(rows(CLAIM_TYPES), { andWhere: COMMIT_LATER }),
    takeOver: claim(rows(CLAIM_TYPES), { ifLapsed: lapsed, shown: asItStands }),
    completeOne: complete(row(COMPLETION_TYPES), BRIEFLY),
    completeMany: complete(rows(COMPLETION_TYPES), BRIEFLY),
    /** A transaction with an older snapshot cannot see whether a request waits. */
    completeWithin: complete(
      row(COMPLETION_TYPES),
      `${MARK} = $${COMPLETION_TYPES.length + 1}`,
      `(current_setting('transaction_isolation') <> 'read committed' OR ${awaited})`,
    ),
    mark: `SELECT ${MARK} AS mark`,
    lock: `SELECT FROM ${record} r WHERE r.id = ANY($1::uuid[]) AND ${BY_INDEX} AND ${BRIEFLY} ORDER BY r.id FOR UPDATE`,
    readMany: `SELECT ${asItStands} FROM ${record} r WHERE r.id = ANY($1::uuid[]) AND ${BY_INDEX}`,
    read: `SELECT ${asItStands} FROM ${record} r WHERE r.id = $1 AND ${BY_INDEX}
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
    loadSteps: `SELECT s.name, s.status, s.result FROM ${step} s JOIN ${record} r ON r.id = s.record_id
      WHERE s.record_id = $1 AND s.token > r.token - r.attempt AND s.name <> '${BESIDE}'`,
    putStep: `INSERT INTO ${step} AS s (record_id, name, status, token, result, updated_at)
      SELECT r.id, $4, $5, r.token, $6, ${NOW} FROM ${record} r WHERE ${owned} FOR UPDATE
      ON CONFLICT (record_id, name) DO UPDATE SET status = excluded.status, token = excluded.token,
        result = excluded.result, updated_at = excluded.updated_at
      RETURNING false AS awaited`,
    resolveDone: `UPDATE ${record} r SET status = 'done', owner = '${NOBODY}', response_code = $3, response_head = $4, response_body = $5,
      completed_at = ${NOW}, expires_at = ${expiry(OWN_RETENTION)} WHERE r.id = $1 AND ${unknown} AND ${BRIEFLY} RETURNING r.id`,
    resolveFree: `WITH freed AS (UPDATE ${record} r SET status = 'failed', expires_at = ${expiry(OWN_RETENTION)}
        WHERE r.id = $1 AND ${unknown} AND ${BRIEFLY} RETURNING r.id),
      steps AS (UPDATE ${step} s SET status = 'failed' FROM freed WHERE s.record_id = freed.id AND s.status = 'begun')
      SELECT id FROM freed`,
    forget: `DELETE FROM ${record} r WHERE r.id = $1 AND ${BRIEFLY} RETURNING r.id`,
    ofScope: `SELECT r.id FROM ${record} r WHERE r.scope_digest = ANY($1::bytea[]) AND NOT ${executing} LIMIT $2`,
    /** Asked again, as an execution may have begun meanwhile. */
    forgetMany: `DELETE FROM ${record} r WHERE r.id = ANY($1::uuid[]) AND NOT ${executing} AND ${BY_INDEX} AND ${BRIEFLY}
      RETURNING r.id`,
    /** With its table, as the same place in two partitions holds two rows. */
    sweep: `WITH doomed AS (
        SELECT r.tableoid, r.ctid FROM ${record} r WHERE ${expired} LIMIT $1 FOR UPDATE SKIP LOCKED
      ) DELETE FROM ${record} r USING doomed WHERE r.tableoid = doomed.tableoid AND r.ctid = doomed.ctid RETURNING r.id`,
    forgetSteps: `DELETE FROM ${step} s WHERE s.record_id = ANY($1::uuid[])`,
  };
}

export class PostgresDialect implements Dialect<PgConnection> {
  readonly name = 'postgres';
  readonly batches = true;

  private made: ReturnType<typeof statements> | undefined;

  constructor(private readonly tables: TableNames) {}

  private get sql(): ReturnType<typeof statements> {
    return (this.made ??= statements(this.tables));
  }

  async claim(on: PgConnection, claims: readonly Claim[]): Promise<readonly RecordRow[]> {
    const later = claims.every((claim) => claim.forgettable) ? 'Later' : '';
    const answer =
      claims.length === 1
        ? await this.run(on, `claimOne${later}`, claimValues(claims[0]))
        : await this.run(on, `claimMany${later}`, columnwise(claims.map(claimValues)));
    const found = answer.rows.map(toRecord);
    const lapsed = found.filter(isLapsed).map(({ recordId }) => recordId);
    if (lapsed.length === 0 && found.length === claims.length) return found;
    const renewed = lapsed.length > 0 ? (await this.run(on, 'readMany', [lapsed])).rows.map(toRecord) : [];
    const byId = new Map([...found, ...renewed].map((record) => [record.recordId, record]));
    // Records that others made while the statement ran, and that it sees when it runs again.
    const missed = claims.filter(({ recordId }) => !byId.has(recordId));
    return [...byId.values(), ...(missed.length > 0 ? await this.claim(on, missed) : [])];
  }

  /** The second statement sees every heartbeat that was there before the lock. */
  async takeOver(on: PgConnection, claims: readonly Claim[]): Promise<readonly RecordRow[]> {
    await this.run(on, 'lock', [claims.map(({ recordId }) => recordId)]);
    const { rows } = await this.run(on, 'takeOver', columnwise(claims.map(claimValues)));
    return rows.map(toRecord);
  }

  async read(on: PgConnection, recordId: string): Promise<RecordRow | undefined> {
    const { rows } = await this.run(on, 'read', [recordId]);
    return rows.length ? toRecord(rows[0]) : undefined;
  }

  async complete(on: PgConnection, completions: readonly CompletionRow[]): Promise<ReadonlyMap<string, FencedAnswer>> {
    const answer =
      completions.length === 1
        ? await this.run(on, 'completeOne', completionValues(completions[0]))
        : await this.run(on, 'completeMany', columnwise(completions.map(completionValues)));
    return new Map(answer.rows.map((r) => [r.id as string, { held: true, awaited: r.awaited as boolean }]));
  }

  async markTransaction(on: PgConnection, mark: string): Promise<void> {
    await on.query({ text: markStatement(mark) });
  }

  async completeWithin(on: PgConnection, mark: string, c: CompletionRow): Promise<FencedAnswer | 'ended'> {
    const { rows } = await this.run(on, 'completeWithin', [...completionValues(c), mark]);
    if (rows.length) return { held: true, awaited: rows[0].awaited as boolean };
    const found = await this.run(on, 'mark', []);
    return found.rows[0].mark === mark ? NOT_HELD : 'ended';
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
  ): Promise<boolean> {
    await this.run(on, 'lock', [[recordId]]);
    const { rows } = outcome
      ? await this.run(on, 'resolveDone', [recordId, retentionMs, outcome.code, outcome.head, outcome.body])
      : await this.run(on, 'resolveFree', [recordId, retentionMs]);
    return rows.length > 0;
  }

  async forget(on: PgConnection, recordId: string): Promise<boolean> {
    return (await this.delete(on, 'forget', recordId)) > 0;
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
  private async delete(on: PgConnection, name: 'forget' | 'forgetMany' | 'sweep', value: unknown): Promise<number> {
    const { rows } = await this.run(on, name, [value]);
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

  /** Prepared by name: planning a claim costs more than running it. */
  private run(on: PgConnection, name: keyof ReturnType<typeof statements>, values: unknown[]) {
    return on.query({ name: `nestjs_idempotency_${name}`, text: this.sql[name], values });
  }
}

function claimValues(c: Claim): unknown[] {
  return [
    c.recordId,
    c.owner,
    c.endpoint,
    c.route,
    c.scopeDigest,
    c.fingerprint,
    c.binding,
    c.request,
    c.leaseMs,
    c.retentionMs,
    c.holdOnCrash,
    c.maxAttempts - 1,
  ];
}

function completionValues(c: CompletionRow): unknown[] {
  return [c.recordId, c.owner, c.token, c.code, c.head, c.body, c.retentionMs, c.fingerprint];
}

function columnwise(rows: readonly unknown[][]): unknown[][] {
  return rows[0].map((_, column) => rows.map((row) => row[column]));
}
