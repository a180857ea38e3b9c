import { NEVER } from '../edges/content/response-head.js';
import { OF_THE_BYTES } from '../edges/content/response-to-keep.js';

/** RFC 9110, sections 5.1 and 5.5. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/**
 * Returns why an operator cannot give a header to the response of a held operation.
 *
 * - `'malformed'`: Node would throw at each replay.
 * - `'own'`: each replay has its own. A recorded `Content-Length` or `Transfer-Encoding` breaks it, a `Set-Cookie` logs its reader in.
 */
export function headerFault(name: string, value: unknown): 'malformed' | 'own' | undefined {
  if (!HEADER_NAME.test(name) || typeof value !== 'string' || !HEADER_VALUE.test(value)) return 'malformed';
  const lower = name.toLowerCase();
  return NEVER.has(lower) || OF_THE_BYTES.has(lower) ? 'own' : undefined;
}
