/**
 * Conditions that the statements of all dialects share: one place decides what a claim does to an existing record.
 *
 * `r` is the prefix of the existing record's columns (`'r.'`, or nothing), `now` the database's clock. `leaseExpired` is a
 * condition: the lease on the record has expired.
 */
interface Terms {
  readonly r: string;
  readonly now: string;
  readonly leaseExpired: string;
}

/** How a statement names the claim, and compares it with the record. */
interface ClaimTerms extends Terms {
  /** Returns a column of the claim. */
  readonly n: (column: string) => string;
  /** Returns a condition: two values differ, either of which may be NULL. */
  readonly differ: (a: string, b: string) => string;
}

/**
 * An expression: what a claim does to the existing record.
 *
 * - `'restart'`: the record has expired. The claim takes it for a new operation, at attempt 1.
 * - `'take'`: the record is released, or its owner died. The claim takes it for the next attempt.
 * - `'hold'`: its owner died, and the operation may not run again. The record becomes `held`.
 * - `'keep'`: nothing changes, and the claim gets the record as it is.
 *
 * The fingerprint is compared before the status: another request with the same key never takes a record that lives.
 */
export function claimEffect({ r, n, now, leaseExpired, differ }: ClaimTerms): string {
  return `CASE
    WHEN ${r}expires_at <= ${now} AND ${r}status IN ('done', 'failed') THEN 'restart'
    WHEN ${r}fingerprint <> ${n('fingerprint')} OR ${differ(`${r}binding`, n('binding'))} THEN 'keep'
    WHEN ${r}status = 'failed' THEN 'take'
    WHEN ${r}status = 'processing' AND ${leaseExpired}
      THEN CASE WHEN ${r}hold_on_crash OR ${n('hold_on_crash')} OR ${r}attempts_left <= 0 THEN 'hold' ELSE 'take' END
    ELSE 'keep' END`;
}

/**
 * A condition: the record `r` has a step in one of these states. The steps of an earlier operation with its key, which had expired, do not
 * count: tokens and attempts grow together.
 */
export function hasStep(step: string, ...states: readonly string[]): string {
  return `EXISTS (SELECT 1 FROM ${step} s WHERE s.record_id = r.id AND s.token > r.token - r.attempt
    AND s.status IN (${states.map((state) => `'${state}'`).join(', ')}))`;
}

/** A condition: an execution holds a lease on the record. */
export function executing({ r, leaseExpired }: Pick<Terms, 'r' | 'leaseExpired'>): string {
  return `(${r}status = 'processing' AND NOT ${leaseExpired})`;
}

/** A condition: the outcome is unknown. The record is held, or the next claim will hold it, because its owner died. */
export function unknown({ r, leaseExpired }: Pick<Terms, 'r' | 'leaseExpired'>): string {
  return `(${r}status = 'held' OR (${r}status = 'processing' AND ${r}hold_on_crash AND ${leaseExpired}))`;
}

/**
 * A condition: the record may be deleted. An operation without an outcome does not expire, because a retry must find its
 * steps. The exception is a record that no retry can use: its owner died without a step, and a whole retention has passed. A
 * released record expires, but one with steps that happened does so in a thousand years: see {@link Dialect.endLease}.
 *
 * @param abandoned a condition: a whole retention has passed since the end of the lease, and there is no step
 */
export function expired({ r, now }: Pick<Terms, 'r' | 'now'>, abandoned: string): string {
  return `${r}expires_at <= ${now} AND (${r}status IN ('done', 'failed')
    OR (${r}status = 'processing' AND NOT ${r}hold_on_crash AND ${abandoned}))`;
}
