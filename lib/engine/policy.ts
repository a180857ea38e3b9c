/** A thousand years: beyond it, some databases have no date for the end, and would refuse the completion. */
export const LONGEST_RETENTION_MS = 1_000 * 365.25 * 24 * 3_600_000;

/** The options of one operation that the engine needs, with their defaults applied. */
export interface Policy {
  /** How long an owner keeps the record after its last renewal. */
  readonly leaseMs: number;
  /** How long an outcome is replayed, from its completion. */
  readonly retentionMs: number;
  /** What a duplicate of a running request does. */
  readonly onConflict: 'reject' | 'wait';
  /** How long a duplicate waits. */
  readonly waitTimeoutMs: number;
  /** What the next request does after an owner died without an outcome. */
  readonly afterCrash: 'rerun' | 'hold';
  /** How many executions in a row may die before the record is held. */
  readonly maxAttempts: number;
  /** How long the lease of an execution is renewed; `undefined`: as long as it runs. */
  readonly maxDurationMs: number | undefined;
  /** Whether the handler's writes and the completion commit in one transaction. */
  readonly transactional: boolean;
}
