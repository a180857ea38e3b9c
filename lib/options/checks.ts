import { toMilliseconds } from './duration.js';
import { IdempotencyOptionError } from './option-error.js';

/** @throws IdempotencyOptionError naming the option */
export function refuse(option: string, problem: string): never {
  throw new IdempotencyOptionError(option, problem);
}

/** Refuses unknown names: a misspelt option would silently have its default. */
export function checkNames(options: object, known: readonly string[], path = ''): void {
  checkObject(path.slice(0, -1) || 'options', options, known);
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    refuse(path + name, `does not exist; there are ${known.join(', ')}`);
  }
}

/** Refuses anything but an object. The message omits the value, which may be a secret such as an encryption key. */
export function checkObject(option: string, value: unknown, known: readonly string[]): void {
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)) return;
  refuse(option, `must be an object of ${known.join(', ')}`);
}

export function oneOf<T>(option: string, value: unknown, allowed: readonly T[], fallback: T): T {
  if (value === undefined) return fallback;
  if (allowed.includes(value as T)) return value as T;
  const names = allowed.map((one) => (typeof one === 'string' ? `'${one}'` : String(one)));
  refuse(option, `must be ${names.join(' or ')}, not ${show(value)}`);
}

/** Returns a duration in whole milliseconds. */
export function duration(option: string, value: unknown, fallback: number, longest = Number.MAX_SAFE_INTEGER): number {
  if (value === undefined) return fallback;
  const ms = toMilliseconds(value);
  if (ms === undefined) {
    refuse(option, `must be milliseconds above zero or text such as '30s' (ms, s, m, h, d), not ${show(value)}`);
  }
  if (ms > longest) refuse(option, `must be at most ${longest} ms, not ${show(value)}`);
  return Math.max(1, Math.round(ms));
}

/** @param least 0 or 1 */
export function integer(
  option: string,
  value: unknown,
  fallback: number,
  { least = 1, most = Number.MAX_SAFE_INTEGER }: { least?: number; most?: number } = {},
): number {
  if (value === undefined) return fallback;
  if (!Number.isSafeInteger(value) || (value as number) < least) {
    const range = least === 0 ? 'from zero on' : 'above zero';
    refuse(option, `must be a whole number ${range}, not ${show(value)}`);
  }
  if ((value as number) <= most) return value as number;
  refuse(option, `must be at most ${most}, not ${show(value)}`);
}

export function functionOr<T>(option: string, value: T): T {
  if (value === undefined || typeof value === 'function') return value;
  refuse(option, `must be a function, not ${show(value)}`);
}

/** A JSON pointer (RFC 6901, section 3), with `~2` for a member named `*`. */
const POINTER = /^(\/([^~/]|~[012])+)+$/;

/**
 * Returns JSON pointers into the content of a request or response. With `query`, those that begin with `?` lead to query parameters. A
 * pointer that can lead nowhere is refused: it would silently store a card number in clear.
 */
export function jsonPointers(option: string, value: unknown, { query }: { query: boolean }): readonly string[] {
  const pointers = strings(option, value);
  for (const pointer of pointers) {
    const isOfQuery = pointer.startsWith('?');
    if (!POINTER.test(isOfQuery ? `/${pointer.slice(1)}` : pointer)) {
      const also = query ? `, or '?token' for a query parameter` : '';
      refuse(option, `must hold JSON pointers such as '/card/number'${also}, not ${show(pointer)}`);
    }
    if (isOfQuery && !query) {
      refuse(option, `must point into the body: a response has no query, as ${show(pointer)} says`);
    }
    if (pointer.split('/').includes('-')) {
      refuse(option, `has '-' in ${show(pointer)}, which is past the end of any array: '*' is any item`);
    }
  }
  return pointers;
}

/** A token (RFC 9110, section 5.6.2). */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Returns a field name (RFC 9110, section 5.1). */
export function headerName(option: string, value: unknown): string {
  if (typeof value === 'string' && TOKEN.test(value)) return value;
  refuse(option, `must be the name of a header, not ${show(value)}`);
}

export function headerNames(option: string, value: unknown): readonly string[] {
  return strings(option, value).map((name) => headerName(option, name).toLowerCase());
}

/** Returns cookie names (RFC 6265, section 4.1.1). */
export function cookieNames(option: string, value: unknown): readonly string[] {
  const names = strings(option, value);
  const wrong = names.find((name) => !TOKEN.test(name));
  if (wrong === undefined) return names;
  refuse(option, `must hold names of cookies, not ${show(wrong)}`);
}

function strings(option: string, value: unknown): readonly string[] {
  if (value === undefined) return [];
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value;
  refuse(option, `must be an array of strings, not ${show(value)}`);
}

export function show(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return typeof value;
  }
}
