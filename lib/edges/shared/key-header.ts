import { parseItem } from 'structured-headers';
import type { ResolvedModuleOptions } from '../../options/resolved-options.js';

export type KeyReading =
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'missing' }
  | { readonly kind: 'invalid'; readonly problem: string };

/** Optional white space around a value (RFC 9110, section 5.6.3). Other white space is part of a key. */
const OUTER_SPACE = /^[ \t]+|[ \t]+$/g;

const MISSING: KeyReading = { kind: 'missing' };
const invalid = (problem: string): KeyReading => ({ kind: 'invalid', problem });

/**
 * Reads the key from a request's headers. The key is a String of RFC 8941 (`"abc"`), as draft-ietf-httpapi-idempotency-key-header-07
 * requires in section 2.1, or the bare text (`abc`) that most clients send. Both are the same key. Parameters after a String are
 * ignored, because the draft defines none. A repeated header is invalid: proxies and frameworks differ in which line they read.
 *
 * @param headers the value in them counts, as for the rest of the application: middleware may set or remove the header
 * @param rawHeaders show whether the client has repeated the header, as node joins or drops repeated ones. Adapters of serverless
 *   platforms set `headers` without them
 */
export function readKeyHeader(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
  rawHeaders: readonly string[] | undefined,
  headerName: string,
  format: ResolvedModuleOptions['keyFormat'],
): KeyReading {
  const name = headerName.toLowerCase();
  const value = headers[name];
  if (value === undefined) return MISSING;
  const lines = linesOf(rawHeaders ?? NO_LINES, name);
  const isAsSent = lines.length > 0 && (value === lines[0] || value === lines.join(', '));
  return readLines(isAsSent ? lines : [value].flat(), headerName, format);
}

const NO_LINES: readonly string[] = [];

function linesOf(rawHeaders: readonly string[], name: string): readonly string[] {
  let lines: string[] | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i].length !== name.length || rawHeaders[i].toLowerCase() !== name) continue;
    if (lines) lines.push(rawHeaders[i + 1]);
    else lines = [rawHeaders[i + 1]];
  }
  return lines ?? NO_LINES;
}

function readLines(
  lines: readonly string[],
  headerName: string,
  format: ResolvedModuleOptions['keyFormat'],
): KeyReading {
  const [line] = lines;
  if (line === undefined) return MISSING;
  return lines.length > 1 ? invalid(`The ${headerName} header is repeated.`) : readKeyText(line, headerName, format);
}

/** Reads the key from a header's value, as {@link readKeyHeader} does. */
export function readKeyText(text: string, headerName: string, format: ResolvedModuleOptions['keyFormat']): KeyReading {
  const key = unquote(text.replace(OUTER_SPACE, ''));
  if (key === undefined) return invalid(`The ${headerName} header is neither a quoted string nor a bare token.`);
  if (key.length === 0) return invalid(`The ${headerName} header is empty.`);
  return checkKey(key, headerName, format);
}

export function checkKey(key: string, name: string, format: ResolvedModuleOptions['keyFormat']): KeyReading {
  if (key.length < format.minLength || key.length > format.maxLength) {
    return invalid(`The ${name} has to have ${format.minLength} to ${format.maxLength} characters.`);
  }
  if (!format.pattern.test(key)) return invalid(`The ${name} has characters that are not allowed.`);
  return { kind: 'key', key };
}

function unquote(text: string): string | undefined {
  if (!text.includes('"')) return text;
  try {
    const [value] = parseItem(text);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}
