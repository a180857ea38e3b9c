import { RequestMethod } from '@nestjs/common';
import type { DiscoveryService, MetadataScanner } from '@nestjs/core';
import { isMarkedItself, type Marking, markingOf } from './marking.js';
import {
  isEventHandler,
  isEventStream,
  isForeignHandler,
  isGraphQLHandler,
  isHttpHandler,
  isMessageHandler,
  isMutation,
  isResolvedField,
  requestMethodOf,
  takesStream,
} from './nest-decorators.js';

/** Safe by definition (RFC 9110, section 9.2.1): never touched. */
const SAFE = new Set([RequestMethod.GET, RequestMethod.HEAD, RequestMethod.OPTIONS]);

const MUTATING = new Set([
  RequestMethod.POST,
  RequestMethod.PUT,
  RequestMethod.PATCH,
  RequestMethod.DELETE,
  RequestMethod.ALL,
]);

/** How requests come to a handler. A method may have several, in a hybrid application. */
export type RouteKind = 'http' | 'message' | 'event' | 'mutation' | 'field';

/** A handler of the application that `@Idempotent()` may stand at. */
export interface Route {
  readonly kind: RouteKind;
  readonly controller: object;
  readonly handler: object;
  /** The handler's name in its class. */
  readonly method: string;
  /** Such as `PaymentsController.pay`. */
  readonly name: string;
  /** Whether requests change something, as far as can be told: a message does not say. */
  readonly isMutating: boolean;
  /** Whether `@Idempotent()` has no effect on it, whatever decorators say. */
  readonly isSafe: boolean;
  /** Why `@Idempotent()` cannot stand at it, if so. */
  readonly unfit?: string;
  /** The option `operation`. */
  readonly operation?: string;
  /** What decorators say of it. */
  readonly marking: Marking | undefined;
}

type Method = Pick<Route, 'controller' | 'handler' | 'method' | 'name' | 'operation' | 'marking'>;

/** Finds the HTTP routes and message handlers of all controllers, and the mutations of all resolvers. */
export class Routes {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
  ) {}

  all(): Route[] {
    const ofControllers = this.methodsOf(this.discovery.getControllers());
    const ofProviders = this.methodsOf(this.discovery.getProviders());
    return [
      ...ofControllers.filter(({ handler }) => isHttpHandler(handler)).map(httpRoute),
      ...ofControllers.filter(({ handler }) => isMessageHandler(handler)).map(messageRoute),
      ...ofProviders.filter(({ handler }) => isMutation(handler)).map(mutationRoute),
      ...ofProviders.filter(({ handler }) => isResolvedField(handler)).map(fieldRoute),
    ];
  }

  /** Those that `@Idempotent()` covers. */
  idempotent(): Route[] {
    return this.all().filter(isCovered);
  }

  /** Names of methods that decorators mark, and that nothing calls through Nest's pipeline: of services, of gateways. */
  unreached(): string[] {
    const controllers = this.discovery.getControllers();
    const classes = new Set<unknown>(controllers.map(({ metatype }) => metatype));
    const ofControllers = this.methodsOf(controllers);
    const ofOthers = this.methodsOf(this.discovery.getProviders().filter(({ metatype }) => !classes.has(metatype)));
    const resolvers = new Set(ofOthers.filter(({ handler }) => isGraphQLHandler(handler)).map((one) => one.controller));
    return [
      ...ofControllers.filter(
        ({ handler }) => isMarkedItself(handler) && !isHttpHandler(handler) && !isMessageHandler(handler),
      ),
      ...ofOthers.filter(({ handler, controller }) =>
        isMarkedItself(handler) ? !isGraphQLHandler(handler) : !resolvers.has(controller),
      ),
    ]
      .filter(({ marking }) => marking !== undefined && marking !== 'exempt')
      .map(({ name }) => name);
  }

  /**
   * Names of methods that `@Idempotent()` at their class does not cover, and that something calls: message handlers, and those
   * of other packages, which are known by what their decorators keep at the method.
   */
  passedOver(): string[] {
    return this.methodsOf(this.discovery.getControllers())
      .filter(({ marking, handler }) => marking !== undefined && marking !== 'exempt' && !isMarkedItself(handler))
      .filter(({ handler }) => isMessageHandler(handler) || (!isHttpHandler(handler) && isForeignHandler(handler)))
      .map(({ name }) => name);
  }

  private methodsOf(wrappers: ReturnType<DiscoveryService['getProviders']>): Method[] {
    return [...new Set(wrappers.map(({ metatype }) => metatype))].flatMap((metatype) => {
      const prototype = (metatype as { prototype?: object } | null)?.prototype;
      if (!metatype || !prototype) return [];
      return this.scanner.getAllMethodNames(prototype).map((method) => {
        const handler = (prototype as Record<string, object>)[method];
        const marking = markingOf(metatype, handler);
        return {
          controller: metatype,
          handler,
          method,
          name: `${metatype.name}.${method}`,
          operation: marking === 'exempt' ? undefined : marking?.operation,
          marking,
        };
      });
    });
  }
}

/** Whether `@Idempotent()` covers a route. */
export function isCovered({ kind, isMutating, handler, marking }: Route): boolean {
  if (marking === undefined || marking === 'exempt') return false;
  return isMutating || ((kind === 'message' || kind === 'event') && isMarkedItself(handler));
}

function httpRoute(method: Method): Route {
  const { handler } = method;
  const requestMethod = requestMethodOf(handler);
  return {
    ...method,
    kind: 'http',
    isMutating: MUTATING.has(requestMethod!),
    isSafe: SAFE.has(requestMethod!),
    ...(isEventStream(handler) && { unfit: 'server-sent events cannot be replayed, remove @Idempotent() or @Sse()' }),
  };
}

function messageRoute(method: Method): Route {
  const { handler } = method;
  return {
    ...method,
    kind: isEventHandler(handler) ? 'event' : 'message',
    isMutating: false,
    isSafe: false,
    ...(takesStream(handler) && { unfit: 'a stream of requests has neither one key nor one content' }),
  };
}

function mutationRoute(method: Method): Route {
  return { ...method, kind: 'mutation', isMutating: true, isSafe: false };
}

function fieldRoute(method: Method): Route {
  return {
    ...method,
    kind: 'field',
    isMutating: false,
    isSafe: false,
    unfit: 'Nest runs no interceptors for resolved fields, put it on the mutation',
  };
}
