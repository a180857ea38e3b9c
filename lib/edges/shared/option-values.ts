/** Checks what options that are functions return. Types stop neither JavaScript nor an `async` function. */
import type { ResolvedOperationOptions } from '../../options/resolved-options.js';
import { IdempotencyKeyMissingException } from '../../problems/problems.js';
import { checkedKey, type KeySettings } from './key-header.js';
import type { Principal } from '../caller/principal.js';

/** @throws IdempotencyKeyInvalidException, and TypeError for anything but text */
export function keyOf(key: unknown, settings: KeySettings): string | undefined {
  if (key === undefined || key === null) return undefined;
  if (typeof key === 'string') return checkedKey(key, 'idempotency key', settings);
  throw new TypeError(`The option \`key\` has to return a string or undefined, not ${kindOf(key)}.`);
}

/**
 * Returns the key that was read; `undefined` if there is none and none is required.
 *
 * @param expected returns the detail of the problem for a missing key, unless the option `key` reads it
 * @throws IdempotencyKeyMissingException
 */
export function usableKey(
  key: string | undefined,
  options: Pick<ResolvedOperationOptions, 'key' | 'required'>,
  { header, documentation }: KeySettings,
  expected: (header: string) => string,
): string | undefined {
  if (key !== undefined || !options.required) return key;
  throw new IdempotencyKeyMissingException({ detail: options.key ? undefined : expected(header), documentation });
}

/** @throws TypeError for any other value, also for a promise: as a text, it would give all callers one scope */
export function scopeOf(scope: unknown): Principal {
  if (typeof scope !== 'string')
    throw new TypeError(`The option \`scope\` has to return a string, not ${kindOf(scope)}.`);
  return { scope };
}

export function fingerprintOf(fingerprint: unknown): string | Uint8Array {
  if (typeof fingerprint === 'string' || fingerprint instanceof Uint8Array) return fingerprint;
  throw new TypeError(`The option \`fingerprint\` has to return a string or bytes, not ${kindOf(fingerprint)}.`);
}

/** Returns the kind of a value for an error, without the value, which may be a secret. */
function kindOf(value: unknown): string {
  if (value instanceof Promise) return 'a promise: it cannot be async, load what it needs in a guard';
  return value === null ? 'null' : typeof value;
}
