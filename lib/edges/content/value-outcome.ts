import { type StoredOutcome, TOMBSTONE, VALUE_CODE } from '../../engine/outcome.js';
import { UnreadableRecordError } from '../../engine/errors.js';
import { fromValueJson, toValueJson, type ValueJson } from '../../engine/value-json.js';
import { type StoredError, toError, toStoredError } from './value-error.js';

/** What an operation answers with outside HTTP: a value, the values of a stream, an error, or values and then an error. */
export interface Answer {
  readonly values: readonly unknown[];
  readonly thrown?: { readonly error: unknown };
}

export type Head =
  | { readonly kind: 'value'; readonly types?: ValueJson['types'] }
  /** None, or several, or with an error after them: the body is an array. */
  | { readonly kind: 'values'; readonly types?: ValueJson['types']; readonly error?: StoredError }
  | { readonly kind: 'error'; readonly error: StoredError };

/** Packs an answer, as JSON; a tombstone where its values are larger than `maxBytes`. */
export function packAnswer({ values, thrown }: Answer, maxBytes: number): StoredOutcome {
  const error = thrown && toStoredError(thrown.error);
  if (error && values.length === 0) return pack({ kind: 'error', error }, undefined, maxBytes);
  if (!error && values.length === 1) {
    const { json, types } = toValueJson(values[0]);
    return pack({ kind: 'value', types }, json, maxBytes);
  }
  const { json, types } = toValueJson(values);
  return pack({ kind: 'values', types, error }, json, maxBytes);
}

/** As {@link packAnswer}, for one value. */
export function packValue(value: unknown, maxBytes: number): StoredOutcome {
  return packAnswer({ values: [value] }, maxBytes);
}

/**
 * The answer on record.
 *
 * @throws UnreadableRecordError for what is none: others may write to the table
 */
export async function unpackAnswer({ head, body }: StoredOutcome): Promise<Answer> {
  try {
    const packed = JSON.parse(head?.toString() ?? '{"kind":"value"}') as Head;
    return await unpacked(packed, body?.toString());
  } catch (error) {
    throw new UnreadableRecordError({ cause: error });
  }
}

async function unpacked(packed: Head, json: string | undefined): Promise<Answer> {
  if (packed.kind === 'error') return { values: [], thrown: { error: await toError(packed.error) } };
  const told = fromValueJson({ json, types: packed.types });
  if (packed.kind !== 'values') return { values: [told] };
  if (!Array.isArray(told)) throw new TypeError('several values are an array');
  return { values: told, ...(packed.error && { thrown: { error: await toError(packed.error) } }) };
}

/** Returns the value on record, the last one where there are several, or throws the error on record. */
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
