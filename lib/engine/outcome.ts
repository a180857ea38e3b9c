/** The outcome of an execution as the store keeps it. An edge packs its response or value into it, and unpacks it for a replay. */
export interface StoredOutcome {
  /** The HTTP status, {@link VALUE_CODE} for a value, or the code of a {@link TOMBSTONE} where there is nothing to replay. */
  readonly code: number;
  /** JSON text that describes the body, such as response headers. */
  readonly head: Buffer | null;
  readonly body: Buffer | null;
}

/** The operation is done, but its response was too large to keep, endless, or never written. */
export const TOMBSTONE_CODE = 0;

/** The value or error of a handler that does not answer over HTTP. */
export const VALUE_CODE = 1;

/** The operation failed, and its response was not kept. */
export const FAILED_TOMBSTONE_CODE = 2;

export const TOMBSTONE: StoredOutcome = Object.freeze({ code: TOMBSTONE_CODE, head: null, body: null });

export const FAILED_TOMBSTONE: StoredOutcome = Object.freeze({ ...TOMBSTONE, code: FAILED_TOMBSTONE_CODE });

export function isTombstone({ code }: Pick<StoredOutcome, 'code'>): boolean {
  return code === TOMBSTONE_CODE || code === FAILED_TOMBSTONE_CODE;
}

/** Returns whether a tombstone is that of an operation that failed. */
export function isOfFailure({ code }: StoredOutcome): boolean {
  return code === FAILED_TOMBSTONE_CODE;
}
