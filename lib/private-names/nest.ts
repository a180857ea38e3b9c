/**
 * What decorators of Nest say of classes and methods. Nest stores it as metadata under names that it does not document, and offers no other
 * way to it. `test/e2e/module/private-names.e2e-spec.ts` fails when one of them changes.
 */
import type { RequestMethod, Type } from '@nestjs/common';

// Sends an error to all filters of a route after its handler has returned, when a COMMIT may still be refused. No public class does so.
export { RouterExceptionFilters } from '@nestjs/core/router/router-exception-filters.js';

/**
 * Set by Nest 12 on a request that a pipe rejected. Its operation has not begun, and its key has to stay free. Nest 11 does not set it;
 * there, `@Idempotent()` knows by the calls of its handler.
 */
export const REJECTED_BY_PIPES = Symbol.for('nestjs:rejected-by-pipes');

/** Returns whether a method handles HTTP requests, which makes it have a path. */
export function isHttpHandler(handler: object): boolean {
  return Reflect.hasMetadata('path', handler);
}

/** `@Post()` and the like: whether the handler changes something. */
export function requestMethodOf(handler: object): RequestMethod | undefined {
  return Reflect.getMetadata('method', handler) as RequestMethod | undefined;
}

/** `@Sse()`: server-sent events cannot be replayed, which the boot audit refuses. */
export function isEventStream(handler: object): boolean {
  return Boolean(Reflect.getMetadata('__sse__', handler));
}

/** Fastify's `@RouteConstraints()`, by name. */
function constraintsOf(handler: object): Readonly<Record<string, unknown>> {
  return (Reflect.getMetadata('__fastify_route_constraints__', handler) ?? {}) as Record<string, unknown>;
}

/**
 * Returns what distinguishes handlers of one route, or an empty text: `@Version()` of the handler or of its controller, and
 * `@RouteConstraints()`. Two versions of a route are two operations.
 */
export function versionOf(controller: Type, handler: object): string {
  const version: unknown =
    Reflect.getMetadata('__version__', handler) ?? Reflect.getMetadata('__version__', controller);
  const { host: _, ...constraints } = constraintsOf(handler);
  const texts = Object.entries(constraints).map(([name, value]) => `${name}=${String(value)}`);
  return [version ?? [], texts.sort()].flat(2).map(String).join();
}

/** Returns the names, in lower case, of the headers that `@Header()` computes for each request by a function. */
export function computedHeadersOf(handler: object): readonly string[] {
  const headers = (Reflect.getMetadata('__headers__', handler) ?? []) as { name: string; value: unknown }[];
  return headers.filter(({ value }) => typeof value === 'function').map(({ name }) => name.toLowerCase());
}

/** `@UseGuards()`: the library warns of guarded routes whose callers have no principal. Packages apply it without a guard, too. */
export function hasGuards(controller: object, handler: object): boolean {
  const guards = [handler, controller].flatMap(
    (target) => (Reflect.getMetadata('__guards__', target) ?? []) as object[],
  );
  return guards.length > 0;
}

/** `@UseInterceptors()`: names IdempotencyInterceptor where it is wired without `@Idempotent()`. */
export function interceptorsOf(target: object): readonly object[] {
  return (Reflect.getMetadata('__interceptors__', target) ?? []) as object[];
}

/** `@SerializeOptions()`: returns whether it names the class that `ClassSerializerInterceptor` serializes plain objects as. */
export function namesSerializedType(controller: object, handler: object): boolean {
  const [ofHandler, ofController] = [handler, controller].map(
    (target) => Reflect.getMetadata('class_serializer:options', target) as { type?: unknown } | undefined,
  );
  return Boolean((ofHandler ?? ofController)?.type);
}

/** `@Catch()`: an application's filter for one of our problems precedes our own. */
export function caughtBy(filter: object): readonly unknown[] {
  return (Reflect.getMetadata('__filterCatchExceptions__', filter.constructor) ?? []) as unknown[];
}

/**
 * Returns whether a route is for some hosts only: `@Controller({ host })`, or Fastify's `@RouteConstraints({ host })`. There the host is
 * part of the identity. Tenants may differ in their host only, and one would get the responses of another. `X-Forwarded-Host` counts
 * where the platform trusts the proxy.
 */
export function isLimitedToHosts(controller: Type, handler: object): boolean {
  return Boolean(Reflect.getMetadata('host', controller) || constraintsOf(handler).host);
}

/** Parameters of `@Res()` and `@Next()`, whose keys are `type:index`: types 1 and 2 of Nest's `RouteParamtypes`. */
const NATIVE_ARGUMENT = /^(1|2):/;

/** Returns whether a handler writes the response itself: by `@Res()` without `passthrough`, or by `@Next()`. */
export function isNative(controller: Type, handler: object): boolean {
  const method = nameOf(controller, handler);
  if (method === undefined) return false;
  if (Reflect.getMetadata('__responsePassthrough__', controller, method) === true) return false;
  const parameters = (Reflect.getMetadata('__routeArguments__', controller, method) ?? {}) as object;
  return Object.keys(parameters).some((key) => NATIVE_ARGUMENT.test(key));
}

