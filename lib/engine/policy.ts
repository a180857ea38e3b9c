/** A thousand years: the longest retention whose end every database, and JavaScript, has a date for. */
export const LONGEST_RETENTION_MS = 1_000 * 365.25 * 24 * 3_600_000;

/** The terms on which one operation is run. Durations are milliseconds. */
export interface Policy {
  /** How long an owner that falls silent keeps the record. */
  readonly leaseMs: number;
  /** How long an outcome is replayed, counted from its completion. */
  readonly retentionMs: number;
  /** What a duplicate of a running request does. */
  readonly onConflict: 'reject' | 'wait';
  /** How long a duplicate waits. */
  readonly waitTimeoutMs: number;
  /** What happens when an owner died with no outcome on record. */
  readonly afterCrash: 'rerun' | 'hold';
  /** How many executions in a row may die without an outcome, before the record is held. */
  readonly maxAttempts: number;
  /** How long the lease of an execution is renewed; `undefined`: for as long as it runs. */
  readonly maxDurationMs: number | undefined;
  /** Whether the operation runs in a database transaction that its completion belongs to. */
  readonly transactional: boolean;
}
