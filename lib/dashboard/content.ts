import { ContentReader } from '../cli/content-reader.js';
import { asText } from '../cli/output/format.js';
import { decode } from '../edges/content/content-coding.js';
import { pointIntoContent, withoutPointers } from '../edges/content/json-pointer.js';
import { unpackHead } from '../edges/content/response-head.js';
import { REDACTED, redactedUrl } from '../edges/content/request-to-keep.js';
import type { StoredError } from '../edges/content/value-error.js';
import type { Head } from '../edges/content/value-outcome.js';
import { isTombstone, VALUE_CODE } from '../engine/outcome.js';
import { RESULT_NOT_KEPT } from '../engine/step-result.js';
import type { IdempotencyRecord, IdempotencyStep } from '../store/entities/index.js';
import type { EncryptionOptions } from '../store/sealer.js';
import type { Content, RequestView, ResponseView } from './contract.js';

/** How much of one content goes to the page: characters of text, or bytes of anything else. */
const MAX_TEXT = 262_144;
const MAX_BINARY = 4_096;

/** The largest size of a decompressed body, in bytes: a small body may become gigabytes. */
const MAX_DECOMPRESSED = 4_194_304;

/** The deepest level that is indented. Clients decide how deep JSON is, and each line of deep JSON would begin with thousands of spaces. */
const MAX_INDENTED = 64;

const NOT_SEARCHED = 'It is not JSON, and the options `redact` cannot reach into it';

export interface ContentOptions {
  readonly encryption: EncryptionOptions | undefined;
  /** Pointers into requests, responses and results of steps, or with `?` to parameters of a request's query. */
  readonly redact: readonly string[];
  /** Whether content is shown. */
  readonly content: boolean;
}

/** Shows the content of one record: decrypted, decompressed, indented and redacted. */
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
    const json = parsed(text);
    // As text, it would show the query of its path, too.
    if (!json && this.options.redact.length > 0) return withheld(NOT_SEARCHED, bytes.length);
    const request = (json?.value ?? {}) as Record<string, unknown>;
    const isHttp = typeof request.method === 'string' && typeof request.path === 'string';
    if (!isHttp) {
      // Messages and mutations are stored with their content as the member `input`, and calls of `run()` as their content.
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
    const { responseCode: code } = this.record;
    if (code === null) return null;
    if (isTombstone({ code })) return { kind: 'none', status: null, headers: [], body: null };
    const head = this.reader.readHead(this.record);
    if (head?.kind === 'sealed') return this.sealed(head.why);
    const body = this.reader.readBody(this.record);
    const shown = (how?: HowToShow) =>
      body && (body.kind === 'sealed' ? this.sealed(body.why) : this.show(body.bytes, how));
    if (code === VALUE_CODE) {
      const packed = parsed(head?.bytes.toString() ?? '{"kind":"value"}')?.value as Head | null | undefined;
      if (!packed) return unreadable();
      const error = packed.kind === 'value' ? undefined : packed.error;
      if (error) return { kind: 'error', status: null, headers: [], body: this.showError(error) };
      // The pointers lead into each of several values.
      const how = packed.kind === 'values' ? { redact: this.pointersBelow('/*') } : undefined;
      return { kind: 'value', status: null, headers: [], body: shown(how) };
    }
    const headers = headersOf(head?.bytes ?? null);
    if (!headers) return unreadable();
    const encoding = headers.find(([name]) => name.toLowerCase() === 'content-encoding')?.[1];
    // Headers have content too, such as a `Location` with a token.
    return { kind: 'http', status: code, headers: this.options.content ? headers : [], body: shown({ encoding }) };
  }

  step({ name, result }: IdempotencyStep): Content | null {
    const kept = this.reader.read(result, `step:${name}`);
    if (!kept) return null;
    if (kept.kind === 'sealed') return this.sealed(kept.why);
    const text = kept.bytes.toString();
    if (text === RESULT_NOT_KEPT) return withheld('The result was not kept', 0);
    // A line that begins with # has the types that JSON cannot express.
    return this.show(text.startsWith('#') ? Buffer.from(text.slice(text.indexOf('\n') + 1)) : kept.bytes);
  }

  private sealed(why: string): Content {
    const { encryption } = this.options;
    return { kind: 'sealed', reason: encryption ? why : 'encrypted, and the application has no option `encryption`' };
  }

  /** @returns the path, with its query redacted or removed */
  private pathOf(path: string): string {
    return this.options.content ? redactedUrl(path, this.options.redact) : path.split('?', 1)[0];
  }

  /** Redacts an error as the store does: in the three members that the client sees. */
  private showError(error: StoredError): Content {
    const json = error.payload?.json;
    // Parsed, because no pointer leads into JSON within JSON.
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
      return withheld(NOT_SEARCHED, stored.length);
    }
    if (text === undefined) {
      const shown = stored.subarray(0, MAX_BINARY);
      const truncated = shown.length < stored.length;
      return { kind: 'binary', base64: shown.toString('base64'), bytes: stored.length, truncated };
    }
    return { kind: 'text', text: text.slice(0, MAX_TEXT), bytes: stored.length, truncated: text.length > MAX_TEXT };
  }
}

