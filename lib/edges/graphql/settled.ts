/**
 * Returns a value without its promises, or the promise of it: GraphQL waits for a promise in a field as for a resolver, and a record cannot
 * keep one. A value that holds none is returned as it is. What an object contains of its own ancestors, as entities do that know each other,
 * is left out.
 */
export function settled(value: unknown): unknown {
  return holdsPromise(value, new Set()) ? settle(value, []) : value;
}

async function settle(value: unknown, ancestors: readonly unknown[]): Promise<unknown> {
  const come = await value;
  if (ancestors.includes(come)) return undefined;
  if (!holdsPromise(come, new Set())) return come;
  const within = [...ancestors, come];
  if (Array.isArray(come)) return Promise.all(come.map((member) => settle(member, within)));
  const members = Object.entries(come as object).map(
    async ([name, member]) => [name, await settle(member, within)] as const,
  );
  const copy = Object.create(Object.getPrototypeOf(come) as object | null) as object;
  return Object.assign(copy, Object.fromEntries(await Promise.all(members)));
}

function holdsPromise(value: unknown, seen: Set<unknown>): boolean {
  if (typeof value !== 'object' || value === null || seen.has(value)) return false;
  if (isPromise(value)) return true;
  // Such as dates, and documents of Mongoose.
  if ('toJSON' in value || ArrayBuffer.isView(value)) return false;
  seen.add(value);
  return Object.values(value).some((member) => holdsPromise(member, seen));
}

export function isPromise(value: object): value is PromiseLike<unknown> {
  return 'then' in value && typeof value.then === 'function';
}
