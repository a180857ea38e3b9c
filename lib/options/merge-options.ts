import type { IdempotentOptions } from './idempotency-options.js';

/** Options whose members are merged. Replaced as a whole, an operation's `maxBytes` would store what the module redacts. */
const NESTED = ['request', 'response'] as const;

/** Returns the options `over` those `under` them. An option that is undefined counts as absent. */
export function mergeOptions(under: IdempotentOptions, over: IdempotentOptions): IdempotentOptions {
  const nested = NESTED.map((name) => [name, mergeNested(under[name], over[name])] as const);
  return { ...under, ...definedIn(over), ...definedIn(Object.fromEntries(nested)) };
}

interface Nested {
  readonly redact?: readonly string[];
}

/** Adds both lists of `redact`: an operation that redacts something else must not store what the module redacts. */
function mergeNested(under: Nested | undefined, over: Nested | undefined): Nested | undefined {
  // The check of the options refuses other values.
  if (!isObject(under) || !isObject(over)) return over === undefined ? under : over;
  const redact = Array.isArray(under.redact) && Array.isArray(over.redact) && [...under.redact, ...over.redact];
  return { ...under, ...definedIn(over), ...(redact && { redact }) };
}

function isObject(value: unknown): value is Nested {
  return typeof value === 'object' && value !== null;
}

function definedIn<T extends object>(options: T): Partial<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;
}
