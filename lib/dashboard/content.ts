import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';
import { ContentReader } from '../cli/content-reader.js';
import { asText } from '../cli/output/format.js';
import { withoutPointers } from '../edges/http/json-pointer.js';
import { unpackHead } from '../edges/http/response-head.js';
import { REDACTED } from '../edges/request-to-keep.js';
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

export interface ContentOptions {
  readonly encryption: EncryptionOptions | undefined;
  /** Pointers into requests, responses and results of steps. */
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
    const request = JSON.parse(text) as Record<string, unknown>;
    const isHttp = typeof request?.method === 'string' && typeof request.path === 'string';
    if (!isHttp) return { method: null, host: null, path: null, mediaType: null, body: this.show(bytes) };
    const body = memberText(text, 'body');
    return {
      method: request.method as string,
      host: (request.host as string | undefined) ?? null,
      path: request.path as string,
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
    const shown = (encoding?: string) =>
      body && (body.kind === 'sealed' ? this.sealed(body.why) : this.show(body.bytes, encoding));
    if (code === VALUE_CODE) {
      const { error } = JSON.parse(head?.bytes.toString() ?? '{}') as { error?: object };
      if (!error) return { kind: 'value', status: null, headers: [], body: shown() };
      return { kind: 'error', status: null, headers: [], body: this.show(Buffer.from(JSON.stringify(error))) };
    }
    const headers = unpackHead(head?.bytes ?? null).headers.flatMap(([name, value]) =>
      [value].flat().map((one) => [name, String(one)] as const),
    );
    const encoding = headers.find(([name]) => name.toLowerCase() === 'content-encoding')?.[1];
    return { kind: 'http', status: code, headers, body: shown(encoding) };
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

  private show(stored: Buffer, encoding?: string): Content {
    const { content, redact } = this.options;
    if (!content) return withheld('The option `content` of the dashboard is off', stored.length);
    const bytes = decoded(stored, encoding);
    const text = bytes && textOf(bytes);
    const json = text === undefined ? undefined : parsed(text);
    if (json !== undefined) return this.showJson(json.value, stored.length);
    if (redact.length > 0) {
      return withheld('It is not JSON, and the options `redact` cannot reach into it', stored.length);
    }
    if (text === undefined) {
      const shown = stored.subarray(0, MOST_BYTES);
      const truncated = shown.length < stored.length;
      return { kind: 'binary', base64: shown.toString('base64'), bytes: stored.length, truncated };
    }
    return { kind: 'text', text: text.slice(0, MOST_TEXT), bytes: stored.length, truncated: text.length > MOST_TEXT };
  }

  private showJson(value: unknown, bytes: number): Content {
    const rest = withoutPointers(value, this.options.redact, REDACTED);
    const text = JSON.stringify(rest, null, 2);
    return {
      kind: 'json',
      text: text.slice(0, MOST_TEXT),
      bytes,
      redacted: rest !== value || text.includes(`"${REDACTED}"`),
      truncated: text.length > MOST_TEXT,
    };
  }
}

function withheld(reason: string, bytes: number): Content {
  return { kind: 'withheld', reason, bytes };
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
const { rawJSON } = JSON as { rawJSON?: (text: string) => unknown };

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

/** A member of what the library wrote as an object, as JSON. */
function memberText(text: string, name: string): string | undefined {
  const { value } = parsed(text)!;
  const member = (value as Record<string, unknown>)[name];
  return member === undefined ? undefined : JSON.stringify(member);
}
