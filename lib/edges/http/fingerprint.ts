import { Readable } from 'node:stream';
import type { FingerprintOptions } from '../../options/idempotency-options.js';
import { canonicalJson } from '../content/canonical-json.js';
import { type Exchange, isObject, type PlatformRequest } from './exchange.js';
import type { HttpOperation } from './http-operations.js';
import { digestOf } from '../content/digest.js';
import { comparedContent, reachesParameter } from '../content/json-pointer.js';
import { announcesBody, digestOfMultipart, unreadBodyOf } from './streamed-body.js';
import { describeFiles, streamedFile, withoutContent } from './uploads.js';

/** The format of fingerprints. A change of it needs a new version, or retries of older records are refused. */
const FORMAT = 'v1';

/** A request's body, as it is compared and stored. */
interface BodyDescription {
  readonly text: string;
  /** The body, or the file in it, that is still unread, and that `text` does not cover. */
  readonly stream?: Readable | undefined;
  /** Whether an upload was read earlier and not kept, so that `text` does not cover it. */
  readonly isIncomplete?: boolean | undefined;
  /** The body if it is JSON or the fields of a form. */
  readonly content?: unknown;
  /** `content` as canonical JSON, if that is known. */
  readonly json?: string | undefined;
}

/** What distinguishes a request from another one with the same key. */
export interface RequestDescription extends Omit<BodyDescription, 'text'> {
  /** The text that is hashed into the fingerprint. */
  readonly fingerprint: string;
  readonly mediaType: string;
}

/**
 * Describes a request by method, route, version, parameters, sorted query, media type, chosen headers and body.
 *
 * With the option `operation`, its name replaces method, route and version, and only the values of parameters are compared: routes
 * and names of parameters may change between releases.
 */
export function describeRequest(
  exchange: Exchange,
  options: FingerprintOptions,
  operation: Pick<HttpOperation, 'named' | 'version'>,
): RequestDescription | Promise<RequestDescription> {
  const mediaType = mediaTypeOf(exchange.request.headers['content-type']);
  const head = `${headOf(exchange, options, operation, mediaType)}\n\n`;
  const described = ({ text, stream, isIncomplete, content, json }: BodyDescription): RequestDescription => ({
    fingerprint: head + text,
    stream,
    isIncomplete,
    mediaType,
    content,
    json,
  });
  const body = describeBody(exchange, mediaType, options);
  return body instanceof Promise ? body.then(described) : described(body);
}

function headOf(
  { endpoint, request, rawRequest }: Exchange,
  options: FingerprintOptions,
  { named, version }: Pick<HttpOperation, 'named' | 'version'>,
  mediaType: string,
): string {
  const where =
    named !== undefined
      ? `${named}\n${parameterValues(request.params)}`
      : `${endpoint}\n${version}\n${parameters(request.params)}`;
  let head = `${FORMAT}\n${where}\n${sortedQuery(rawRequest.url ?? '', options)}\n${mediaType}`;
  for (const name of options.headers ?? []) head += `\n${name}: ${String(request.headers[name] ?? '')}`;
  return head;
}

/** Describes a request whose fingerprint does not depend on its body. Reads nothing. */
export function describeWithoutBody({ request }: Exchange): RequestDescription {
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
  const { body, fields, headers }: PlatformRequest & { readonly fields?: unknown } = exchange.request;
  // The members of bytes are their numbers: to describe each as a part would block the process for a minute per megabyte.
  if (body instanceof Uint8Array || typeof body === 'string') {
    return { text: `form ${digestOfMultipart(body, headers['content-type'])}` };
  }
  const files = await describeFiles(exchange.request);
  if (!files && !isObject(body)) return describeReadBody(exchange, options);
  const form = body ?? fields ?? {};
  const { text, ...content } = describeContent(files ? form : await withoutContent(form), options);
  const whole = files ? `${text}\nfiles ${canonicalJson(files)}` : text;
  return { text: whole, isIncomplete: whole.includes('"sha256":null'), ...content };
}

function describeReadBody(exchange: Exchange, options: FingerprintOptions): BodyDescription {
  const { body } = exchange.request;
  if (body === undefined || body === null || isMadeOfNothing(exchange)) {
    return { text: 'none', isIncomplete: body === undefined && announcesBody(exchange) };
  }
  if (body instanceof Uint8Array) return { text: `bytes ${digestOf(body)}` };
  if (typeof body === 'string') return { text: `text ${body}` };
  return describeContent(body, options);
}

/** Parsers make `{}` of no bytes, some only where `Content-Length: 0` says so. A proxy may add that, or leave it out. */
function isMadeOfNothing(exchange: Exchange): boolean {
  const { body } = exchange.request;
  if (announcesBody(exchange) || !isObject(body) || Array.isArray(body)) return false;
  for (const _ in body) return false;
  return true;
}

function describeContent(content: unknown, options: FingerprintOptions): BodyDescription {
  const compared = comparedContent(content, options);
  const json = canonicalJson(compared);
  return { text: `json ${json}`, content, json: compared === content ? json : undefined };
}

/** Returns the parameters of the path. Few routes have any, so there is a short way for none. */
function parameters(params: unknown): string {
  for (const _ in params as object | undefined) return canonicalJson(params);
  return '{}';
}

/**
 * Returns the values of the parameters. The rest of a path (`*rest`) is an array on Express and a text on Fastify. A part of it with a slash
 * of its own (`%2F`) stays in an array, as `a%2Fb` and `a/b` are two paths.
 */
function parameterValues(params: unknown): string {
  const values = Object.values((params ?? {}) as Record<string, unknown>)
    .filter((value) => value !== undefined)
    .map((value) =>
      Array.isArray(value) && !value.some((part) => String(part).includes('/')) ? value.join('/') : value,
    );
  return values.length > 0 ? canonicalJson(values) : '{}';
}

/** Returns the media type without its parameters, because a multipart boundary differs between retries. */
function mediaTypeOf(contentType = ''): string {
  const end = contentType.indexOf(';');
  return (end < 0 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
}

/** U+FFFD, which URLSearchParams reads instead of bytes that are not UTF-8, percent-encoded. */
const UNDECODABLE = '%EF%BF%BD';

function sortedQuery(url: string, { ignore = [], only = [] }: FingerprintOptions): string {
  const start = url.indexOf('?');
  if (start < 0) return '';
  // With the question mark: it is left out, and a second one would be otherwise.
  const query = new URLSearchParams(url.slice(start));
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
 * Returns whether a compared parameter has bytes that are not UTF-8, such as the Latin-1 of old forms. Its text is compared as sent:
 * decoded, `caf%E9` and `caf%E8` would be the same request.
 */
function isUndecodable(parameter: string, isCompared: (name: string) => boolean): boolean {
  try {
    decodeURIComponent(parameter);
    return false;
  } catch {
    const [name = ''] = new URLSearchParams(`?${parameter}`).keys();
    return isCompared(name);
  }
}
