/**
 * Returns a value without its promises, or the promise of it: GraphQL waits for a promise in a field as for a resolver, and a record cannot
 * keep one. A member whose getter throws is left out, such as a sum over a relation that is not loaded: GraphQL reads a member only where
 * its field is selected. A value that has neither is returned as it is.
 */
export function settled(value: unknown): unknown {
  return isKeptAsIs(value, new Set()) ? value : settle(value, new Map());
}

/** @param ancestors the copies of the objects that contain the value: entities of a relation know each other */
async function settle(value: unknown, ancestors: ReadonlyMap<unknown, object>): Promise<unknown> {
  const come = await value;
  const above = ancestors.get(come);
  if (above || isKeptAsIs(come, new Set())) return above ?? come;
  const copy = (Array.isArray(come) ? [] : Object.create(Object.getPrototypeOf(come) as object | null)) as object;
  const within = new Map([...ancestors, [come, copy]]);
  const members = membersOf(come as object).map(
    async ([name, member]) => [name, await settle(member, within)] as const,
  );
  // Not by assignment: its class may have a getter of the name.
  return Object.defineProperties(
    copy,
    Object.getOwnPropertyDescriptors(Object.fromEntries(await Promise.all(members))),
  );
}

function isKeptAsIs(value: unknown, seen: Set<unknown>): boolean {
  if (typeof value !== 'object' || value === null || seen.has(value)) return true;
  if (isPromise(value)) return false;
  // Such as dates, and documents of Mongoose.
  if ('toJSON' in value || ArrayBuffer.isView(value)) return true;
  seen.add(value);
  const members = membersOf(value);
  return members.length === Object.keys(value).length && members.every(([, member]) => isKeptAsIs(member, seen));
}

/** Returns the members of an object that can be read. */
function membersOf(value: object): [name: string, member: unknown][] {
  return Object.keys(value).flatMap((name): [string, unknown][] => {
    try {
      return [[name, (value as Record<string, unknown>)[name]]];
    } catch {
      return [];
    }
  });
}

export function isPromise(value: object): value is PromiseLike<unknown> {
  return 'then' in value && typeof value.then === 'function';
}