/** Returns the name by which Nest registers a method. `handler.name` may differ, because another decorator has wrapped the method. */
function nameOf(controller: Type, handler: object): string | undefined {
  for (let at = controller.prototype as object | null; at; at = Object.getPrototypeOf(at) as object | null) {
    const found = Object.entries(Object.getOwnPropertyDescriptors(at)).find(([, { value }]) => value === handler);
    if (found) return found[0];
  }
  return undefined;
}

/** `@MessagePattern()` and `@EventPattern()`: one of two numbers. */
const MESSAGE_HANDLER_TYPE = 'microservices:handler_type';

/** The number of `@EventPattern()`. Nest calls all handlers of an event, and each runs once. */
const EVENT_HANDLER = 2;

export function isMessageHandler(handler: object): boolean {
  return Reflect.hasMetadata(MESSAGE_HANDLER_TYPE, handler);
}

export function isEventHandler(handler: object): boolean {
  return Reflect.getMetadata(MESSAGE_HANDLER_TYPE, handler) === EVENT_HANDLER;
}

/** `@MessagePattern()`, `@EventPattern()`: the patterns, which name the operation. */
export function messagePatternsOf(handler: object): readonly unknown[] {
  return (Reflect.getMetadata('microservices:pattern', handler) as unknown[] | undefined) ?? [];
}

/** The pattern of `@GrpcMethod()` and `@GrpcStreamMethod()`. */
interface GrpcPattern {
  readonly service: string;
  readonly rpc: string;
  /** `no_stream` for a method that takes a single request. */
  readonly streaming: string;
}

export function isGrpcPattern(pattern: unknown): pattern is GrpcPattern {
  return typeof pattern === 'object' && pattern !== null && 'rpc' in pattern && 'streaming' in pattern;
}

/** Returns whether a gRPC handler takes a stream of requests, which has no single content to compare. */
export function takesStream(handler: object): boolean {
  return messagePatternsOf(handler).some((pattern) => isGrpcPattern(pattern) && pattern.streaming !== 'no_stream');
}

/** `@Mutation()`, `@Query()` and `@Subscription()` of @nestjs/graphql, by their names. */
const GRAPHQL_RESOLVER_TYPE = 'graphql:resolver_type';

export function isMutation(handler: object): boolean {
  return Reflect.getMetadata(GRAPHQL_RESOLVER_TYPE, handler) === 'Mutation';
}

/** Returns whether @nestjs/graphql calls a handler, for a query, a mutation, a subscription or a field. */
export function isGraphQLHandler(handler: object): boolean {
  return Reflect.hasMetadata(GRAPHQL_RESOLVER_TYPE, handler) || isResolvedField(handler);
}

/** `@ResolveField()`: Nest runs no interceptors for it, so that the boot audit refuses `@Idempotent()`. */
export function isResolvedField(handler: object): boolean {
  return Boolean(Reflect.getMetadata('graphql:resolve_property', handler));
}

/** What @nestjs/graphql keeps of `@ObjectType()`, in a global object, which needs no import of that optional package. */
export function graphqlObjectTypes(): readonly { readonly name: string; readonly target: unknown }[] {
  const { GqlTypeMetadataStorage: storage } = globalThis as {
    GqlTypeMetadataStorage?: { getObjectTypesMetadata?(): readonly { name: string; target: unknown }[] };
  };
  return storage?.getObjectTypesMetadata?.() ?? [];
}

/** Returns whether a value is a class with `@Injectable()`. */
export function isInjectable(metatype: unknown): boolean {
  return typeof metatype === 'function' && Reflect.hasMetadata('__injectable__', metatype);
}

/** Returns the events that a method listens to by `@OnEvent()`, which @nestjs/event-emitter calls. */
export function listensTo(method: object): string[] {
  const listens = (Reflect.getMetadata('EVENT_LISTENER_METADATA', method) ?? []) as readonly { event?: unknown }[];
  return listens
    .flatMap(({ event }) => (Array.isArray(event) ? event : [event]))
    .filter((event) => typeof event === 'string');
}

/** `@CommandHandler()` of @nestjs/cqrs: returns the name of the command that a class handles. */
export function commandOf(metatype: object): string | undefined {
  return (Reflect.getMetadata('__commandHandler__', metatype) as { name?: string } | undefined)?.name;
}

/** `@EventsHandler()` of @nestjs/cqrs: returns the names of the events that a class handles. */
export function eventsOf(metatype: object): string[] {
  const events = (Reflect.getMetadata('__eventsHandler__', metatype) ?? []) as readonly { name: string }[];
  return events.map(({ name }) => name);
}

/** `@Saga()` of @nestjs/cqrs: returns the names of the members of a class that turn events into commands. */
export function sagasOf(metatype: object): string[] {
  return (Reflect.getMetadata('__saga__', metatype) ?? []) as string[];
}

/** Metadata keys of decorators that do not make a handler: guards, pipes, documentation. */
const OF_ANY_METHOD = /^(__|swagger\/|design:)/;

/** Returns whether another package's decorator makes a method its handler, as those of queues and schedules do. */
export function isForeignHandler(handler: object): boolean {
  return Reflect.getMetadataKeys(handler).some((key) => typeof key === 'symbol' || !OF_ANY_METHOD.test(String(key)));
}
