/**
 * What the library reads of Nest that Nest does not document. Nest keeps what decorators say as metadata of classes and methods, and
 * offers no way to ask for it but the keys. `test/e2e/module/private-names.e2e-spec.ts` fails when one of them changes.
 */

// No public class hands an error to the filters of a route, global and request-scoped ones among them, once the route's handler
// has returned. A COMMIT may be refused then.
export { RouterExceptionFilters } from '@nestjs/core/router/router-exception-filters.js';

/** `@Controller()`, `@Post()`: the path. A method that has one is a handler of HTTP requests. */
export const PATH = 'path';

/** `@Post()`: the `RequestMethod`, which says whether the handler changes something. */
export const METHOD = 'method';

/** `@Controller({ host })`: then one route template stands for several routes, and the host has to tell them apart. */
export const HOST = 'host';

/** `@Version()`, at a class or a method: two versions of a route are two operations. */
export const VERSION = '__version__';

/** `@Sse()`: server-sent events cannot be replayed, which the boot audit refuses. */
export const SSE = '__sse__';

/** `@UseGuards()`: callers whom guards let in, and who have no principal, are warned of. */
export const GUARDS = '__guards__';

/** `@UseInterceptors()`: says whether IdempotencyInterceptor is wired by hand, without `@Idempotent()`. */
export const INTERCEPTORS = '__interceptors__';

/** `@Catch()`: an application's filter that names one of our problems comes before our own. */
export const FILTER_CATCHES = '__filterCatchExceptions__';

/**
 * `@Body()`, `@Res()` and the like, at the class and the method's name: an object whose keys are `type:index`. A handler that takes
 * the native response writes it itself, and Nest waits for it.
 */
export const ROUTE_ARGUMENTS = '__routeArguments__';

/** Of {@link ROUTE_ARGUMENTS}, what `@Res()` and `@Next()` write: types 1 and 2 of Nest's `RouteParamtypes`. */
export const NATIVE_ARGUMENT = /^(1|2):/;

/** `@Res({ passthrough: true })`, at the class and the method's name: Nest writes the response after all. */
export const RESPONSE_PASSTHROUGH = '__responsePassthrough__';

/** `@RouteConstraints()` of @nestjs/platform-fastify: its `host` is one as in {@link HOST}. */
export const ROUTE_CONSTRAINTS = '__fastify_route_constraints__';

/**
 * Set by Nest 12 on a request that its pipes rejected. Such an operation has not begun, and its key has to stay free. Nest 11 sets
 * none; there `@Idempotent()` watches the calls of its handler.
 */
export const REJECTED_BY_PIPES = Symbol.for('nestjs:rejected-by-pipes');

/** `@MessagePattern()`, `@EventPattern()`: the patterns, as an array. They name the operation. */
export const MESSAGE_PATTERN = 'microservices:pattern';

/** `@MessagePattern()`, `@EventPattern()`: which of the two it is. */
export const MESSAGE_HANDLER_TYPE = 'microservices:handler_type';

/** Of {@link MESSAGE_HANDLER_TYPE}: `@EventPattern()`. All handlers of an event are called, and each runs once. */
export const EVENT_HANDLER = 2;

/** `@Mutation()` and the like of @nestjs/graphql: `'Mutation'`, `'Query'`, `'Subscription'`. */
export const GRAPHQL_RESOLVER_TYPE = 'graphql:resolver_type';

/** `@ResolveField()`: Nest runs no interceptors for it, which the boot audit reports. */
export const GRAPHQL_RESOLVED_FIELD = 'graphql:resolve_property';

/** Metadata keys of decorators that do not make a handler: guards, pipes, documentation. */
export const OF_ANY_METHOD = /^(__|swagger\/|design:)/;
