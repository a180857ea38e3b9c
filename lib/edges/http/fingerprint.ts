import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { FingerprintOptions } from '../../options/idempotency-options.js';
import { canonicalJson } from '../../canonical-json.js';
import type { Exchange, PlatformRequest } from './exchange.js';
import { comparedContent, reachesParameter } from './json-pointer.js';
import { announcesBody, unreadBodyOf } from './streamed-body.js';
import { describeFiles, type FileDescription, streamedFile, withoutContent } from './uploads.js';

/** Bumped when the same request would be described otherwise: records of an older version then do not match. */
const FORMAT = 'v1';

/** What tells one request from another under the same key, and what of it may be kept. */
export interface RequestDescription {
  /** The text that is hashed into the fingerprint. */
  readonly fingerprint: string;
  /** The body, or the file of it, that is still to be read, and that the text does not cover. */
  readonly stream?: Readable | undefined;
  /** Whether something was uploaded that the text does not cover, as it was read before and not kept. */
  readonly isIncomplete?: boolean | undefined;
  readonly mediaType: string;
  /** The body, where it is JSON or fields of a form. */
  readonly content?: unknown;
  /** The same as canonical JSON, where that is known already. */
  readonly json?: string;
}

interface BodyDescription {
  readonly text: string;
  readonly stream?: Readable | undefined;
  readonly isIncomplete?: boolean | undefined;
  readonly content?: unknown;
  readonly json?: string;
}

/** An operation whose name stands for method, route and version. */
export interface NamedOperation {
  readonly operation: string;
  /** Where its route takes several; else empty. */
  readonly method: string;
}

/**
 * Describes a request: method, route, version, parameters, sorted query, media type, chosen headers, and the body. With a
 * name, the values of the parameters in their order: routes and the names of parameters may change from release to release.
 */
export async function describeRequest(
  exchange: Exchange,
  options: FingerprintOptions,
  named?: NamedOperation,
): Promise<RequestDescription> {
  const { headers = [] } = options;
  const { request, rawRequest } = exchange;
  const mediaType = mediaTypeOf(request.headers['content-type']);
  const body = await describeBody(exchange, mediaType, options);
  return {
    fingerprint: [
      FORMAT,
      ...(named
        ? [named.operation, named.method, parameterValues(request.params)]
        : [exchange.endpoint, exchange.version, parameters(request.params)]),
      sortedQuery(rawRequest.url ?? '', options),
      mediaType,
      ...headers.map((name) => `${name}: ${String(request.headers[name] ?? '')}`),
      '',
      body.text,
    ].join('\n'),
    stream: body.stream,
    isIncomplete: body.isIncomplete,
    mediaType,
    content: body.content,
    json: body.json,
  };
}

/** For requests whose fingerprint does not depend on their body: reads nothing. */
export function describeBriefly({ request }: Exchange): RequestDescription {
  const mediaType = mediaTypeOf(request.headers['content-type']);
  const { body } = request;
  const isContent = typeof body === 'object' && !(body instanceof Uint8Array || body instanceof Readable);
  const mayHoldFiles = mediaType.startsWith('multipart/');
  return { fingerprint: '', mediaType, content: isContent && !mayHoldFiles ? (body ?? undefined) : undefined };
}

async function describeBody(
  exchange: Exchange,
  mediaType: string,
  options: FingerprintOptions,
): Promise<BodyDescription> {
  const { request } = exchange;
  const { body } = request;
  const file = streamedFile(request);
  if (file) {
    const { text } = describeContent(body ?? {}, options);
    return { text: `stream ${canonicalJson(file.description)}\n${text}`, stream: file.stream };
  }
  const stream = unreadBodyOf(exchange);
  if (stream) return { text: 'stream', stream };
  if (mediaType.startsWith('multipart/')) {
    const files = await describeFiles(request);
    if (files || (typeof body === 'object' && body !== null)) return describeForm(request, files, options);
  }
  if (body === undefined || body === null) {
    return { text: 'none', isIncomplete: body === undefined && announcesBody(exchange) };
  }
  if (body instanceof Uint8Array) return { text: `bytes ${createHash('sha256').update(body).digest('base64')}` };
  if (typeof body === 'string') return { text: `text ${body}` };
  return describeContent(body, options);
}

async function describeForm(
  { body, fields }: PlatformRequest & { readonly fields?: unknown },
  files: FileDescription[] | undefined,
  options: FingerprintOptions,
): Promise<BodyDescription> {
  const form = body ?? fields ?? {};
  const { text, ...content } = describeContent(files ? form : await withoutContent(form), options);
  const whole = files ? `${text}\nfiles ${canonicalJson(files)}` : text;
  return { text: whole, isIncomplete: whole.includes('"sha256":null'), ...content };
}

function describeContent(content: unknown, options: FingerprintOptions): BodyDescription {
  const compared = comparedContent(content, options);
  const json = canonicalJson(compared);
  return { text: `json ${json}`, content, json: compared === content ? json : undefined };
}

/** Of the path: few routes have any. */
function parameters(params: unknown): string {
  for (const _ in params as object | undefined) return canonicalJson(params);
  return '{}';
}

/** The rest of a path (`*rest`) is a list of segments on Express, and a text on Fastify. */
function parameterValues(params: unknown): string {
  const values = Object.values((params ?? {}) as Record<string, unknown>)
    .filter((value) => value !== undefined)
    .map((value) => (Array.isArray(value) ? value.join('/') : value));
  return values.length > 0 ? canonicalJson(values) : '{}';
}

/** Without parameters: a multipart boundary is new on every attempt. */
function mediaTypeOf(contentType = ''): string {
  return contentType.split(';', 1)[0].trim().toLowerCase();
}

function sortedQuery(url: string, { ignore = [], only = [] }: FingerprintOptions): string {
  const start = url.indexOf('?');
  if (start < 0) return '';
  const query = new URLSearchParams(url.slice(start + 1));
  query.sort();
  const all = [...query];
  const chosen = all.filter(([name]) => reachesParameter(only, name));
  const compared = (chosen.length > 0 ? chosen : all).filter(([name]) => !reachesParameter(ignore, name));
  return new URLSearchParams(compared).toString();
}
