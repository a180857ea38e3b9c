/**
 * Conditions that the statements of all dialects share. `r` is the prefix of a column of the existing record (`'r.'`, or nothing),
 * `now` the database's clock, and `lapsed` a condition: the lease of the record has run out.
 */
interface Terms {
  readonly r: string;
  readonly now: string;
  readonly lapsed: string;
}

/** How a statement names the claim, and compares with it. */
interface ClaimTerms extends Terms {
  /** Returns a column of the claim. */
  readonly n: (column: string) => string;
  /** Returns a condition: two values differ, of which either may be NULL. */
  readonly differ: (a: string, b: string) => string;
}

/** What a claim does to the existing record: `'restart'`, `'take'`, `'hold'` or `'stand'`. */
export function move({ r, n, now, lapsed, differ }: ClaimTerms): string {
  return `CASE
    WHEN ${r}expires_at <= ${now} AND ${r}status IN ('done', 'failed') THEN 'restart'
    WHEN ${r}fingerprint <> ${n('fingerprint')} OR ${differ(`${r}binding`, n('binding'))} THEN 'stand'
    WHEN ${r}status = 'failed' THEN 'take'
    WHEN ${r}status = 'processing' AND ${lapsed}
      THEN CASE WHEN ${r}hold_on_crash OR ${n('hold_on_crash')} OR ${r}attempts_left <= 0 THEN 'hold' ELSE 'take' END
    ELSE 'stand' END`;
}

/** A condition: an execution holds a lease on the record. */
export function executing({ r, lapsed }: Pick<Terms, 'r' | 'lapsed'>): string {
  return `(${r}status = 'processing' AND NOT ${lapsed})`;
}

/** A condition: the outcome is unknown. The record is held, or will be once the next request asks: its owner died. */
export function unknown({ r, lapsed }: Pick<Terms, 'r' | 'lapsed'>): string {
  return `(${r}status = 'held' OR (${r}status = 'processing' AND ${r}hold_on_crash AND ${lapsed}))`;
}

/**
 * A condition: the record may be deleted. An operation without an outcome does not expire, as a retry has to find its steps. What
 * a dead owner left without a step, and no request asked for during a whole retention, is of no use.
 *
 * @param abandoned a condition: a whole retention has passed since the end of the lease, and there is no step
 */
export function expired({ r, now }: Pick<Terms, 'r' | 'now'>, abandoned: string): string {
  return `${r}expires_at <= ${now} AND (${r}status IN ('done', 'failed')
    OR (${r}status = 'processing' AND NOT ${r}hold_on_crash AND ${abandoned}))`;
}
