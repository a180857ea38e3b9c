import type { RequestMethod, Type } from '@nestjs/common';
import {
  EVENT_HANDLER,
  GRAPHQL_RESOLVED_FIELD,
  GRAPHQL_RESOLVER_TYPE,
  GUARDS,
  HOST,
  MESSAGE_HANDLER_TYPE,
  MESSAGE_PATTERN,
  METHOD,
  NATIVE_ARGUMENT,
  OF_ANY_METHOD,
  PATH,
  RESPONSE_PASSTHROUGH,
  ROUTE_ARGUMENTS,
  ROUTE_CONSTRAINTS,
  SSE,
  VERSION,
} from '../private-names/nest.js';

/** A pattern of `@GrpcMethod()` and its like. */
export interface GrpcPattern {
  readonly service: string;
  readonly rpc: string;
  readonly streaming: string;
}

/** How a gRPC method reads its requests: one, or a stream of them. */
const NO_STREAM = 'no_stream';

export function isHttpHandler(handler: object): boolean {
  return Reflect.hasMetadata(PATH, handler);
}

export function requestMethodOf(handler: object): RequestMethod | undefined {
  return Reflect.getMetadata(METHOD, handler) as RequestMethod | undefined;
}

/** Returns whether a handler sends server-sent events: `@Sse()`. */
export function isEventStream(handler: object): boolean {
  return Boolean(Reflect.getMetadata(SSE, handler));
}

/** Returns the versions of a handler, or of its controller; an empty text where it has none. */
export function versionOf(controller: Type, handler: object): string {
  const version: unknown = Reflect.getMetadata(VERSION, handler) ?? Reflect.getMetadata(VERSION, controller);
  return [version ?? []].flat().map(String).join();
}

/** Returns whether `@UseGuards()` names guards for a handler. */
export function hasGuards(controller: object, handler: object): boolean {
  return [handler, controller].some((target) => Reflect.hasMetadata(GUARDS, target));
}

/**
 * Returns whether a route is for some hosts alone: `@Controller({ host })`, or Fastify's `@RouteConstraints({ host })`. Routes of
 * several hosts have one template, and tenants are often distinguished by their host alone: one would get the responses of
 * another. So the host is part of the identity there; `X-Forwarded-Host` counts as far as the platform trusts the proxy.
 */
export function isOfHosts(controller: Type, handler: object): boolean {
  const constraints = Reflect.getMetadata(ROUTE_CONSTRAINTS, handler) as { host?: unknown } | undefined;
  return Boolean(Reflect.getMetadata(HOST, controller) || constraints?.host);
}

/** Returns whether a handler writes the response itself, as Nest has it: by `@Res()` without `passthrough`, or by `@Next()`. */
export function isNative(controller: Type, handler: object): boolean {
  const method = nameOf(controller, handler);
  if (method === undefined || Reflect.getMetadata(RESPONSE_PASSTHROUGH, controller, method) === true) return false;
  const parameters = (Reflect.getMetadata(ROUTE_ARGUMENTS, controller, method) ?? {}) as object;
  return Object.keys(parameters).some((key) => NATIVE_ARGUMENT.test(key));
}

/** The name by which Nest registers a method: a decorator that wraps it may have given it another one. */
function nameOf(controller: Type, handler: object): string | undefined {
  for (let at = controller.prototype as object | null; at; at = Object.getPrototypeOf(at) as object | null) {
    const found = Object.entries(Object.getOwnPropertyDescriptors(at)).find(([, { value }]) => value === handler);
    if (found) return found[0];
  }
  return undefined;
}

export function isMessageHandler(handler: object): boolean {
  return Reflect.hasMetadata(MESSAGE_HANDLER_TYPE, handler);
}

export function isEventHandler(handler: object): boolean {
  return Reflect.getMetadata(MESSAGE_HANDLER_TYPE, handler) === EVENT_HANDLER;
}

/** Returns the patterns of a message handler as its decorator was given them. */
export function messagePatternsOf(handler: object): readonly unknown[] {
  return (Reflect.getMetadata(MESSAGE_PATTERN, handler) as unknown[] | undefined) ?? [];
}

export function isGrpcPattern(pattern: unknown): pattern is GrpcPattern {
  return typeof pattern === 'object' && pattern !== null && 'rpc' in pattern && 'streaming' in pattern;
}

/** Returns whether a handler is given a stream of requests, as gRPC has them: there is nothing to compare or keep. */
export function takesStream(handler: object): boolean {
  return messagePatternsOf(handler).some((pattern) => isGrpcPattern(pattern) && pattern.streaming !== NO_STREAM);
}

export function isMutation(handler: object): boolean {
  return Reflect.getMetadata(GRAPHQL_RESOLVER_TYPE, handler) === 'Mutation';
}

/** Returns whether @nestjs/graphql calls a handler: for a query, a mutation, a subscription or a field. */
export function isGraphQLHandler(handler: object): boolean {
  return Reflect.hasMetadata(GRAPHQL_RESOLVER_TYPE, handler) || isResolvedField(handler);
}

export function isResolvedField(handler: object): boolean {
  return Boolean(Reflect.getMetadata(GRAPHQL_RESOLVED_FIELD, handler));
}

/** Returns whether a decorator of another package makes a method its handler, as those of queues and schedules do. */
export function isForeignHandler(handler: object): boolean {
  return Reflect.getMetadataKeys(handler).some((key) => typeof key === 'symbol' || !OF_ANY_METHOD.test(String(key)));
}
