/** A thousand years: beyond it, some databases have no date for the end, and would refuse the completion. */
export const MAX_RETENTION_MS = 1_000 * 365.25 * 24 * 3_600_000;

/** The longest delay of a timer, in milliseconds: Node fires a timer with a longer one at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** The options of one operation that the engine needs, with their defaults applied: see `IdempotentOptions`. */
export interface Policy {
  readonly leaseMs: number;
  readonly retentionMs: number;
  readonly onConflict: 'reject' | 'wait';
  readonly waitTimeoutMs: number;
  readonly afterCrash: 'rerun' | 'hold';
  readonly maxAttempts: number;
  /** `undefined`: no limit. */
  readonly maxDurationMs: number | undefined;
  readonly transactional: boolean;
}
