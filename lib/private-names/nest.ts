/**
 * Undocumented names of Nest that the library reads. Nest stores what decorators say as metadata of classes and methods, and offers no
 * other way to it. `test/e2e/module/private-names.e2e-spec.ts` fails when one of them changes.
 */

// Sends an error to all filters of a route after its handler has returned, when a COMMIT may still be refused. No public class does so.
export { RouterExceptionFilters } from '@nestjs/core/router/router-exception-filters.js';

/** `@Controller()`, `@Post()`: the path. A method that has one handles HTTP requests. */
export const PATH = 'path';

/** `@Post()`: the `RequestMethod`, which says whether the handler changes something. */
export const METHOD = 'method';

/** `@Controller({ host })`: one route template may stand for several routes, which differ in their host. */
export const HOST = 'host';

/** `@Version()`, at a class or a method: two versions of a route are two operations. */
export const VERSION = '__version__';

/** `@Sse()`: server-sent events cannot be replayed, which the boot audit refuses. */
export const SSE = '__sse__';

/** `@Header()`: a list of names and values. Values that are functions are computed for each request. */
export const HEADERS = '__headers__';

/** `@UseGuards()`: the library warns of guarded routes whose callers have no principal. */
export const GUARDS = '__guards__';

/** `@UseInterceptors()`: names IdempotencyInterceptor where it is wired without `@Idempotent()`. */
export const INTERCEPTORS = '__interceptors__';

/** `@Catch()`: an application's filter for one of our problems precedes our own. */
export const FILTER_CATCHES = '__filterCatchExceptions__';

/** `@Body()`, `@Res()` and the like, at the class and the method's name: an object whose keys are `type:index`. */
export const ROUTE_ARGUMENTS = '__routeArguments__';

/** The keys of `@Res()` and `@Next()` in {@link ROUTE_ARGUMENTS}: types 1 and 2 of Nest's `RouteParamtypes`. */
export const NATIVE_ARGUMENT = /^(1|2):/;

/** `@Res({ passthrough: true })`, at the class and the method's name: Nest writes the response after all. */
export const RESPONSE_PASSTHROUGH = '__responsePassthrough__';

/** `@RouteConstraints()` of @nestjs/platform-fastify, whose `host` is like {@link HOST}. */
export const ROUTE_CONSTRAINTS = '__fastify_route_constraints__';

/**
 * Set by Nest 12 on a request that a pipe rejected. Its operation has not begun, and its key has to stay free. Nest 11 does not set it;
 * there, `@Idempotent()` knows by the calls of its handler.
 */
export const REJECTED_BY_PIPES = Symbol.for('nestjs:rejected-by-pipes');

/** `@MessagePattern()`, `@EventPattern()`: the array of patterns, which name the operation. */
export const MESSAGE_PATTERN = 'microservices:pattern';

/** `@MessagePattern()`, `@EventPattern()`: one of two numbers. */
export const MESSAGE_HANDLER_TYPE = 'microservices:handler_type';

/** The number of `@EventPattern()` in {@link MESSAGE_HANDLER_TYPE}. Nest calls all handlers of an event, and each runs once. */
export const EVENT_HANDLER = 2;

/** `@Mutation()` and the like of @nestjs/graphql: `'Mutation'`, `'Query'`, `'Subscription'`. */
export const GRAPHQL_RESOLVER_TYPE = 'graphql:resolver_type';

/** `@ResolveField()`: Nest runs no interceptors for it, so that the boot audit refuses `@Idempotent()`. */
export const GRAPHQL_RESOLVED_FIELD = 'graphql:resolve_property';

/** `@Injectable()`. */
export const INJECTABLE = '__injectable__';

/** `@OnEvent()` of @nestjs/event-emitter, at the method: a list of objects with `event`. */
export const EVENT_LISTENER = 'EVENT_LISTENER_METADATA';

/** Metadata keys of decorators that do not make a handler: guards, pipes, documentation. */
export const OF_ANY_METHOD = /^(__|swagger\/|design:)/;
