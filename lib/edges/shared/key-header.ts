import { parseItem } from 'structured-headers';
import type { ResolvedModuleOptions } from '../../options/resolved-options.js';
import { IdempotencyKeyInvalidException } from '../../problems/problems.js';

/** The options of the module by which keys are read. */
export type KeySettings = Pick<ResolvedModuleOptions, 'header' | 'keyFormat' | 'documentation'>;

/**
 * Optional white space around a value (RFC 9110, section 5.6.3). Other white space is part of a key. The look-behind keeps a match from
 * beginning at each space of a run within the value: 16 KiB of spaces would block the process for a tenth of a second.
 */
const OUTER_SPACE = /^[ \t]+|(?<![ \t])[ \t]+$/g;

/**
 * Reads the key from a request's headers; `undefined` if it has none. The key is a String of RFC 8941 (`"abc"`), as
 * draft-ietf-httpapi-idempotency-key-header-07 requires in section 2.1, or the bare text (`abc`) that most clients send. Both are the
 * same key. Parameters after a String are ignored, because the draft defines none. A repeated header is invalid: proxies and frameworks
 * differ in which line they read.
 *
 * @param headers the value in them counts, as for the rest of the application: middleware may set or remove the header
 * @param rawHeaders show whether the client has repeated the header, as node joins or drops repeated ones. Adapters of serverless
 *   platforms set `headers` without them
 * @throws IdempotencyKeyInvalidException
 */
export function readKeyHeader(
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
  rawHeaders: readonly string[] | undefined,
  settings: KeySettings,
): string | undefined {
  const name = settings.header.toLowerCase();
  const value = headers[name];
  if (value === undefined) return undefined;
  const lines = linesOf(rawHeaders ?? NO_LINES, name);
  const isAsSent = lines.length > 0 && (value === lines[0] || value === lines.join(', '));
  return readKeyLines(isAsSent ? lines : [value].flat(), settings);
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

/** As {@link readKeyHeader}, of the header's values. */
export function readKeyLines(lines: readonly string[], settings: KeySettings): string | undefined {
  const { header } = settings;
  const [line] = lines;
  if (line === undefined) return undefined;
  if (lines.length > 1) throw invalid(`The ${header} header is repeated.`, settings);
  const key = unquote(line.replace(OUTER_SPACE, ''));
  if (key === undefined) throw invalid(`The ${header} header is neither a quoted string nor a bare token.`, settings);
  if (key.length === 0) throw invalid(`The ${header} header is empty.`, settings);
  return checkedKey(key, header, settings);
}

/** @throws IdempotencyKeyInvalidException */
export function checkedKey(key: string, name: string, settings: KeySettings): string {
  const { minLength, maxLength, pattern } = settings.keyFormat;
  if (key.length < minLength || key.length > maxLength) {
    throw invalid(`The ${name} has to have ${minLength} to ${maxLength} characters.`, settings);
  }
  if (pattern.test(key)) return key;
  throw invalid(`The ${name} has characters that are not allowed.`, settings);
}

function invalid(detail: string, { documentation }: KeySettings): Error {
  return new IdempotencyKeyInvalidException({ detail, documentation });
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
