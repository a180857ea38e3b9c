import { type StoredOutcome, TOMBSTONE, VALUE_CODE } from '../../engine/outcome.js';
import { UnreadableRecordError } from '../../engine/errors.js';
import { fromValueJson, toValueJson, type ValueClasses, type ValueJson } from '../../engine/value-json.js';
import { type StoredError, toError, toStoredError } from './value-error.js';

/** The answer of an operation outside HTTP: a value, the values of a stream, an error, or values and then an error. */
export interface Answer {
  readonly values: readonly unknown[];
  readonly thrown?: { readonly error: unknown };
}

export type Head =
  | ({ readonly kind: 'value' } & Omit<ValueJson, 'json'>)
  /** No value, several, or values and an error. The body is an array. */
  | ({ readonly kind: 'values'; readonly error?: StoredError } & Omit<ValueJson, 'json'>)
  | { readonly kind: 'error'; readonly error: StoredError };

/** Packs an answer as JSON. Returns a tombstone if its values exceed `maxBytes`. */
export function packAnswer({ values, thrown }: Answer, maxBytes: number, known?: ValueClasses): StoredOutcome {
  const error = thrown && toStoredError(thrown.error);
  if (error && values.length === 0) return pack({ kind: 'error', error }, undefined, maxBytes);
  if (!error && values.length === 1) {
    const { json, ...typed } = toValueJson(values[0], known);
    return pack({ kind: 'value', ...typed }, json, maxBytes);
  }
  const { json, ...typed } = toValueJson(values, known);
  return pack({ kind: 'values', ...typed, error }, json, maxBytes);
}

/**
 * Unpacks a stored answer.
 *
 * @throws UnreadableRecordError for a malformed one, which someone else may have written to the table
 */
export async function unpackAnswer({ code, head, body }: StoredOutcome, known?: ValueClasses): Promise<Answer> {
  try {
    // Of a route that has the name of this operation: the body of a refusal would be a value, as if it had succeeded.
    if (code !== VALUE_CODE) throw new TypeError('a response over HTTP is no value');
    const packed = JSON.parse(head?.toString() ?? '{"kind":"value"}') as Head;
    return await unpacked(packed, body?.toString(), known);
  } catch (error) {
    throw new UnreadableRecordError({ cause: error });
  }
}

async function unpacked(packed: Head, json: string | undefined, known: ValueClasses | undefined): Promise<Answer> {
  if (packed.kind === 'error') return { values: [], thrown: { error: await toError(packed.error) } };
  const value = fromValueJson({ ...packed, json }, known);
  if (packed.kind !== 'values') return { values: [value] };
  if (!Array.isArray(value)) throw new TypeError('several values are an array');
  return { values: value, ...(packed.error && { thrown: { error: await toError(packed.error) } }) };
}

/** Returns the stored value, the last one of several, or throws the stored error. */
export async function unpackValue(outcome: StoredOutcome): Promise<unknown> {
  const { values, thrown } = await unpackAnswer(outcome);
  if (thrown) throw thrown.error;
  return values.at(-1);
}

function pack(head: Head, body: string | undefined, maxBytes: number): StoredOutcome {
  const bytes = body === undefined ? null : Buffer.from(body);
  if (bytes && bytes.length > maxBytes) return TOMBSTONE;
  return { code: VALUE_CODE, head: Buffer.from(JSON.stringify(head)), body: bytes };
}
