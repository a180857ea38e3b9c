import { parseItem } from 'structured-headers';
import type { ResolvedModuleOptions } from '../../options/resolved-options.js';

export type KeyReading =
  | { readonly kind: 'key'; readonly key: string }
  | { readonly kind: 'missing' }
  | { readonly kind: 'invalid'; readonly problem: string };

/** Optional white space around a value (RFC 9110, section 5.6.3): no other counts as such. */
const OUTER_SPACE = /^[ \t]+|[ \t]+$/g;

const MISSING: KeyReading = { kind: 'missing' };
const invalid = (problem: string): KeyReading => ({ kind: 'invalid', problem });

/**
 * Reads the key from the request's raw header lines: a String of RFC 8941 (`"abc"`), as the draft wants it
 * (draft-ietf-httpapi-idempotency-key-header-07, section 2.1), or the bare text (`abc`) that most clients send. Both are
 * the same key. Parameters behind a String are ignored, as the draft defines none.
 */
export function readKeyHeader(
  rawHeaders: readonly string[],
  headerName: string,
  format: ResolvedModuleOptions['keyFormat'],
): KeyReading {
  const name = headerName.toLowerCase();
  let line: string | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    if (rawHeaders[i].length !== name.length || rawHeaders[i].toLowerCase() !== name) continue;
    if (line !== undefined) return invalid(`The ${headerName} header is repeated.`);
    line = rawHeaders[i + 1];
  }
  return line === undefined ? MISSING : readKeyText(line, headerName, format);
}

/** As {@link readKeyHeader}, for one value. */
export function readKeyText(text: string, headerName: string, format: ResolvedModuleOptions['keyFormat']): KeyReading {
  const key = unquote(text.replace(OUTER_SPACE, ''));
  if (key === undefined) return invalid(`The ${headerName} header is neither a quoted string nor a bare token.`);
  if (key.length === 0) return invalid(`The ${headerName} header is empty.`);
  return checkKey(key, headerName, format);
}

/** Checks a key that came from elsewhere than a header. */
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
