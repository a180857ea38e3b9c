import type { IncomingHttpHeaders } from 'node:http';
import type { CredentialSources } from '../../options/resolved-options.js';

const AUTHORIZATION = 'authorization';

/**
 * Returns all credentials of a request as one text; `undefined` if it has none. All of them count, because one may be a gateway's,
 * which many callers share.
 *
 * `Authorization` alone is returned unchanged, as records of earlier versions have it. Any other text begins with a line feed, which
 * no header can contain.
 */
export function credentialOf(headers: IncomingHttpHeaders, sources: CredentialSources): string | undefined {
  const found: [string, string][] = [];
  for (const name of sources.headers) {
    const value = headers[name];
    if (value) found.push([name, String(value)]);
  }
  if (sources.cookies.length > 0 && headers.cookie) found.push(...cookiesIn(headers.cookie, sources.cookies));
  if (found.length === 0) return undefined;
  if (found.length === 1 && found[0][0] === AUTHORIZATION) return found[0][1];
  return `\n${JSON.stringify(found)}`;
}

/** Returns the first cookie of each name, as cookie parsers do. */
function cookiesIn(header: string, names: readonly string[]): [string, string][] {
  const pairs = header.split(';').map((pair) => {
    const end = pair.indexOf('=');
    return [pair.slice(0, Math.max(end, 0)).trim(), pair.slice(end + 1).trim()] as const;
  });
  return names.flatMap((name): [string, string][] => {
    const value = pairs.find(([one]) => one === name)?.[1];
    // No header's name has a space.
    return value ? [[`cookie ${name}`, value]] : [];
  });
}
