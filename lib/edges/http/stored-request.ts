import type { ResolvedModuleOptions } from '../../options/resolved-options.js';
import type { Exchange } from './exchange.js';
import type { RequestDescription } from './fingerprint.js';
import { withoutPointers } from './json-pointer.js';

const REDACTED = '[redacted]';

/**
 * What is kept of a request, as JSON: method, path, media type and the JSON body. No headers, and so neither
 * credentials nor cookies. `null` where nothing is to be kept, or it is too large.
 */
export function storedRequest(
  exchange: Exchange,
  description: RequestDescription,
  { store, maxBytes, redact }: ResolvedModuleOptions['request'],
): Buffer | null {
  if (!store) return null;
  const head = JSON.stringify({
    method: exchange.method,
    path: exchange.rawRequest.url ?? '',
    mediaType: description.mediaType,
  });
  const { json } = description;
  if (json === undefined) return withinLimit(head, maxBytes);
  const kept = redact.length ? JSON.stringify(withoutPointers(exchange.request.body, redact, REDACTED)) : json;
  return withinLimit(`${head.slice(0, -1)},"body":${kept}}`, maxBytes);
}

function withinLimit(text: string, maxBytes: number): Buffer | null {
  if (text.length > maxBytes) return null;
  const bytes = Buffer.from(text);
  return bytes.length > maxBytes ? null : bytes;
}
