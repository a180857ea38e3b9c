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
  /** Whether the operation runs in a database transaction that its completion belongs to. */
  readonly transactional: boolean;
}
