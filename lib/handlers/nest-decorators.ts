import type { RequestMethod, Type } from '@nestjs/common';
import * as nest from '../private-names/nest.js';

/** The pattern of `@GrpcMethod()` and `@GrpcStreamMethod()`. */
export interface GrpcPattern {
  readonly service: string;
  readonly rpc: string;
  readonly streaming: string;
}

/** The value of `streaming` for a gRPC method that takes a single request. */
const NO_STREAM = 'no_stream';

export function isHttpHandler(handler: object): boolean {
  return Reflect.hasMetadata(nest.PATH, handler);
}

export function requestMethodOf(handler: object): RequestMethod | undefined {
  return Reflect.getMetadata(nest.METHOD, handler) as RequestMethod | undefined;
}

/** Returns whether a handler sends server-sent events, by `@Sse()`. */
export function isEventStream(handler: object): boolean {
  return Boolean(Reflect.getMetadata(nest.SSE, handler));
}

/** Returns the versions of a handler or of its controller, or an empty text. */
export function versionOf(controller: Type, handler: object): string {
  const version: unknown = Reflect.getMetadata(nest.VERSION, handler) ?? Reflect.getMetadata(nest.VERSION, controller);
  return [version ?? []].flat().map(String).join();
}

/** Returns the names, in lower case, of the headers that `@Header()` computes for each request by a function. */
export function computedHeadersOf(handler: object): readonly string[] {
  const headers = (Reflect.getMetadata(nest.HEADERS, handler) ?? []) as { name: string; value: unknown }[];
  return headers.filter(({ value }) => typeof value === 'function').map(({ name }) => name.toLowerCase());
}

/** Returns whether a handler or its controller has `@UseGuards()`. */
export function hasGuards(controller: object, handler: object): boolean {
  return [handler, controller].some((target) => Reflect.hasMetadata(nest.GUARDS, target));
}

/**
 * Returns whether a route is for some hosts only: `@Controller({ host })`, or Fastify's `@RouteConstraints({ host })`. There the host is
 * part of the identity. Tenants may differ in their host only, and one would get the responses of another. `X-Forwarded-Host` counts
 * where the platform trusts the proxy.
 */
export function isOfHosts(controller: Type, handler: object): boolean {
  const constraints = Reflect.getMetadata(nest.ROUTE_CONSTRAINTS, handler) as { host?: unknown } | undefined;
  return Boolean(Reflect.getMetadata(nest.HOST, controller) || constraints?.host);
}

/** Returns whether a handler writes the response itself: by `@Res()` without `passthrough`, or by `@Next()`. */
export function isNative(controller: Type, handler: object): boolean {
  const method = nameOf(controller, handler);
  if (method === undefined || Reflect.getMetadata(nest.RESPONSE_PASSTHROUGH, controller, method) === true) return false;
  const parameters = (Reflect.getMetadata(nest.ROUTE_ARGUMENTS, controller, method) ?? {}) as object;
  return Object.keys(parameters).some((key) => nest.NATIVE_ARGUMENT.test(key));
}

/** Returns the name by which Nest registers a method. `handler.name` may differ, because another decorator has wrapped the method. */
function nameOf(controller: Type, handler: object): string | undefined {
  for (let at = controller.prototype as object | null; at; at = Object.getPrototypeOf(at) as object | null) {
    const found = Object.entries(Object.getOwnPropertyDescriptors(at)).find(([, { value }]) => value === handler);
    if (found) return found[0];
  }
  return undefined;
}

export function isMessageHandler(handler: object): boolean {
  return Reflect.hasMetadata(nest.MESSAGE_HANDLER_TYPE, handler);
}

export function isEventHandler(handler: object): boolean {
  return Reflect.getMetadata(nest.MESSAGE_HANDLER_TYPE, handler) === nest.EVENT_HANDLER;
}

/** Returns the patterns of a message handler, as its decorator has them. */
export function messagePatternsOf(handler: object): readonly unknown[] {
  return (Reflect.getMetadata(nest.MESSAGE_PATTERN, handler) as unknown[] | undefined) ?? [];
}

export function isGrpcPattern(pattern: unknown): pattern is GrpcPattern {
  return typeof pattern === 'object' && pattern !== null && 'rpc' in pattern && 'streaming' in pattern;
}

/** Returns whether a gRPC handler takes a stream of requests, which has no single content to compare. */
export function takesStream(handler: object): boolean {
  return messagePatternsOf(handler).some((pattern) => isGrpcPattern(pattern) && pattern.streaming !== NO_STREAM);
}

export function isMutation(handler: object): boolean {
  return Reflect.getMetadata(nest.GRAPHQL_RESOLVER_TYPE, handler) === 'Mutation';
}

/** Returns whether @nestjs/graphql calls a handler, for a query, a mutation, a subscription or a field. */
export function isGraphQLHandler(handler: object): boolean {
  return Reflect.hasMetadata(nest.GRAPHQL_RESOLVER_TYPE, handler) || isResolvedField(handler);
}

export function isResolvedField(handler: object): boolean {
  return Boolean(Reflect.getMetadata(nest.GRAPHQL_RESOLVED_FIELD, handler));
}

/** Returns whether a value is a class with `@Injectable()`. */
export function isInjectable(metatype: unknown): boolean {
  return typeof metatype === 'function' && Reflect.hasMetadata(nest.INJECTABLE, metatype);
}

/** Returns the events that a method listens to by `@OnEvent()`, which @nestjs/event-emitter calls. */
export function listensTo(method: object): string[] {
  const listens = (Reflect.getMetadata(nest.EVENT_LISTENER, method) ?? []) as readonly { readonly event?: unknown }[];
  return listens
    .flatMap(({ event }) => (Array.isArray(event) ? event : [event]))
    .filter((event) => typeof event === 'string');
}

/** Returns whether another package's decorator makes a method its handler, as those of queues and schedules do. */
export function isForeignHandler(handler: object): boolean {
  return Reflect.getMetadataKeys(handler).some(
    (key) => typeof key === 'symbol' || !nest.OF_ANY_METHOD.test(String(key)),
  );
}
