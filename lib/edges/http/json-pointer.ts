/** A copy of `value` with `replacement` (or nothing) at each of the JSON pointers (RFC 6901) that lead anywhere. */
export function withoutPointers(value: unknown, pointers: readonly string[], replacement?: unknown): unknown {
  if (pointers.length === 0 || typeof value !== 'object' || value === null) return value;
  const copy = structuredClone(value);
  for (const pointer of pointers) {
    const path = pointer
      .slice(1)
      .split('/')
      .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = path.pop()!;
    const parent = path.reduce<unknown>(
      (at, name) => (isObject(at) && Object.hasOwn(at, name) ? at[name] : undefined),
      copy,
    );
    if (!isObject(parent) || !Object.hasOwn(parent, last)) continue;
    if (replacement === undefined) delete parent[last];
    else parent[last] = replacement;
  }
  return copy;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
