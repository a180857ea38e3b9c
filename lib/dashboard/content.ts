import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';
import { ContentReader } from '../cli/content-reader.js';
import { asText } from '../cli/output/format.js';
import { pointIntoContent, withoutPointers } from '../edges/content/json-pointer.js';
import { unpackHead } from '../edges/content/response-head.js';
import { redactedUrl } from '../edges/content/request-to-keep.js';
import { REDACTED } from '../edges/content/request-to-keep.js';
import type { StoredError } from '../edges/content/value-error.js';
import type { Head } from '../edges/content/value-outcome.js';
import { TOMBSTONE_CODE, VALUE_CODE } from '../engine/outcome.js';
import { RESULT_NOT_KEPT } from '../engine/step-result.js';
import type { IdempotencyRecord, IdempotencyStep } from '../store/entities/index.js';
import type { EncryptionOptions } from '../store/sealer.js';
import type { Content, RequestView, ResponseView } from './contract.js';

/** What of one content goes to the page, in characters of text and bytes of anything else. */
const MOST_TEXT = 262_144;
const MOST_BYTES = 4_096;

/** A compressed body is not unpacked beyond this: a small one may become gigabytes. */
const MOST_UNPACKED = 4_194_304;

/** JSON that is nested deeper is not indented: a client decides how deep it is, and each line would begin with spaces for it. */
const MOST_INDENTED = 64;

export interface ContentOptions {
  readonly encryption: EncryptionOptions | undefined;
  /** Pointers into requests, responses and results of steps, or with `?` to parameters of a request's query. */
  readonly redact: readonly string[];
  /** Whether content is shown at all. */
  readonly content: boolean;
}

/** Shows what is kept of one record: decrypted, decoded, indented, and without what must not be seen. */
export class ContentView {
  private readonly reader: ContentReader;

  constructor(
    private readonly record: IdempotencyRecord,
    private readonly options: ContentOptions,
  ) {
    this.reader = new ContentReader(record.id, options.encryption);
  }

  request(): RequestView | Content | null {
    const kept = this.reader.read(this.record.request, 'request');
    if (!kept) return null;
    if (kept.kind === 'sealed') return this.sealed(kept.why);
    const { bytes } = kept;
    const text = bytes.toString();
    const request = (jsonOf(text) ?? {}) as Record<string, unknown>;
    const isHttp = typeof request.method === 'string' && typeof request.path === 'string';
    if (!isHttp) {
      // Of a message or a mutation, the content is a member of what is kept; of `run()`, it is all of it.
      const body = this.show(bytes, { redact: [...this.options.redact, ...this.pointersBelow('/input')] });
      return { method: null, host: null, path: null, mediaType: null, body };
    }
    const body = memberText(text, 'body');
    return {
      method: request.method as string,
      host: (request.host as string | undefined) ?? null,
      path: this.pathOf(request.path as string),
      mediaType: (request.mediaType as string | undefined) ?? null,
      body: body === undefined ? null : this.show(Buffer.from(body)),
    };
  }

  response(): ResponseView | Content | null {
    const { responseCode: code, responseHead } = this.record;
    if (code === null) return null;
    if (code === TOMBSTONE_CODE) return { kind: 'none', status: null, headers: [], body: null };
    const head = this.reader.read(responseHead, `head of ${code}`);
    if (head?.kind === 'sealed') return this.sealed(head.why);
    const body = this.reader.readBody(this.record);
    const shown = (how?: HowToShow) =>
      body && (body.kind === 'sealed' ? this.sealed(body.why) : this.show(body.bytes, how));
    if (code === VALUE_CODE) {
      const packed = jsonOf(head?.bytes.toString() ?? '{"kind":"value"}') as Head | null | undefined;
      if (!packed) return unreadable();
      const error = packed.kind === 'value' ? undefined : packed.error;
      if (error) return { kind: 'error', status: null, headers: [], body: this.showError(error) };
      // Each of several values is redacted as one alone would be.
      const how = packed.kind === 'values' ? { redact: this.pointersBelow('/*') } : undefined;
      return { kind: 'value', status: null, headers: [], body: shown(how) };
    }
    const headers = headersOf(head?.bytes ?? null);
    if (!headers) return unreadable();
    const encoding = headers.find(([name]) => name.toLowerCase() === 'content-encoding')?.[1];
    // Headers carry content as well: a `Location` with a token.
    return { kind: 'http', status: code, headers: this.options.content ? headers : [], body: shown({ encoding }) };
  }

  step({ name, result }: IdempotencyStep): Content | null {
    const kept = this.reader.read(result, `step:${name}`);
    if (!kept) return null;
    if (kept.kind === 'sealed') return this.sealed(kept.why);
    const text = kept.bytes.toString();
    if (text === RESULT_NOT_KEPT) return withheld('The result was not kept', 0);
    // Before the JSON stands a line with the types of what JSON cannot carry.
    return this.show(text.startsWith('#') ? Buffer.from(text.slice(text.indexOf('\n') + 1)) : kept.bytes);
  }

  private sealed(why: string): Content {
    const { encryption } = this.options;
    return { kind: 'sealed', reason: encryption ? why : 'encrypted, and the application has no option `encryption`' };
  }

  /** @returns the path without what of its query must not be seen */
  private pathOf(path: string): string {
    return this.options.content ? redactedUrl(path, this.options.redact) : path.split('?', 1)[0];
  }

  /** As storage redacts an error: the three members that the client sees. */
  private showError(error: StoredError): Content {
    const json = error.payload?.json;
    // JSON within JSON, which no pointer would reach into.
    const payload = json === undefined ? undefined : (parsed(json)?.value ?? json);
    const redact = ['/response', '/extensions', '/payload'].flatMap((member) => this.pointersBelow(member));
    return this.show(Buffer.from(JSON.stringify({ ...error, payload })), { redact });
  }

