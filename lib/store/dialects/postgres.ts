import type { Claim, FencedAnswer, Ownership } from '../../engine/ports/record-store.js';
import { MAX_RETENTION_MS } from '../../engine/policy.js';
import { POSTGRES_NOW as NOW } from './clock.js';
import { LEASE_ROW, NO_OWNER, NOT_HELD, once, toRecord } from './dialect.js';
import type { CompletionRow, Dialect, RecordRow, StepRow, TableNames } from './dialect.js';
import { ArrayParameter, type Column } from './postgres-arrays.js';
import { claimEffect, executing, expired, hasStep, unknown } from './predicates.js';

/** What the dialect needs of a `pg` client. */
export interface PgConnection {
  query(statement: PgStatement): Promise<PgAnswer>;
}

export interface PgStatement {
  readonly text: string;
  readonly name?: string;
  readonly values?: unknown[];
  /** The names of the columns, where the caller takes their values as text: they need not be described. A driver may ignore this. */
  readonly columns?: readonly string[];
}

export interface PgAnswer {
  readonly rows: PgRow[];
}

type PgRow = Record<string, unknown>;

/** Returns whether a statement was a COMMIT that rolled back instead: a statement before it had failed, and code caught its error. */
export function rolledBackAtCommit(sql: string, result: unknown): boolean {
  return sql === 'COMMIT' && (result as { command?: unknown } | undefined)?.command === 'ROLLBACK';
}

/**
 * A condition that is always true, decided once for all rows. It limits how long its statement waits for a locked row. That is
 * long enough for another process to commit the row. Its connection, and the rows of its batch, must not wait for an operator's
 * open transaction: the caller runs a statement again that has to wait longer. Ends with the statement's transaction.
 */
const SHORT_LOCK_WAIT = `(SELECT set_config('lock_timeout', '50ms', true)) <> ''`;

/** A setting that is local to a transaction: it is gone once the transaction ends, by whatever statement. */
const MARK_NAME = 'nestjs_idempotency.transaction';
const MARK = `current_setting('${MARK_NAME}', true)`;

/** Uses SET, which PostgreSQL does not count as a query: the handler may still set its isolation level. */
export function markStatement(mark: string): string {
  return `SET LOCAL ${MARK_NAME} = '${mark}'`;
}

/** Settings that are local to a transaction: the role that its handler has taken. */
const USER = 'nestjs_idempotency.user';
const ROLE = 'nestjs_idempotency.role';

const local = (name: string, value: string) => `set_config('${name}', ${value}, true)`;

const LEAVE_ROLE = `SELECT ${local(USER, "current_setting('session_authorization')")}, ${local(ROLE, "current_setting('role')")};
SET LOCAL SESSION AUTHORIZATION DEFAULT`;

const RETURN_TO_ROLE = `SELECT ${local('session_authorization', `current_setting('${USER}')`)};
SELECT ${local('role', `current_setting('${ROLE}')`)}`;

/** invalid_text_representation, the error of {@link orFail}. */
const NO_BOOLEAN = '22P02';

/**
 * A completion that fails where it completes nothing, so that the COMMIT in the same message is not executed. It casts a
 * text that is no boolean.
 *
 * @param mark the number of the parameter with the mark
 */
const orFail = (completion: string, mark: number) => `WITH completed AS (${completion})
SELECT coalesce((SELECT awaited FROM completed),
  (CASE WHEN ${MARK} = $${mark} THEN 'not held' ELSE 'ended' END)::boolean) AS awaited`;

/** A condition that is always true. The statement returns before the claim is on disk: see `Claim.asyncCommit`. */
const ASYNC_COMMIT = `AND set_config('synchronous_commit', 'off', true) <> ''`;

/** For poolers that send reads to standbys, such as pgpool: a standby may not have the record yet. */
const AT_PRIMARY = '/*NO LOAD BALANCE*/ ';

