import { validateHeaderName, validateHeaderValue } from 'node:http';
import { NEVER_STORED } from '../edges/content/response-head.js';
import { OF_THE_BYTES } from '../edges/content/response-to-keep.js';

/**
 * Returns why an operator cannot give a header to the response of a held operation.
 *
 * - `'malformed'`: Node would throw at each replay.
 * - `'own'`: each replay has its own. A recorded `Content-Length` or `Transfer-Encoding` breaks it, a `Set-Cookie` logs its reader in.
 */
export function headerFault(name: string, value: unknown): 'malformed' | 'own' | undefined {
  if (typeof value !== 'string') return 'malformed';
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  } catch {
    return 'malformed';
  }
  const lower = name.toLowerCase();
  return NEVER_STORED.has(lower) || OF_THE_BYTES.has(lower) ? 'own' : undefined;
}
