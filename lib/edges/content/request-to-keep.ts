import { canonicalJson } from './canonical-json.js';
import type { ResolvedOperationOptions } from '../../options/resolved-options.js';
import { pointIntoContent, reachesParameter, withoutPointers } from './json-pointer.js';

export const REDACTED = '[redacted]';

/** A request as a record keeps it: `head`, a JSON object, with the content as one more member, or the content alone. */
export type RequestToKeep = {
  /** Bytes are never kept, nor is text where there is something to redact: `request.redact` cannot reach into them. */
  readonly content: unknown;
  /** `content` as canonical JSON, where the caller has it already. */
  readonly json?: string;
} & ({ readonly head?: undefined } | { readonly head: string; readonly member: 'body' | 'input' });

/**
 * The JSON that a record keeps of a request. Every edge and `IdempotencyService.run()` go through here, so that none of them
 * forgets `request.redact` and writes a card number to the database.
 *
 * @returns `null` with `request.store: false`, above `request.maxBytes` bytes, and where there is neither head nor content
 */
export function requestToKeep(
  request: RequestToKeep,
  { store, maxBytes, redact }: ResolvedOperationOptions['request'],
): Buffer | null {
  if (!store) return null;
  const content = redactedJson(request, redact);
  if (request.head === undefined) return content === '' ? null : withinLimit(content, maxBytes);
  const { head, member } = request;
  return withinLimit(content === '' ? head : `${head.slice(0, -1)},"${member}":${content}}`, maxBytes);
}

/** An HTTP request, as far as it is kept. */
interface HttpRequest {
  readonly method: string;
  readonly rawRequest: { readonly url?: string };
}

/** Its body as it was read. */
interface HttpContent {
  readonly mediaType: string;
  readonly content?: unknown;
  readonly json?: string | undefined;
}

/**
 * What is kept of an HTTP request, as JSON: method, host where it is part of the identity, path, media type and the body, where
 * that is JSON or fields of a form. No headers, and so neither credentials nor cookies.
 */
export function storedRequest(
  { method, rawRequest }: HttpRequest,
  { mediaType, content, json }: HttpContent,
  settings: ResolvedOperationOptions['request'],
  host?: string,
): Buffer | null {
  if (!settings.store) return null;
  const path = redactedUrl(rawRequest.url ?? '', settings.redact);
  const place = host ? `"host":${JSON.stringify(host)},` : '';
  const head = `{"method":"${method}",${place}"path":${JSON.stringify(path)},"mediaType":${JSON.stringify(mediaType)}}`;
  return requestToKeep({ head, member: 'body', content, json }, settings);
}

/** Leaves the rest of the URL as it was written. */
export function redactedUrl(url: string, redact: readonly string[]): string {
  const start = url.indexOf('?') + 1;
  if (start === 0 || redact.length === 0) return url;
  const parameters = url
    .slice(start)
    .split('&')
    .map((parameter) => {
      const [name = ''] = new URLSearchParams(parameter).keys();
      return reachesParameter(redact, name) ? `${parameter.split('=', 1)[0]}=${REDACTED}` : parameter;
    });
  return url.slice(0, start) + parameters.join('&');
}

/** Pointers are applied to the JSON, not to the object: a class may write members (`toJSON`) that it does not have. */
function redactedJson({ content, json }: RequestToKeep, redact: readonly string[]): string {
  if (content instanceof Uint8Array) return '';
  if (!pointIntoContent(redact)) return json ?? canonicalJson(content);
  // As of bytes: it may be JSON of a client that was not parsed.
  if (typeof content === 'string') return '';
  const whole = json ?? canonicalJson(content);
  if (whole === '') return whole;
  return canonicalJson(withoutPointers(JSON.parse(whole), redact, REDACTED));
}

function withinLimit(text: string, maxBytes: number): Buffer | null {
  if (text.length > maxBytes) return null;
  const bytes = Buffer.from(text);
  return bytes.length > maxBytes ? null : bytes;
}
