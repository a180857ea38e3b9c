import { claimsOf } from '../edges/caller/claims.js';

/** The members with an operator's name, in the order of preference. */
const NAMES = ['username', 'email', 'name'] as const;

/** The members with an id. The log has both, because operators may choose or change their names. */
const IDS = ['id', 'sub', 'userId', 'uid', '_id'] as const;

const MAX_LENGTH = 200;

/** Returns the operator as `ada (id 17)`, from `request.user` or the claims in `request.auth`; `null` if no guard has set them. */
export function actorOf(request: object): string | null {
  const { user, raw } = request as { readonly user?: unknown; readonly raw?: object };
  // On Fastify, middleware such as Passport's sets them on Node's own request.
  return nameOf(user) ?? nameOf(readClaims(request)) ?? (raw ? actorOf(raw) : null);
}

/** The name of an operator is for the log alone, and no request fails because it is missing. */
function readClaims(request: object): unknown {
  try {
    return claimsOf(request);
  } catch {
    return undefined;
  }
}

function nameOf(user: unknown): string | null {
  if (typeof user === 'string' && user !== '') return user.slice(0, MAX_LENGTH);
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
    if (isText) return String(value).slice(0, MAX_LENGTH);
  }
  return null;
}
