import canonicalize from 'canonicalize';

/**
 * Canonical JSON (RFC 8785). What that cannot carry and parsers let through nevertheless (half a surrogate pair, a
 * number beyond a double, a bigint that a GraphQL scalar has made) is written in a form of our own, as a request with it
 * is a request like others.
 */
export function canonicalJson(value: unknown): string {
  try {
    return canonicalize(value) ?? '';
  } catch {
    return JSON.stringify(value, ordered) ?? '';
  }
}

function ordered(_name: string, value: unknown): unknown {
  if (typeof value === 'number' && !Number.isFinite(value)) return { beyondDouble: String(value) };
  if (typeof value === 'bigint') return { beyondDouble: String(value) };
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
