/** A copy of `value` with `replacement` (or nothing) at each of the JSON pointers (RFC 6901) that lead anywhere. */
export function withoutPointers(value: unknown, pointers: readonly string[], replacement?: unknown): unknown {
  return pointers.reduce((changed, pointer) => {
    const path = pointer.slice(1).split('/');
    return without(
      changed,
      path.map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~')),
      replacement,
    );
  }, value);
}

/** Not so the length of an array. */
function isMember(value: object, name: string): boolean {
  return Object.getOwnPropertyDescriptor(value, name)?.enumerable === true;
}

/** Copies what lies along the path, and shares the rest. */
function without(value: unknown, [name, ...rest]: readonly string[], replacement: unknown): unknown {
  if (typeof value !== 'object' || value === null || !isMember(value, name)) return value;
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>;
  if (rest.length) copy[name] = without(copy[name], rest, replacement);
  else if (replacement === undefined) delete copy[name];
  else copy[name] = replacement;
  return copy;
}
