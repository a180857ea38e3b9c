/** By what an operator is known in the log, in the order in which it is looked for. */
const NAMES = ['username', 'email', 'name'] as const;

/** Who it is: a name may be one that the operator has chosen, or can change. */
const IDS = ['id', 'sub', 'userId', 'uid', '_id'] as const;

const LONGEST = 200;

/** Who a guard says is asking, `ada (id 17)`: `request.user`, or the claims in `request.auth`; `null` where none does. */
export function actorOf(request: object): string | null {
  const { user, auth, raw } = request as { readonly user?: unknown; readonly auth?: unknown; readonly raw?: object };
  // On Fastify, middleware such as Passport's gets node's own request.
  return nameOf(user) ?? nameOf(auth) ?? (raw ? actorOf(raw) : null);
}

function nameOf(user: unknown): string | null {
  if (typeof user === 'string' && user !== '') return user.slice(0, LONGEST);
  if (typeof user !== 'object' || user === null) return null;
  const name = textOf(user, NAMES);
  const id = textOf(user, IDS);
  return name !== null && id !== null && name !== id ? `${name} (id ${id})` : (name ?? id);
}

function textOf(user: object, members: readonly string[]): string | null {
  for (const member of members) {
    const value = (user as Record<string, unknown>)[member];
    const isText =
      (typeof value === 'string' && value !== '') || typeof value === 'number' || typeof value === 'bigint';
    if (isText) return String(value).slice(0, LONGEST);
  }
  return null;
}