const after = (ms: string) => `${NOW} + ${ms} * interval '1 ms'`;

/**
 * Long retentions end on a full minute: a completion in the same minute as its claim does not change the indexed column, so
 * that the update is heap-only.
 */
const expiry = (ms: string) =>
  `CASE WHEN ${ms} < 3600000 THEN ${after(ms)} ELSE date_trunc('minute', ${after(ms)}) + interval '1 minute' END`;

/** The record's own retention unless `$2` is another one. */
const OWN_RETENTION = 'coalesce($2::float8, r.retention_ms)';

/**
 * The columns of a record. Its small values are one text, as {@link recordOf} reads it: to describe a column costs server and driver
 * more than the value. Bytes come in base64: it has two thirds of the size of the hexadecimal digits that `pg` requests, and is
 * decoded in half the time.
 *
 * @param leaseUntil an expression: the end of the lease
 * @param isFree an expression: whether a claim may take the record
 */
function columns(leaseUntil: string, isFree = 'false'): string {
  const names = ['owner', 'status', 'token', 'attempt', 'taken_from', 'attempts_left', 'response_code'];
  const hashes = ['fingerprint', 'binding'];
  const values = [
    ...names.map((name) => `r.${name}`),
    ...hashes.map((name) => `encode(r.${name}, 'base64')`),
    `date_part('epoch', ${leaseUntil} - ${NOW}) * 1000`,
    isFree,
  ];
  return `r.id, concat(${values.join(`, '${SEPARATOR}', `)}) AS record,
    encode(r.response_head, 'base64') AS head, encode(r.response_body, 'base64') AS body`;
}

/** The names of {@link columns}. */
const RECORD = ['id', 'record', 'head', 'body'];

/** Is in no value: they are words, numbers, UUIDs and base64. */
const SEPARATOR = ',';

const ID: Column<{ readonly recordId: string }> = ['id', 'uuid', ({ recordId }) => recordId];

/** What a claim sends. `lease` and `retention` are in milliseconds. */
const CLAIM: readonly Column<Claim>[] = [
  ID,
  ['owner', 'uuid', (c) => c.owner],
  ['endpoint', 'text', (c) => c.endpoint],
  ['route', 'text', (c) => c.route],
  ['scope_digest', 'bytea', (c) => c.scopeDigest],
  ['fingerprint', 'bytea', (c) => c.fingerprint],
  ['binding', 'bytea', (c) => c.binding],
  ['request', 'bytea', (c) => c.request],
  ['hold_on_crash', 'boolean', (c) => c.holdOnCrash],
  ['attempts_left', 'int', (c) => c.maxAttempts - 1],
  ['lease', 'float8', (c) => c.leaseMs],
  ['retention', 'float8', (c) => c.retentionMs],
];

/** The columns of a record that a claim writes as they are. */
const CLAIMED = namesOf(CLAIM.slice(0, -2));

/** What a completion sends. */
const COMPLETION: readonly Column<CompletionRow>[] = [
  ID,
  ['owner', 'uuid', (c) => c.owner],
  ['token', 'bigint', (c) => c.token],
  ['code', 'smallint', (c) => c.code],
  ['head', 'bytea', (c) => c.head],
  ['body', 'bytea', (c) => c.body],
  ['retention', 'float8', (c) => c.retentionMs],
  ['fingerprint', 'bytea', (c) => c.fingerprint],
];

/** The columns that a completion returns. */
const COMPLETED = ['id', 'awaited'];

function namesOf(columns: readonly Column<never>[]): string {
  return columns.map(([name]) => name).join(', ');
}

/**
 * The rows of a batch, however many: each parameter is an array, with the values of a column. They are read by their place in it:
 * to unnest each array takes the server a scan of its own, which costs a small batch more than its rows.
 *
 * The planner must not see the length of the first array, which is why it is read by a SELECT. It takes any length for ten.
 * A plan for the rows of one batch is then never cheaper than the one that is kept, and the server does not plan each batch.
 */
