/** What a record stores of a response. Every edge uses this file, so that none can forget `response.redact` and store a new secret. */
import { isTombstone, type StoredOutcome, TOMBSTONE, VALUE_CODE } from '../../engine/outcome.js';
import { fromValueJson, type ValueJson } from '../../engine/value-json.js';
import type { ResolvedOperationOptions } from '../../options/resolved-options.js';
import { decodedFor } from './content-coding.js';
import { withoutPointers } from './json-pointer.js';
import { packHead, unpackHead } from './response-head.js';
import type { StoredError } from './value-error.js';
import type { Head } from './value-outcome.js';

/** RFC 8259, and media types with the suffix of RFC 6839. */
const JSON_TYPE = /^[^;]+[/+]json\s*(;|$)/i;

/** Headers that describe the bytes of the body. They go with a redacted body, as a short secret could be guessed from its digest. */
export const OF_THE_BYTES = new Set([
  'content-length',
  'content-encoding',
  'content-md5',
  'content-digest',
  'repr-digest',
  'digest',
  'etag',
]);

/**
 * Returns the outcome that is stored, by the options `response.store` and `response.redact`. Returns a tombstone, which is not
 * replayed, if nothing is to be stored, or if pointers cannot lead into the body: text, bytes.
 */
export function outcomeToKeep(
  outcome: StoredOutcome,
  { store, redact }: Pick<ResolvedOperationOptions['response'], 'store' | 'redact'>,
): StoredOutcome {
  if (!store) return TOMBSTONE;
  if (redact.length === 0 || isTombstone(outcome)) return outcome;
  try {
    return outcome.code === VALUE_CODE ? redactedAnswer(outcome, redact) : redactedResponse(outcome, redact);
  } catch {
    return TOMBSTONE;
  }
}

/** @throws Error if the body is not JSON with members */
function redactedResponse(outcome: StoredOutcome, redact: readonly string[]): StoredOutcome {
  const { code, body } = outcome;
  if (!body?.length) return outcome;
  const head = unpackHead(outcome.head);
  const header = (name: string) => String(head.headers.find(([one]) => one.toLowerCase() === name)?.[1] ?? '');
  if (!JSON_TYPE.test(header('content-type'))) return TOMBSTONE;
  const text = new TextDecoder('utf-8', { fatal: true }).decode(
    decodedFor(undefined, header('content-encoding'), body) ?? body,
  );
  const content: unknown = JSON.parse(text);
  const changed = redacted(content, redact);
  if (changed === content) return outcome;
  const headers = head.headers.filter(([name]) => !OF_THE_BYTES.has(name.toLowerCase()));
  return { code, head: packHead({ ...head, headers }), body: Buffer.from(JSON.stringify(changed)) };
}

/** @throws Error if a value is not JSON with members, or cannot be read without what is redacted */
function redactedAnswer({ code, head, body }: StoredOutcome, redact: readonly string[]): StoredOutcome {
  const packed = JSON.parse(head!.toString()) as Head;
  const { types, classes, error }: Omit<ValueJson, 'json'> & { error?: StoredError } = packed;
  // Each of several values is redacted as one alone would be.
  const pointers = packed.kind === 'values' ? redact.map((pointer) => `/*${pointer}`) : redact;
  const { json, ...typed } = redactedValue({ json: body?.toString(), types, classes }, pointers);
  const kept = { ...packed, ...typed, error: error && redactedError(error, redact) };
  return {
    code,
    head: Buffer.from(JSON.stringify(kept)),
    body: json === undefined ? null : Buffer.from(json),
  };
}

/** Redacts the objects of an error. Its message stays, because it is for the client. */
function redactedError(error: StoredError, redact: readonly string[]): StoredError {
  const { response, extensions, payload } = error;
  return {
    ...error,
    response: withoutPointers(response, redact) as StoredError['response'],
    extensions: withoutPointers(extensions, redact) as StoredError['extensions'],
    payload: payload && redactedValue(payload, redact),
  };
}

function redactedValue({ json, types, classes }: ValueJson, redact: readonly string[]): ValueJson {
  if (json === undefined) return { json };
  const content: unknown = JSON.parse(json);
  const changed = redacted(content, redact);
  if (changed === content) return { json, types, classes };
  const kept = {
    json: JSON.stringify(changed),
    types: types?.filter(([path]) => isAt(changed, path)),
    classes: classes?.filter(([path]) => isAt(changed, path)),
  };
  fromValueJson(kept);
  return kept;
}

/** @throws TypeError for text, because no pointer leads into it and it may be the secret */
function redacted(content: unknown, redact: readonly string[]): unknown {
  if (typeof content === 'string') throw new TypeError('no members');
  return withoutPointers(content, redact);
}

function isAt(value: unknown, path: readonly string[]): boolean {
  let at = value;
  for (const name of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return false;
    at = (at as Record<string, unknown>)[name];
  }
  return true;
}
