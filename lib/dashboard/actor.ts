import { claimsOf } from '../edges/caller/claims.js';
import { OF_USERS, textOf } from '../edges/caller/principal.js';

/** The members with an operator's name, in the order of preference. */
const NAMES = ['username', 'email', 'name'] as const;

const MAX_LENGTH = 200;

/**
 * Returns the operator as `ada (id 17)`, from `request.user` or the claims in `request.auth`; `null` if no guard has set them. The log has
 * the id beside the name, because operators may choose or change their names.
 */
export function actorOf(request: object): string | null {
  const { user, raw } = request as { readonly user?: unknown; readonly raw?: object };
  const claims = readClaims(request);
  // express-oauth2-jwt-bearer of Auth0 sets the claims as `auth.payload`.
  const { payload } = (claims ?? {}) as { readonly payload?: unknown };
  // On Fastify, middleware such as Passport's sets them on Node's own request.
  return nameOf(user) ?? nameOf(claims) ?? nameOf(payload) ?? (raw ? actorOf(raw) : null);
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
  const name = firstIn(user, NAMES);
  const id = firstIn(user, OF_USERS);
  return name !== null && id !== null && name !== id ? `${name} (id ${id})` : (name ?? id);
}

function firstIn(user: object, members: readonly string[]): string | null {
  const texts = members.map((member) => textOf((user as Record<string, unknown>)[member]).slice(0, MAX_LENGTH));
  return texts.find((text) => text !== '') ?? null;
}