function rowsOf([[first, firstType], ...others]: readonly Column<never>[]): string {
  const values = others.map(([name, type], i) => `($${i + 2}::${type}[])[place] AS ${name}`);
  return `(SELECT ${first}, ${values.join(', ')}
    FROM unnest((SELECT $1::${firstType}[])) WITH ORDINALITY AS firsts(${first}, place))`;
}

/** One row, in a parameter for each value. */
function rowOf(columns: readonly Column<never>[]): string {
  return `(VALUES (${columns.map(([, type], i) => `$${i + 1}::${type}`).join(', ')}))`;
}

/**
 * A condition that is always true, decided by its first half. It makes each row, and so a scan of the table, expensive to the
 * planner. A connection keeps its plan: one that was made while the table was empty would scan the table after it has grown.
 */
const byIndex = (r: string) => `(${r}.token > 0 OR cardinality(ARRAY(SELECT generate_series(1, ${r}.token))) < 0)`;
const BY_INDEX = byIndex('r');

/** Returns the texts of the statements. */
export function postgresStatements({ record, step }: TableNames) {
  const leaseRow = `FROM ${step} s WHERE s.record_id = r.id AND s.name = '${LEASE_ROW}' AND s.token = r.token AND ${byIndex('s')}`;
  const leaseUntil = `greatest(r.lease_until, (SELECT s.updated_at ${leaseRow}))`;
  /** Reads the lease row only where the record's own lease has expired. */
  const leaseExpired = `(r.lease_until <= ${NOW} AND ${leaseUntil} <= ${NOW})`;
  const awaited = `(r.awaited OR EXISTS (SELECT ${leaseRow} AND s.status = 'awaited'))`;
  const current = columns(leaseUntil);

  const isExecuting = executing({ r: 'r.', leaseExpired });
  const isUnknown = unknown({ r: 'r.', leaseExpired });
  const effectIf = (isLeaseExpired: string) =>
    claimEffect({
      r: 'r.',
      n: (column) => `i.${column}`,
      now: NOW,
      leaseExpired: isLeaseExpired,
      differ: (a, b) => `${a} IS DISTINCT FROM ${b}`,
    });
  const effect = effectIf(leaseExpired);

  /**
   * Reads before it writes: a replay writes nothing, and a claim that gets the record as it is does not wait for a transaction
   * that has written the record. ON CONFLICT finds a record that was committed after the statement's snapshot. Such a claim
   * gets no row, and is sent again.
   *
   * A free record is left to {@link takeOver}. Few records are free, and to decide about them would slow every claim.
   *
   * The claims are inserted in their order, sorted by id, so that concurrent batches cannot deadlock.
   */
  const claim = (andWhere = '') => `
WITH claims AS MATERIALIZED ${rowsOf(CLAIM)},
existing AS MATERIALIZED (
  SELECT r.* FROM claims i CROSS JOIN LATERAL (
    SELECT ${columns('r.lease_until', `${effectIf(`r.lease_until <= ${NOW}`)} <> 'keep'`)}
    FROM ${record} r WHERE r.id = i.id AND ${BY_INDEX} OFFSET 0
  ) r
), claimed AS (
  INSERT INTO ${record} AS r (${CLAIMED}, status, token, attempt, awaited, lease_until, created_at, expires_at, retention_ms)
  SELECT ${CLAIMED}, 'processing', 1, 1, false, ${after('lease')}, ${NOW}, ${expiry('retention')}, retention::bigint
  FROM claims WHERE id <> ALL (ARRAY(SELECT id FROM existing)) AND ${SHORT_LOCK_WAIT} ${andWhere}
  ON CONFLICT (id) DO NOTHING RETURNING r.id
)
SELECT * FROM existing UNION ALL SELECT id, NULL, NULL, NULL FROM claimed`;

  const takeOver = `
WITH claims AS MATERIALIZED ${rowsOf(CLAIM)},
held AS (
  UPDATE ${record} r SET status = 'held' FROM claims i WHERE r.id = i.id AND ${BY_INDEX} AND ${effect} = 'hold'
)
UPDATE ${record} r SET owner = i.owner, endpoint = i.endpoint, route = i.route, scope_digest = i.scope_digest,
  fingerprint = i.fingerprint, binding = i.binding, request = i.request, status = 'processing', token = r.token + 1,
  attempt = CASE ${effect} WHEN 'restart' THEN 1 ELSE r.attempt + 1 END, taken_from = r.status,
  hold_on_crash = i.hold_on_crash, awaited = false,
  attempts_left = CASE r.status WHEN 'processing' THEN r.attempts_left - 1 ELSE i.attempts_left END,
  lease_until = ${after('i.lease')}, created_at = CASE ${effect} WHEN 'restart' THEN ${NOW} ELSE r.created_at END,
  completed_at = NULL, expires_at = ${expiry('i.retention')}, retention_ms = i.retention::bigint,
  response_code = NULL, response_head = NULL, response_body = NULL
FROM claims i WHERE r.id = i.id AND ${BY_INDEX} AND ${effect} IN ('restart', 'take')`;

  const complete = (rows: string, andWhere: string, isAwaited = 'r.awaited') => `
UPDATE ${record} r SET status = 'done', response_code = i.code, response_head = i.head, response_body = i.body,
  completed_at = ${NOW}, expires_at = ${expiry('i.retention')}, fingerprint = coalesce(i.fingerprint, r.fingerprint)
FROM ${rows} AS i(${namesOf(COMPLETION)})
WHERE r.id = i.id AND r.owner = i.owner AND r.token = i.token AND r.status = 'processing' AND ${BY_INDEX} AND ${andWhere}
RETURNING r.id, ${isAwaited} AS awaited`;

  const isExpired = expired(
    { r: 'r.', now: NOW },
    `r.lease_until + r.retention_ms * interval '1 ms' <= ${NOW}
    AND NOT EXISTS (SELECT FROM ${step} s WHERE s.record_id = r.id
      AND (s.name <> '${LEASE_ROW}' OR s.updated_at + r.retention_ms * interval '1 ms' > ${NOW}))`,
  );

  /** A transaction with an older snapshot cannot see whether a request waits: it reports that one does. */
  const completeWithin = complete(
    rowOf(COMPLETION),
    `${MARK} = $${COMPLETION.length + 1}`,
    `(current_setting('transaction_isolation') <> 'read committed' OR ${awaited})`,
  );

  const stays = (ms: string, ...states: readonly string[]) =>
    `CASE WHEN ${hasStep(step, ...states)} THEN ${after(`${MAX_RETENTION_MS}`)} ELSE ${expiry(ms)} END`;

  const owned = `r.id = $1 AND r.owner = $2 AND r.token = $3 AND r.status = 'processing' AND ${SHORT_LOCK_WAIT}`;

  return {
    claim: claim(),
    claimAsync: claim(ASYNC_COMMIT),
    takeOver,
    complete: complete(rowsOf(COMPLETION), SHORT_LOCK_WAIT),
    completeWithin,
    completeLast: orFail(completeWithin, COMPLETION.length + 1),
    mark: `SELECT ${MARK} AS mark`,
    lock: `SELECT FROM ${record} r WHERE r.id = ANY($1::uuid[]) AND ${BY_INDEX} AND ${SHORT_LOCK_WAIT} ORDER BY r.id FOR UPDATE`,
    readMany: `${AT_PRIMARY}SELECT ${current} FROM ${record} r WHERE r.id = ANY($1::uuid[]) AND ${BY_INDEX}`,
    read: `${AT_PRIMARY}SELECT ${current} FROM ${record} r WHERE r.id = $1 AND ${BY_INDEX}
      AND (r.expires_at > ${NOW} OR r.status IN ('processing', 'held'))`,
    endLease: `UPDATE ${record} r SET status = $4, lease_until = ${NOW}, expires_at = ${stays('$5::float8', 'done', 'begun')}
      WHERE ${owned} RETURNING ${awaited} AS awaited`,
    /** The steps are those of an earlier operation that had expired. */
    discard: `WITH deleted AS (DELETE FROM ${record} r WHERE ${owned} AND r.attempt = 1 RETURNING r.id, ${awaited} AS awaited),
      steps AS (DELETE FROM ${step} s USING deleted WHERE s.record_id = deleted.id),
      released AS (UPDATE ${record} r SET status = 'failed', lease_until = ${NOW}, expires_at = ${stays('r.retention_ms', 'done', 'begun')}
        WHERE ${owned} AND r.attempt > 1 RETURNING ${awaited} AS awaited)
      SELECT awaited FROM deleted UNION ALL SELECT awaited FROM released`,
    renew: `WITH renewed AS (UPDATE ${record} r SET lease_until = ${after('$4::float8')} WHERE ${owned}
        RETURNING r.id, r.lease_until, ${awaited} AS awaited),
      lease_row AS (UPDATE ${step} s SET updated_at = renewed.lease_until FROM renewed
        WHERE s.record_id = renewed.id AND s.name = '${LEASE_ROW}' AND ${byIndex('s')})
      SELECT awaited FROM renewed`,
    /** Locks the record: a claim that takes it over waits, and then finds the lease renewed. */
    renewLeaseRow: `INSERT INTO ${step} AS s (record_id, name, status, token, updated_at)
      SELECT r.id, '${LEASE_ROW}', 'running', r.token, ${after('$4::float8')} FROM ${record} r WHERE ${owned} FOR UPDATE
      ON CONFLICT (record_id, name) DO UPDATE SET token = excluded.token, updated_at = excluded.updated_at,
        status = CASE WHEN s.token = excluded.token THEN s.status ELSE excluded.status END
      RETURNING s.status = 'awaited' AS awaited`,
    markAwaited: `UPDATE ${record} r SET awaited = true WHERE r.id = $1 AND r.status = 'processing' AND NOT r.awaited
      AND ${SHORT_LOCK_WAIT}`,
    /**
     * Locks the record: either this sees the completion, or the completion sees this. A completion that waits for this very
     * lock does not: then the waiter finds the outcome when it next polls.
     */
    markLeaseRowAwaited: `INSERT INTO ${step} AS s (record_id, name, status, token, updated_at)
      SELECT r.id, '${LEASE_ROW}', 'awaited', r.token, r.lease_until FROM ${record} r
      WHERE r.id = $1 AND r.status = 'processing' AND ${BY_INDEX} AND ${SHORT_LOCK_WAIT} FOR UPDATE
      ON CONFLICT (record_id, name) DO UPDATE SET token = excluded.token, status = excluded.status,
        updated_at = CASE WHEN s.token = excluded.token THEN s.updated_at ELSE excluded.updated_at END`,
    /** Tokens and attempts grow together: this leaves out the steps of an earlier operation that has expired. */
    loadSteps: `${AT_PRIMARY}SELECT convert_to(s.name, 'UTF8') AS name, s.status, s.result FROM ${step} s JOIN ${record} r ON r.id = s.record_id
      WHERE s.record_id = $1 AND s.token > r.token - r.attempt AND s.name <> '${LEASE_ROW}'`,
    /** Names are sent as bytes: a session with another encoding would find the step under another name, and repeat it. */
    putStep: `INSERT INTO ${step} AS s (record_id, name, status, token, result, updated_at)
      SELECT r.id, convert_from($4, 'UTF8'), $5, r.token, $6, ${NOW} FROM ${record} r WHERE ${owned} FOR UPDATE
      ON CONFLICT (record_id, name) DO UPDATE SET status = excluded.status, token = excluded.token,
        result = excluded.result, updated_at = excluded.updated_at
      RETURNING false AS awaited`,
    resolveDone: `UPDATE ${record} r SET status = 'done', owner = '${NO_OWNER}', response_code = $3, response_head = $4, response_body = $5,
      completed_at = ${NOW}, expires_at = ${expiry(OWN_RETENTION)} WHERE r.id = $1 AND r.token = coalesce($6, r.token) AND ${isUnknown}
      AND ${SHORT_LOCK_WAIT} RETURNING r.id`,
    /** What had begun did not happen: it does not keep the record. */
    resolveFree: `WITH freed AS (UPDATE ${record} r SET status = 'failed', expires_at = ${stays(OWN_RETENTION, 'done')}
        WHERE r.id = $1 AND r.token = coalesce($3, r.token) AND ${isUnknown} AND ${SHORT_LOCK_WAIT} RETURNING r.id),
      steps AS (UPDATE ${step} s SET status = 'failed' FROM freed WHERE s.record_id = freed.id AND s.status = 'begun')
      SELECT id FROM freed`,
    forget: `DELETE FROM ${record} r WHERE r.id = $1 AND r.token = coalesce($2, r.token) AND ($3::boolean OR NOT ${isExecuting})
      AND ${SHORT_LOCK_WAIT} RETURNING r.id`,
    findByScope: `${AT_PRIMARY}SELECT r.id FROM ${record} r WHERE r.scope_digest = ANY($1::bytea[]) AND NOT ${isExecuting} LIMIT $2`,
    /** Checks again that no execution holds a lease: one may have begun since `findByScope`. */
    forgetMany: `DELETE FROM ${record} r WHERE r.id = ANY($1::uuid[]) AND NOT ${isExecuting} AND ${BY_INDEX} AND ${SHORT_LOCK_WAIT}
      RETURNING r.id`,
    /** By table and place, because the same place in two partitions holds two rows. */
    sweep: `WITH expired AS (
        SELECT r.tableoid, r.ctid FROM ${record} r WHERE ${isExpired} LIMIT $1 FOR UPDATE SKIP LOCKED
      ) DELETE FROM ${record} r USING expired WHERE r.tableoid = expired.tableoid AND r.ctid = expired.ctid RETURNING r.id`,
    forgetSteps: `DELETE FROM ${step} s WHERE s.record_id = ANY($1::uuid[])`,
  };
}

