import { createHash } from 'node:crypto';
import canonicalize from 'canonicalize';
import type { FingerprintOptions } from '../../options/idempotency-options.js';
import type { Exchange } from './exchange.js';
import { withoutPointers } from './json-pointer.js';

/** Bumped when the same request would be described otherwise: records of an older version then do not match. */
const FORMAT = 'v1';

/** What tells one request from another under the same key, and what of it may be kept. */
export interface RequestDescription {
  /** The text that is hashed into the fingerprint. */
  readonly fingerprint: string;
  readonly mediaType: string;
  /** The body as canonical JSON (RFC 8785), or `undefined` where it is not JSON. */
  readonly json: string | undefined;
}

/** Describes a request: method, route, parameters, sorted query, media type, chosen headers, and the body. */
export function describeRequest(exchange: Exchange, options: FingerprintOptions): RequestDescription {
  const { request, rawRequest } = exchange;
  const mediaType = mediaTypeOf(request.headers['content-type']);
  const body = describeBody(request.body, options.ignore ?? []);
  const headers = (options.headers ?? []).map((name) => `${name}: ${String(request.headers[name] ?? '')}`);
  return {
    fingerprint: [
      FORMAT,
      exchange.endpoint,
      canonicalize(request.params ?? {}),
      sortedQuery(rawRequest.url ?? ''),
      mediaType,
      ...headers,
      '',
      body.text,
    ].join('\n'),
    mediaType,
    json: body.json,
  };
}

function describeBody(body: unknown, ignore: readonly string[]): { text: string; json?: string } {
  if (body === undefined || body === null) return { text: 'none' };
  if (body instanceof Uint8Array) return { text: `bytes ${createHash('sha256').update(body).digest('base64')}` };
  if (typeof body === 'string') return { text: `text ${body}` };
  const json = canonicalize(body) ?? '';
  const told = ignore.length ? (canonicalize(withoutPointers(body, ignore)) ?? '') : json;
  return { text: `json ${told}`, json };
}

/** Without parameters: a multipart boundary is new on every attempt. */
function mediaTypeOf(contentType = ''): string {
  return contentType.split(';', 1)[0].trim().toLowerCase();
}

function sortedQuery(url: string): string {
  const start = url.indexOf('?');
  if (start < 0) return '';
  const query = new URLSearchParams(url.slice(start + 1));
  query.sort();
  return query.toString();
}
