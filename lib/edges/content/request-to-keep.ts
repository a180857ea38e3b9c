import { canonicalJson } from './canonical-json.js';
import type { ResolvedOperationOptions } from '../../options/resolved-options.js';
import { pointIntoContent, reachesParameter, withoutPointers } from './json-pointer.js';

export const REDACTED = '[redacted]';

/** The parts of a stored request: `head`, a JSON object, with the content as one more member, or only the content. */
export type RequestToKeep = {
  /** Bytes are never stored, and text is not if there is something to redact: no pointer of `request.redact` leads into it. */
  readonly content: unknown;
  /** `content` as canonical JSON, if the caller has it. */
  readonly json?: string;
} & ({ readonly head?: undefined } | { readonly head: string; readonly member: 'body' | 'input' });

/**
 * Returns the JSON that a record stores of a request. Every edge and `IdempotencyService.run()` call this function, so that none of
 * them can forget `request.redact` and write a card number to the database.
 *
 * @returns `null` with `request.store: false`, above `request.maxBytes` bytes, and without head and content
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

/**
 * Returns the JSON that a record stores of an HTTP request: method, host if it is part of the identity, path, media type, and a body
 * of JSON or the fields of a form. It has no headers, and so neither credentials nor cookies.
 */
export function storedRequest(
  { method, rawRequest }: { readonly method: string; readonly rawRequest: { readonly url?: string } },
  {
    mediaType,
    content,
    json,
  }: { readonly mediaType: string; readonly content?: unknown; readonly json?: string | undefined },
  settings: ResolvedOperationOptions['request'],
  host?: string,
): Buffer | null {
  if (!settings.store) return null;
  const path = redactedUrl(rawRequest.url ?? '', settings.redact);
  const place = host ? `"host":${JSON.stringify(host)},` : '';
  const head = `{"method":"${method}",${place}"path":${JSON.stringify(path)},"mediaType":${JSON.stringify(mediaType)}}`;
  return requestToKeep({ head, member: 'body', content, json }, settings);
}

/** Returns a URL with redacted query parameters. The rest stays as the client wrote it. */
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
  // Unparsed text may be JSON that contains what is to be redacted.
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