type StatementName = keyof ReturnType<typeof postgresStatements>;

/** PostgreSQL 13 or newer. */
export function postgresDialect(tables: TableNames): Dialect<PgConnection> {
  const sql = once(() => postgresStatements(tables));

  /** Runs a statement that is prepared by name: to plan it costs more than to execute it. */
  const run = (on: PgConnection, name: StatementName, values: unknown[], columns?: readonly string[]) =>
    on.query({ name: `nestjs_idempotency_${name}`, text: sql()[name], values, columns });

  const runBatch = <Row>(
    on: PgConnection,
    name: 'claim' | 'claimAsync' | 'takeOver' | 'complete',
    rows: readonly Row[],
    parameters: readonly Column<Row>[],
    columns: readonly string[],
  ) => {
    const values = parameters.map((parameter) => new ArrayParameter(rows, parameter));
    return run(on, name, values, columns);
  };

  const fenced = async (
    on: PgConnection,
    name: 'endLease' | 'discard' | 'renew' | 'renewLeaseRow' | 'putStep',
    { recordId, owner, token }: Ownership,
    ...values: unknown[]
  ) => answerOf(await run(on, name, [recordId, owner, token, ...values]));

  const readMany = async (on: PgConnection, records: readonly { recordId: string }[]) => {
    const { rows } = await run(on, 'readMany', [records.map(({ recordId }) => recordId)]);
    return rows.map(recordOf);
  };

  const claim = (on: PgConnection, claims: readonly Claim[]): Promise<readonly RecordRow[]> => {
    const name = claims.every((c) => c.asyncCommit) ? 'claimAsync' : 'claim';
    return runBatch(on, name, claims, CLAIM, RECORD).then(({ rows }) => {
      const byId = new Map(rows.map((row) => [row.id, row]));
      const found = claims.map((c) => {
        const row = byId.get(c.recordId);
        return row && (isClaimed(row) ? claimed(c) : recordOf(row));
      });
      return found.every((record) => record && !mayBeRenewed(record))
        ? (found as RecordRow[])
        : readAgain(on, claims, found);
    });
  };

  /**
   * Reads the lease rows of records whose own lease has expired. Claims again those of which there was no row: others inserted the
   * records while the statement ran, and it sees them when it runs again.
   */
  const readAgain = async (
    on: PgConnection,
    claims: readonly Claim[],
    found: readonly (RecordRow | undefined)[],
  ): Promise<readonly RecordRow[]> => {
    const expired = found.filter((record) => record !== undefined).filter(mayBeRenewed);
    const read = expired.length > 0 ? await readMany(on, expired) : [];
    const missed = claims.filter((_, i) => !found[i]);
    const again = [
      ...read.map((record) => ({ ...record, isFree: record.status !== 'done' && record.leaseLeftMs <= 0 })),
      ...(missed.length > 0 ? await claim(on, missed) : []),
    ];
    const byId = new Map(again.map((record) => [record.recordId, record]));
    return claims.map(({ recordId }, i) => byId.get(recordId) ?? found[i]!);
  };

  /** Deletes steps by a second statement: it sees those that were written until the first one locked the record. */
  const deleteBy = async (on: PgConnection, name: 'forget' | 'forgetMany' | 'sweep', ...values: unknown[]) => {
    const { rows } = await run(on, name, values);
    if (rows.length) await run(on, 'forgetSteps', [rows.map((row) => row.id)]);
    return rows.length;
  };

  return {
    name: 'postgres',
    batches: true,
    commitsImplicitly: false,
    claim,

    /** The lock comes first, by a statement of its own: the next one then sees every heartbeat from before the lock. */
    async takeOver(on, claims) {
      await run(on, 'lock', [claims.map(({ recordId }) => recordId)]);
      await runBatch(on, 'takeOver', claims, CLAIM, []);
      const found = await readMany(on, claims);
      const deleted = claims.filter(({ recordId }) => !found.some((record) => record.recordId === recordId));
      return deleted.length > 0 ? [...found, ...(await claim(on, deleted))] : found;
    },

    async read(on, recordId) {
      const { rows } = await run(on, 'read', [recordId], RECORD);
      return rows.length ? recordOf(rows[0]) : undefined;
    },

    complete: (on, completions) =>
      runBatch(on, 'complete', completions, COMPLETION, COMPLETED).then(
        ({ rows }) => new Map(rows.map((r) => [r.id as string, heldBy(r)])),
      ),

    async markTransaction(on, mark) {
      await on.query({ text: markStatement(mark) });
    },

    async completeWithin(on, mark, c) {
      const answer = answerOf(
        await run(on, 'completeWithin', [...COMPLETION.map(([, , valueOf]) => valueOf(c)), mark], COMPLETED),
      );
      if (answer.held) return answer;
      const found = await run(on, 'mark', []);
      return found.rows[0].mark === mark ? NOT_HELD : 'ended';
    },

    async leaveRole(on) {
      await on.query({ text: LEAVE_ROLE });
      await on.query({ text: `SELECT ${local('role', '$1')}`, values: [tables.role ?? 'none'] });
    },

    async returnToRole(on) {
      await on.query({ text: RETURN_TO_ROLE });
    },

    async completeLast(on, mark, c) {
      try {
        return answerOf(
          await run(on, 'completeLast', [...COMPLETION.map(([, , valueOf]) => valueOf(c)), mark], ['awaited']),
        );
      } catch (error) {
        const { code, message } = error as { code?: unknown; message: string };
        if (code !== NO_BOOLEAN) throw error;
        return message.includes('ended') ? 'ended' : NOT_HELD;
      }
    },

    isInTransaction: async () => true,

    endLease: (on, ownership, status, retentionMs) => fenced(on, 'endLease', ownership, status, retentionMs),
    discard: (on, ownership) => fenced(on, 'discard', ownership),
    renew: (on, ownership, leaseMs, transactional) =>
      fenced(on, transactional ? 'renewLeaseRow' : 'renew', ownership, leaseMs),

    async markAwaited(on, recordId, transactional) {
      await run(on, transactional ? 'markLeaseRowAwaited' : 'markAwaited', [recordId]);
    },

    async loadSteps(on, recordId) {
      const { rows } = await run(on, 'loadSteps', [recordId]);
      return rows.map((row) => ({ ...row, name: String(row.name) }) as StepRow);
    },

    putStep: (on, ownership, { name, status, result }) =>
      fenced(on, 'putStep', ownership, Buffer.from(name), status, result),

    async resolveHeld(on, recordId, outcome, retentionMs, token) {
      await run(on, 'lock', [[recordId]]);
      const { rows } = outcome
        ? await run(on, 'resolveDone', [recordId, retentionMs, outcome.code, outcome.head, outcome.body, token])
        : await run(on, 'resolveFree', [recordId, retentionMs, token]);
      return rows.length > 0;
    },

    async forget(on, recordId, { token = null, evenIfRunning = true }) {
      if (!evenIfRunning) await run(on, 'lock', [[recordId]]);
      return (await deleteBy(on, 'forget', recordId, token, evenIfRunning)) > 0;
    },

    async forgetScope(on, digests, limit) {
      const { rows } = await run(on, 'findByScope', [digests, limit]);
      if (rows.length === 0) return { found: 0, forgotten: 0 };
      const ids = rows.map((row) => row.id);
      // A statement that waited for the lock itself would see the leases from before its wait.
      await run(on, 'lock', [ids]);
      return { found: rows.length, forgotten: await deleteBy(on, 'forgetMany', ids) };
    },

    sweep: (on, limit) => deleteBy(on, 'sweep', limit),
  };
}

