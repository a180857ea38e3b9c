import type { ResolvedOperationOptions } from '../../options/resolved-options.js';
import { REDACTED, requestToKeep } from '../request-to-keep.js';
import type { Exchange } from './exchange.js';
import type { RequestDescription } from './fingerprint.js';
import { reachesParameter } from './json-pointer.js';

/**
 * What is kept of a request, as JSON: method, host where it is part of the identity, path, media type and the body, where
 * that is JSON or fields of a form. No headers, and so neither credentials nor cookies.
 */
export function storedRequest(
  { method, rawRequest }: Exchange,
  {
    mediaType,
    content,
    json,
  }: Pick<RequestDescription, 'mediaType' | 'content'> & { readonly json?: string | undefined },
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
