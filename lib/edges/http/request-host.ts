import type { Type } from '@nestjs/common';

/** Metadata keys of Nest and of @nestjs/platform-fastify. */
const HOST = 'host';
const CONSTRAINTS = '__fastify_route_constraints__';

/**
 * Returns whether a route is for some hosts alone: `@Controller({ host })`, or Fastify's `@RouteConstraints({ host })`. Routes of
 * several hosts have one template, and tenants are often distinguished by their host alone: one would get the responses of
 * another. So the host is part of the identity there; `X-Forwarded-Host` counts as far as the platform trusts the proxy.
 */
export function isOfHosts(controller: Type, handler: object): boolean {
  const constraints = Reflect.getMetadata(CONSTRAINTS, handler) as { host?: unknown } | undefined;
  return Boolean(Reflect.getMetadata(HOST, controller) || constraints?.host);
}
