import type { IdempotentOptions } from './idempotency-options.js';

/** Members that are merged one by one: an operation that sets `maxBytes` must not store what the module redacts. */
const NESTED = ['request', 'response'] as const;

/** The options of an operation over those of its class or module. An option given as undefined is one not given. */
export function mergeOptions(under: IdempotentOptions, over: IdempotentOptions): IdempotentOptions {
  const nested = NESTED.map((name) => [name, mergeNested(under[name], over[name])] as const);
  return { ...under, ...definedIn(over), ...definedIn(Object.fromEntries(nested)) };
}

interface Nested {
  readonly redact?: readonly string[];
}

/** `redact` adds up: nothing that the module redacts is stored because an operation redacts something else. */
function mergeNested(under: Nested | undefined, over: Nested | undefined): Nested | undefined {
  // Other values are refused where the options are checked.
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
