import { toMilliseconds } from './duration.js';
import { IdempotencyOptionError } from './option-error.js';

/** Reads an option: returns its value or default, and refuses what cannot be used. `option` is its path, for errors. */
export type Reader<T> = (value: unknown, option: string) => T;

/** The readers of an object of options. */
type Readers<T> = { readonly [Name in keyof T]: Reader<T[Name]> };

/** @throws IdempotencyOptionError naming the option */
export function refuse(option: string, problem: string): never {
  throw new IdempotencyOptionError(option, problem);
}

/** Reads each of the options. @param within the path of the object that they are in; an empty text for the root */
export function read<T extends object>(readers: Readers<T>, options: object, within = ''): T {
  const resolved: Partial<T> = {};
  for (const name in readers) resolved[name] = readers[name]((options as T)[name], pathOf(within, name));
  return resolved as T;
}

/** Takes an object of options, and refuses others. */
export function members<T extends object>(readers: Readers<T>): Reader<T> {
  const names = Object.keys(readers);
  return (value = {}, option) => {
    checkNames(value as object, names, option);
    return read(readers, value as object, option);
  };
}

function pathOf(within: string, name: string): string {
  return within ? `${within}.${name}` : name;
}

/** Refuses anything but an object, and unknown names: a misspelt option would silently have its default. */
export function checkNames(options: object, known: readonly string[], option = ''): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options) || ArrayBuffer.isView(options)) {
    // Without the value, which may be a secret such as an encryption key.
    refuse(option || 'options', `must be an object of ${known.join(', ')}`);
  }
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown !== undefined) refuse(pathOf(option, unknown), `does not exist; there are ${known.join(', ')}`);
}

/** Takes what `fits`. `what` completes the error "must be …". */
export function fitting<T>(what: string, fits: (value: unknown) => boolean, fallback: T): Reader<T> {
  return (value, option) => {
    if (value === undefined) return fallback;
    if (fits(value)) return value as T;
    refuse(option, `must be ${what}, not ${show(value)}`);
  };
}

export function oneOf<const T, const Fallback>(allowed: readonly T[], fallback: Fallback): Reader<T | Fallback> {
  const names = allowed.map((one) => (typeof one === 'string' ? `'${one}'` : String(one)));
  return fitting<T | Fallback>(names.join(' or '), (value) => allowed.includes(value as T), fallback);
}

export function flag(fallback: boolean): Reader<boolean> {
  return oneOf([true, false], fallback);
}

export function functionOr<T>(fallback: T): Reader<T> {
  return fitting('a function', (value) => typeof value === 'function', fallback);
}

/** Takes a duration, and returns it in whole milliseconds. */
export function duration<Fallback>(fallback: Fallback, maxMs: number): Reader<number | Fallback> {
  return (value, option) => {
    if (value === undefined) return fallback;
    const ms = toMilliseconds(value);
    if (ms === undefined) {
      refuse(option, `must be milliseconds above zero or text such as '30s' (ms, s, m, h, d), not ${show(value)}`);
    }
    if (ms > maxMs) refuse(option, `must be at most ${maxMs} ms, not ${show(value)}`);
    return Math.max(1, Math.round(ms));
  };
}

/** @param min 0 or 1 */
export function integer(
  fallback: number,
  { min = 1, max = Number.MAX_SAFE_INTEGER }: { min?: number; max?: number } = {},
): Reader<number> {
  const range = min === 0 ? 'from zero on' : 'above zero';
  const isWhole = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= min;
  const whole = fitting(`a whole number ${range}`, isWhole, fallback);
  return (value, option) => {
    const number = whole(value, option);
    return number <= max ? number : refuse(option, `must be at most ${max}, not ${show(value)}`);
  };
}

/** A JSON pointer (RFC 6901, section 3), with `~2` for a member named `*`. */
const POINTER = /^(\/([^~/]|~[012])+)+$/;

/**
 * Takes JSON pointers into the content of a request or response. With `query`, those that begin with `?` lead to query parameters. A
 * pointer that can lead nowhere is refused: it would silently store a card number in clear.
 */
export function jsonPointers({ query }: { query: boolean }): Reader<readonly string[]> {
  return (value, option) => {
    const pointers = strings(value, option);
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
  };
}

/** A token (RFC 9110, section 5.6.2). */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;

/** Takes a field name (RFC 9110, section 5.1). */
export function headerName(value: unknown, option: string): string {
  if (typeof value === 'string' && TOKEN.test(value)) return value;
  refuse(option, `must be the name of a header, not ${show(value)}`);
}

/** Returns the names in lower case. */
export function headerNames(value: unknown, option: string): readonly string[] {
  return strings(value, option).map((name) => headerName(name, option).toLowerCase());
}

/** Takes cookie names (RFC 6265, section 4.1.1). */
export function cookieNames(value: unknown, option: string): readonly string[] {
  const names = strings(value, option);
  const wrong = names.find((name) => !TOKEN.test(name));
  if (wrong === undefined) return names;
  refuse(option, `must hold names of cookies, not ${show(wrong)}`);
}

function strings(value: unknown, option: string): readonly string[] {
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
