import { RequestMethod } from '@nestjs/common';
import type { DiscoveryService, MetadataScanner } from '@nestjs/core';
import { isIdempotent, isMarkedItself, isWiredByHand, lostMarkings, type Marking, markingOf } from './marking.js';
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
} from '../private-names/nest.js';

/**
 * Safe methods (RFC 9110, section 9.2.1; QUERY; PROPFIND and SEARCH of WebDAV). The library never touches their requests, as a retry of
 * them needs no protection.
 */
export const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'QUERY', 'PROPFIND', 'SEARCH']);

const MUTATING = new Set([
  RequestMethod.POST,
  RequestMethod.PUT,
  RequestMethod.PATCH,
  RequestMethod.DELETE,
  RequestMethod.ALL,
]);

/** A handler of the application that may have `@Idempotent()`. */
export interface Route {
  /** What calls the handler. In a hybrid application, a method may have several. */
  readonly kind: 'http' | 'message' | 'event' | 'mutation' | 'field';
  readonly controller: object;
  readonly handler: object;
  /** The handler's name in its class. */
  readonly method: string;
  /** Such as `PaymentsController.pay`. */
  readonly name: string;
  /** Whether requests change something. Always `false` for messages, which do not say. */
  readonly isMutating: boolean;
  /** Whether `@Idempotent()` has no effect, because the HTTP method is safe. */
  readonly isSafe: boolean;
  /** Why the handler cannot have `@Idempotent()`, if so. */
  readonly unfit?: string;
  /** The option `operation`. */
  readonly operation?: string;
  /** The decorators of the handler and its class. */
  readonly marking: Marking | undefined;
}

/** A route that `@Idempotent()` covers. Fields have no interceptors. */
export type CoveredRoute = Route & { readonly kind: Exclude<Route['kind'], 'field'> };

/** Whether `@Idempotent()` on a class covers those of its handlers that change something. Messages do not say whether they do. */
export const IS_COVERED_BY_CLASS: Readonly<Record<CoveredRoute['kind'], boolean>> = {
  http: true,
  mutation: true,
  message: false,
  event: false,
};

/** A class without decorators. */
const NOWHERE = {};

/** Nest's record of a controller or provider. */
export type Wrapper = ReturnType<DiscoveryService['getProviders']>[number];

type Method = Omit<Route, 'kind' | 'unfit'>;

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

  /** Returns the routes that `@Idempotent()` covers. */
  idempotent(): CoveredRoute[] {
    return this.all().filter(isCovered);
  }

  /** Returns the names of methods with `@Idempotent()` that nothing calls through Nest's pipeline, as those of services. */
  unreachable(): string[] {
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
      .filter(({ marking }) => isIdempotent(marking))
      .map(({ name }) => name);
  }

  /** Returns the names of methods that had `@Idempotent()`, until another decorator replaced them. */
  lost(): string[] {
    return classesOf(this.wrappers()).flatMap((metatype) =>
      lostMarkings(metatype.prototype as object).map((method) => `${metatype.name}.${method}`),
    );
  }

  /**
   * Returns the names of handlers with `@UseInterceptors(IdempotencyInterceptor)`, at them or their class, that it would leave
   * unprotected: those of gateways, for example. A class with routes or mutations has it for these.
   */
  wiredInVain(): string[] {
    const methods = this.methodsOf(this.wrappers()).filter(({ marking }) => marking === undefined);
    const classes = new Set(methods.filter(({ handler }) => isCoveredByHand(handler)).map((one) => one.controller));
    return methods
      .filter(({ controller, handler }) => {
        if (isWiredByHand(NOWHERE, handler)) return isMessageHandler(handler) || !isCoveredByHand(handler);
        return !classes.has(controller) && isForeignHandler(handler) && isWiredByHand(controller, handler);
      })
      .map(({ name }) => name);
  }

  /** Returns the names of message handlers, and of other packages' handlers, that `@Idempotent()` at their class does not cover. */
  notCovered(): string[] {
    return this.methodsOf(this.discovery.getControllers())
      .filter(({ marking, handler }) => isIdempotent(marking) && !isMarkedItself(handler))
      .filter(({ handler }) => isMessageHandler(handler) || (!isHttpHandler(handler) && isForeignHandler(handler)))
      .map(({ name }) => name);
  }

  /** Returns all controllers and providers. */
  wrappers(): Wrapper[] {
    return [...this.discovery.getControllers(), ...this.discovery.getProviders()];
  }

  private methodsOf(wrappers: Wrapper[]): Method[] {
    return classesOf(wrappers).flatMap((metatype) => {
      const prototype = metatype.prototype as Readonly<Record<string, object>>;
      return this.scanner.getAllMethodNames(prototype).map((method) => {
        const handler = prototype[method];
        const marking = markingOf(metatype, handler);
        return {
          controller: metatype,
          handler,
          method,
          name: `${metatype.name}.${method}`,
          isMutating: false,
          isSafe: false,
          operation: isIdempotent(marking) ? marking.operation : undefined,
          marking,
        };
      });
    });
  }
}

/** Returns the classes of controllers and providers, each once. Factories of providers may be functions without a prototype. */
function classesOf(wrappers: readonly Wrapper[]) {
  const metatypes = wrappers.flatMap(({ metatype }) => metatype ?? []);
  return [...new Set(metatypes)].filter(({ prototype }) => Boolean(prototype));
}

/** Returns whether `@Idempotent()` covers a route. */
export function isCovered(route: Route): route is CoveredRoute {
  const { kind, isMutating, handler, marking } = route;
  if (!isIdempotent(marking) || kind === 'field') return false;
  return IS_COVERED_BY_CLASS[kind] ? isMutating : isMarkedItself(handler);
}

/** Returns the name of a route for a line of the log, with its option `operation`. */
export function labelOf({ name, operation }: Route): string {
  return operation === undefined ? name : `${name} (${operation})`;
}

/** Returns whether the interceptor covers a handler without `@Idempotent()`. */
function isCoveredByHand(handler: object): boolean {
  return isHttpHandler(handler) || isGraphQLHandler(handler);
}

function httpRoute(method: Method): Route {
  const requestMethod = requestMethodOf(method.handler)!;
  return {
    ...method,
    kind: 'http',
    isMutating: MUTATING.has(requestMethod),
    isSafe: SAFE_METHODS.has(RequestMethod[requestMethod]),
    ...(isEventStream(method.handler) && {
      unfit: 'server-sent events cannot be replayed, remove @Idempotent() or @Sse()',
    }),
  };
}

function messageRoute(method: Method): Route {
  return {
    ...method,
    kind: isEventHandler(method.handler) ? 'event' : 'message',
    ...(takesStream(method.handler) && { unfit: 'a stream of requests has neither one key nor one content' }),
  };
}

function mutationRoute(method: Method): Route {
  return { ...method, kind: 'mutation', isMutating: true };
}

function fieldRoute(method: Method): Route {
  return { ...method, kind: 'field', unfit: 'Nest runs no interceptors for resolved fields, put it on the mutation' };
}
