import type { ResolvedModuleOptions } from '../../options/resolved-options.js';
import { canonicalJson } from '../../canonical-json.js';
import type { Exchange } from './exchange.js';
import type { RequestDescription } from './fingerprint.js';
import { withoutPointers } from './json-pointer.js';

export const REDACTED = '[redacted]';

/**
 * What is kept of a request, as JSON: method, path, media type and the body, where that is JSON or fields of a form. No
 * headers, and so neither credentials nor cookies. `null` where nothing is to be kept, or it is too large.
 */
export function storedRequest(
  { method, rawRequest }: Exchange,
  { mediaType, content, json }: RequestDescription,
  { store, maxBytes, redact }: ResolvedModuleOptions['request'],
): Buffer | null {
  if (!store) return null;
  const head = JSON.stringify({ method, path: rawRequest.url ?? '', mediaType });
  if (content === undefined) return withinLimit(head, maxBytes);
  const body = redact.length || json === undefined ? canonicalJson(withoutPointers(content, redact, REDACTED)) : json;
  return withinLimit(`${head.slice(0, -1)},"body":${body}}`, maxBytes);
}

/** The text's bytes, where they are not too many. */
export function withinLimit(text: string, maxBytes: number): Buffer | null {
  if (text.length > maxBytes) return null;
  const bytes = Buffer.from(text);
  return bytes.length > maxBytes ? null : bytes;
}
