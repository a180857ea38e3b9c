import type { ExecutionContext } from '@nestjs/common';
import type { PlatformRequest } from './exchange.js';

/** Metadata keys of Nest and of @nestjs/platform-fastify. */
const HOST = 'host';
const CONSTRAINTS = '__fastify_route_constraints__';

/**
 * The host that a request is for, where its route is for some hosts alone: `@Controller({ host })`, or Fastify's
 * `@RouteConstraints({ host })`. Routes of several hosts have one template, and tenants are often told by their host alone:
 * one would get the responses of another. `X-Forwarded-Host` counts as far as the platform trusts the proxy.
 */
export function hostOf(context: ExecutionContext, request: PlatformRequest): string | undefined {
  const named: unknown =
    Reflect.getMetadata(HOST, context.getClass()) ||
    (Reflect.getMetadata(CONSTRAINTS, context.getHandler()) as { host?: unknown } | undefined)?.host;
  return named ? (request.hostname ?? '') : undefined;
}
