/** The outcome of an execution as the store keeps it. An edge packs its response or value into it, and unpacks it for a replay. */
export interface StoredOutcome {
  /** The HTTP status, {@link VALUE_CODE} for a value, or {@link TOMBSTONE_CODE} where there is nothing to replay. */
  readonly code: number;
  /** JSON text that describes the body, such as response headers. */
  readonly head: Buffer | null;
  readonly body: Buffer | null;
}

/** The operation is done, but its response was too large to keep, endless, or never written. */
export const TOMBSTONE_CODE = 0;

/** The value or error of a handler that does not answer over HTTP. */
export const VALUE_CODE = 1;

export const TOMBSTONE: StoredOutcome = Object.freeze({ code: TOMBSTONE_CODE, head: null, body: null });

export function isTombstone(outcome: StoredOutcome): boolean {
  return outcome.code === TOMBSTONE_CODE;
}