  private pointersBelow(place: string): readonly string[] {
    return this.options.redact.filter((pointer) => pointer.startsWith('/')).map((pointer) => place + pointer);
  }

  private show(stored: Buffer, { encoding, redact = this.options.redact }: HowToShow = {}): Content {
    const { content } = this.options;
    if (!content) return withheld('The option `content` of the dashboard is off', stored.length);
    const bytes = decoded(stored, encoding);
    const text = bytes && textOf(bytes);
    const json = text === undefined ? undefined : parsed(text);
    const shownJson = json && showJson(text!, json.value, { bytes: stored.length, redact });
    if (shownJson) return shownJson;
    if (pointIntoContent(redact)) {
      return withheld('It is not JSON, and the options `redact` cannot reach into it', stored.length);
    }
    if (text === undefined) {
      const shown = stored.subarray(0, MOST_BYTES);
      const truncated = shown.length < stored.length;
      return { kind: 'binary', base64: shown.toString('base64'), bytes: stored.length, truncated };
    }
    return { kind: 'text', text: text.slice(0, MOST_TEXT), bytes: stored.length, truncated: text.length > MOST_TEXT };
  }
}

interface HowToShow {
  readonly encoding?: string;
  /** Default: the pointers of the options. */
  readonly redact?: readonly string[];
}

/** @returns `undefined` for what is nested deeper than it can be written down */
function showJson(
  source: string,
  value: unknown,
  { bytes, redact }: { readonly bytes: number; readonly redact: readonly string[] },
): Content | undefined {
  const rest = withoutPointers(value, redact, REDACTED);
  const text = indented(rest);
  if (text === undefined) return undefined;
  return {
    kind: 'json',
    text: text.slice(0, MOST_TEXT),
    bytes,
    redacted: rest !== value || source.includes(`"${REDACTED}"`),
    truncated: text.length > MOST_TEXT,
  };
}

/**
 * As `JSON.stringify(value, null, 2)`, which would write a small body with deep nesting as a hundred megabytes: ends soon after
 * {@link MOST_TEXT} characters, and does not indent beyond {@link MOST_INDENTED} levels.
 */
function indented(value: unknown): string | undefined {
  let text = '';
  const write = (one: unknown, depth: number): void => {
    const isFlat = typeof one !== 'object' || one === null || isRawJSON?.(one) || Object.keys(one).length === 0;
    if (isFlat || depth > MOST_INDENTED) {
      text += JSON.stringify(one);
      return;
    }
    const isArray = Array.isArray(one);
    const space = `\n${'  '.repeat(depth)}`;
    text += isArray ? '[' : '{';
    let separator = '';
    for (const [name, member] of Object.entries(one)) {
      if (text.length > MOST_TEXT) return;
      text += `${separator}${space}  ${isArray ? '' : `${JSON.stringify(name)}: `}`;
      write(member, depth + 1);
      separator = ',';
    }
    text += space + (isArray ? ']' : '}');
  };
  try {
    write(value, 0);
    return text;
  } catch {
    return undefined;
  }
}

function withheld(reason: string, bytes: number): Content {
  return { kind: 'withheld', reason, bytes };
}

/** Others may write to the table: the page shows what else the record has. */
function unreadable(): Content {
  return withheld('It cannot be read: the library has not written it', 0);
}

/** @returns `undefined` for what is no JSON */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** @returns `undefined` for what is no head */
function headersOf(head: Buffer | null): (readonly [name: string, value: string])[] | undefined {
  try {
    return unpackHead(head).headers.flatMap(([name, value]) => [value].flat().map((one) => [name, one] as const));
  } catch {
    return undefined;
  }
}

/** @returns `undefined` for what is not packed as it says, or would be too large */
function decoded(bytes: Buffer, encoding = 'identity'): Buffer | undefined {
  const options = { maxOutputLength: MOST_UNPACKED };
  try {
    switch (encoding.trim().toLowerCase()) {
      case 'gzip':
      case 'x-gzip':
        return gunzipSync(bytes, options);
      case 'deflate':
        return inflateSync(bytes, options);
      case 'br':
        return brotliDecompressSync(bytes, options);
      case 'identity':
        return bytes;
      default:
        return undefined;
    }
  } catch {
    return undefined;
  }
}

/** Control characters that text does not have. */
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\0-\x08\x0e-\x1a\x1c-\x1f]/;

function textOf(bytes: Buffer): string | undefined {
  const text = asText(bytes);
  return text === undefined || CONTROL.test(text) ? undefined : text;
}

/** Node 22's: the text that a value was parsed from, and JSON that is written as it is. */
type Reviver = (this: unknown, key: string, value: unknown, context?: { readonly source?: string }) => unknown;
const { rawJSON, isRawJSON } = JSON as {
  rawJSON?: (text: string) => unknown;
  isRawJSON?: (value: unknown) => boolean;
};

/** Numbers keep their text, where Node can: 51.50, and ids beyond 2^53. */
const keepNumbers: Reviver = (_key, value, context) =>
  typeof value === 'number' && rawJSON && context?.source !== undefined && String(value) !== context.source
    ? rawJSON(context.source)
    : value;

function parsed(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text, keepNumbers) as unknown };
  } catch {
    return undefined;
  }
}

/** A member of what the library wrote as an object, as JSON; all of it where it is nested too deep to be taken apart. */
function memberText(text: string, name: string): string | undefined {
  try {
    const { value } = parsed(text)!;
    const member = (value as Record<string, unknown>)[name];
    return member === undefined ? undefined : JSON.stringify(member);
  } catch {
    return text;
  }
}
