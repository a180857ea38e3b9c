import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { FingerprintOptions } from '../../options/idempotency-options.js';
import { canonicalJson } from '../content/canonical-json.js';
import type { Exchange, PlatformRequest } from './exchange.js';
import { comparedContent, reachesParameter } from '../content/json-pointer.js';
import { announcesBody, unreadBodyOf } from './streamed-body.js';
import { describeFiles, type FileDescription, streamedFile, withoutContent } from './uploads.js';

/** Bumped when the same request would be described otherwise: records of an older version then do not match. */
const FORMAT = 'v1';

/** What distinguishes one request from another with the same key, and the part that may be stored. */
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

/** What of a request's route is compared. */
export interface ComparedRoute {
  /** Of the handler, where it has one: a version may come from a header instead of the route. */
  readonly version: string;
  /** An operation whose name stands for method, route and version; `method` where its route takes several, else empty. */
  readonly named?: { readonly operation: string; readonly method: string } | undefined;
}

/**
 * Describes a request: method, route, version, parameters, sorted query, media type, chosen headers, and the body. With a
 * name, the values of the parameters in their order: routes and the names of parameters may change from release to release.
 */
export function describeRequest(
  exchange: Exchange,
  options: FingerprintOptions,
  route: ComparedRoute,
): RequestDescription | Promise<RequestDescription> {
  const mediaType = mediaTypeOf(exchange.request.headers['content-type']);
  const head = `${headOf(exchange, options, route, mediaType)}\n\n`;
  const body = describeBody(exchange, mediaType, options);
  return body instanceof Promise
    ? body.then((one) => described(head, mediaType, one))
    : described(head, mediaType, body);
}

function described(head: string, mediaType: string, body: BodyDescription): RequestDescription {
  const { text, stream, isIncomplete, content, json } = body;
  return { fingerprint: head + text, stream, isIncomplete, mediaType, content, json };
}

function headOf(
  { endpoint, request, rawRequest }: Exchange,
  options: FingerprintOptions,
  { named, version }: ComparedRoute,
  mediaType: string,
): string {
  const where = named
    ? `${named.operation}\n${named.method}\n${parameterValues(request.params)}`
    : `${endpoint}\n${version}\n${parameters(request.params)}`;
  let head = `${FORMAT}\n${where}\n${sortedQuery(rawRequest.url ?? '', options)}\n${mediaType}`;
  for (const name of options.headers ?? []) head += `\n${name}: ${String(request.headers[name] ?? '')}`;
  return head;
}

/** For requests whose fingerprint does not depend on their body: reads nothing. */
export function describeBriefly({ request }: Exchange): RequestDescription {
  const mediaType = mediaTypeOf(request.headers['content-type']);
  const { body } = request;
  const isContent = typeof body === 'object' && !(body instanceof Uint8Array || body instanceof Readable);
  const mayHoldFiles = mediaType.startsWith('multipart/');
  return { fingerprint: '', mediaType, content: isContent && !mayHoldFiles ? (body ?? undefined) : undefined };
}

function describeBody(
  exchange: Exchange,
  mediaType: string,
  options: FingerprintOptions,
): BodyDescription | Promise<BodyDescription> {
  const { request } = exchange;
  const { body } = request;
  const file = streamedFile(request);
  if (file) {
    const { text } = describeContent(body ?? {}, options);
    return { text: `stream ${canonicalJson(file.description)}\n${text}`, stream: file.stream };
  }
  const stream = unreadBodyOf(exchange);
  if (stream) return { text: 'stream', stream };
  return mediaType.startsWith('multipart/')
    ? describeMultipart(exchange, options)
    : describeReadBody(exchange, options);
}

async function describeMultipart(exchange: Exchange, options: FingerprintOptions): Promise<BodyDescription> {
  const { request } = exchange;
  const { body } = request;
  const files = await describeFiles(request);
  return files || (typeof body === 'object' && body !== null)
    ? describeForm(request, files, options)
    : describeReadBody(exchange, options);
}

function describeReadBody(exchange: Exchange, options: FingerprintOptions): BodyDescription {
  const { body } = exchange.request;
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

/** What URLSearchParams makes of bytes that are not UTF-8, as it writes it again. */
const UNDECODABLE = '%EF%BF%BD';

function sortedQuery(url: string, { ignore = [], only = [] }: FingerprintOptions): string {
  const start = url.indexOf('?');
  if (start < 0) return '';
  const query = new URLSearchParams(url.slice(start + 1));
  query.sort();
  const all = [...query];
  const isChosen = all.some(([name]) => reachesParameter(only, name));
  const isCompared = (name: string) => (!isChosen || reachesParameter(only, name)) && !reachesParameter(ignore, name);
  const sorted = new URLSearchParams(all.filter(([name]) => isCompared(name))).toString();
  if (!sorted.includes(UNDECODABLE)) return sorted;
  const asSent = url
    .slice(start + 1)
    .split('&')
    .filter((parameter) => isUndecodable(parameter, isCompared));
  return asSent.length === 0 ? sorted : `${sorted}#${asSent.join('&')}`;
}

/**
 * Whether a parameter has bytes that are not UTF-8, such as the Latin-1 of old forms. Fastify hands its text on as it came: without
 * that, `caf%E9` and `caf%E8` would be one request.
 */
function isUndecodable(parameter: string, isCompared: (name: string) => boolean): boolean {
  try {
    decodeURIComponent(parameter);
    return false;
  } catch {
    const [name = ''] = new URLSearchParams(parameter).keys();
    return isCompared(name);
  }
}
