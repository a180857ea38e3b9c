/**
 * The outcome of an execution, in the form in which it is stored. The engine does not look inside: an edge packs its own
 * answer (an HTTP response, a message's value) and unpacks it on a replay.
 */
export interface StoredOutcome {
  /** The edge's own code: the HTTP status, or {@link VALUE_CODE} for a value. {@link TOMBSTONE_CODE}: no replay. */
  readonly code: number;
  /** Description of the body, such as response headers, as JSON text. */
  readonly head: Buffer | null;
  readonly body: Buffer | null;
}

/** The operation is done, but its answer was not kept (too large, endless, or never made). */
export const TOMBSTONE_CODE = 0;

/** A value or error of a handler that does not answer over HTTP. */
export const VALUE_CODE = 1;

export const TOMBSTONE: StoredOutcome = Object.freeze({ code: TOMBSTONE_CODE, head: null, body: null });

export function isTombstone(outcome: StoredOutcome): boolean {
  return outcome.code === TOMBSTONE_CODE;
}