interface HowToShow {
  readonly encoding?: string;
  /** Default: the pointers of the options. */
  readonly redact?: readonly string[];
}

/** @returns `undefined` for JSON that is nested too deeply for JSON.stringify() */
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
    text: text.slice(0, MAX_TEXT),
    bytes,
    redacted: rest !== value || source.includes(`"${REDACTED}"`),
    truncated: text.length > MAX_TEXT,
  };
}

/**
 * Writes JSON as `JSON.stringify(value, null, 2)` does, but ends soon after {@link MAX_TEXT} characters and does not indent below
 * {@link MAX_INDENTED} levels: a small, deeply nested body would become a hundred megabytes.
 */
function indented(value: unknown): string | undefined {
  let text = '';
  const write = (one: unknown, depth: number): void => {
    const isFlat = typeof one !== 'object' || one === null || isRawJSON?.(one) || Object.keys(one).length === 0;
    if (isFlat || depth > MAX_INDENTED) {
      text += JSON.stringify(one);
      return;
    }
    const isArray = Array.isArray(one);
    const space = `\n${'  '.repeat(depth)}`;
    text += isArray ? '[' : '{';
    let separator = '';
    for (const [name, member] of Object.entries(one)) {
      if (text.length > MAX_TEXT) return;
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

/** For content of another writer: the page shows the rest of the record. */
function unreadable(): Content {
  return withheld('It cannot be read: the library has not written it', 0);
}

/** @returns `undefined` for bytes that are no head of a response */
function headersOf(head: Buffer | null): (readonly [name: string, value: string])[] | undefined {
  try {
    return unpackHead(head).headers.flatMap(([name, value]) => [value].flat().map((one) => [name, one] as const));
  } catch {
    return undefined;
  }
}

/** @returns `undefined` for an unknown or wrong encoding, and for a body that is too large */
function decoded(bytes: Buffer, encoding = 'identity'): Buffer | undefined {
  const coding = encoding.trim();
  return coding.toLowerCase() === 'identity' ? bytes : decode(bytes, coding, MAX_DECOMPRESSED);
}

/** Control characters that show that bytes are no text. */
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\0-\x08\x0e-\x1a\x1c-\x1f]/;

function textOf(bytes: Buffer): string | undefined {
  const text = asText(bytes);
  return text === undefined || CONTROL.test(text) ? undefined : text;
}

/** Node 22 gives revivers the source text of a value, and has JSON that is written as it is. */
type Reviver = (this: unknown, key: string, value: unknown, context?: { readonly source?: string }) => unknown;
const { rawJSON, isRawJSON } = JSON as {
  rawJSON?: (text: string) => unknown;
  isRawJSON?: (value: unknown) => boolean;
};

/** Keeps the text of numbers, from Node 22 on: 51.50, and ids above 2^53, which a double cannot hold. */
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

/** Returns a member of a stored object as JSON, or all of the object if it is nested too deeply to be parsed. */
function memberText(text: string, name: string): string | undefined {
  try {
    const { value } = parsed(text)!;
    const member = (value as Record<string, unknown>)[name];
    return member === undefined ? undefined : JSON.stringify(member);
  } catch {
    return text;
  }
}