/** Reads a row of {@link columns}. */
function recordOf({ id, record, head, body }: PgRow): RecordRow {
  const values = (record as string).split(SEPARATOR).map((value) => value || null);
  const [owner, status, token, attempt, takenFrom, attemptsLeft, code, fingerprint, binding, leaseLeft, isFree] =
    values;
  return toRecord({
    id,
    owner,
    status,
    token,
    attempt,
    taken_from: takenFrom,
    attempts_left: attemptsLeft,
    response_code: code,
    fingerprint: bytes(fingerprint),
    binding: bytes(binding),
    lease_left: leaseLeft,
    is_free: isFree === 't',
    response_head: bytes(head),
    response_body: bytes(body),
  });
}

function answerOf({ rows }: PgAnswer): FencedAnswer {
  return rows.length ? heldBy(rows[0]) : NOT_HELD;
}

/** Reads a row of a fenced write. Its boolean may still be text. */
function heldBy({ awaited }: PgRow): FencedAnswer {
  return { held: true, awaited: awaited === true || awaited === 't' };
}

function bytes(base64: unknown): Buffer | null {
  return base64 === null ? null : Buffer.from(base64 as string, 'base64');
}

/** Returns whether a row is a claim that was inserted. The row has an id alone: the rest is known from the claim. */
function isClaimed(row: PgRow): boolean {
  return row.record === null;
}

/** Returns whether the lease may have been renewed in the lease row, which a claim does not read. */
function mayBeRenewed({ isFree, status }: RecordRow): boolean {
  return isFree === true && status === 'processing';
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
