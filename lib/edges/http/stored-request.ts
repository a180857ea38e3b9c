import type { ResolvedModuleOptions } from '../../options/resolved-options.js';
import { requestToKeep } from '../request-to-keep.js';
import type { Exchange } from './exchange.js';
import type { RequestDescription } from './fingerprint.js';

/**
 * What is kept of a request, as JSON: method, host where it is part of the identity, path, media type and the body, where that is JSON or fields of a form. No
 * headers, and so neither credentials nor cookies.
 */
export function storedRequest(
  { method, rawRequest }: Exchange,
  { mediaType, content, json }: RequestDescription,
  settings: ResolvedModuleOptions['request'],
  host?: string,
): Buffer | null {
  return requestToKeep(
    { head: { method, ...(host && { host }), path: rawRequest.url ?? '', mediaType }, member: 'body', content, json },
    settings,
  );
}
