import { types } from 'node:util';

/**
 * Returns the claims of a token: `request.auth`, or what it returns, because that of @clerk/express is a method.
 *
 * @throws what the method throws
 */
export function claimsOf(request: { readonly auth?: unknown } | undefined): unknown {
  if (typeof request?.auth !== 'function') return request?.auth;
  const claims: unknown = request.auth();
  // The method of another package. Its rejection would end the process.
  if (types.isPromise(claims)) claims.catch(() => undefined);
  return claims;
}
