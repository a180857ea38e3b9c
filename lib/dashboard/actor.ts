/** By what an operator is known in the log, in the order in which it is looked for: names before numbers. */
const MEMBERS = ['username', 'email', 'id', 'sub', 'userId', 'uid', '_id', 'name'] as const;

const LONGEST = 200;

/** Who a guard says is asking: `request.user`, or the claims in `request.auth`; `null` where none does. */
export function actorOf(request: object): string | null {
  const { user, auth, raw } = request as { readonly user?: unknown; readonly auth?: unknown; readonly raw?: object };
  // On Fastify, middleware such as Passport's gets node's own request.
  return nameOf(user) ?? nameOf(auth) ?? (raw ? actorOf(raw) : null);
}

function nameOf(user: unknown): string | null {
  if (typeof user === 'string' && user !== '') return user.slice(0, LONGEST);
  if (typeof user !== 'object' || user === null) return null;
  for (const member of MEMBERS) {
    const value = (user as Record<string, unknown>)[member];
    const isName =
      (typeof value === 'string' && value !== '') || typeof value === 'number' || typeof value === 'bigint';
    if (isName) return String(value).slice(0, LONGEST);
  }
  return null;
}
