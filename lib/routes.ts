import { RequestMethod } from '@nestjs/common';
import type { DiscoveryService, MetadataScanner } from '@nestjs/core';
import { type Marking, markingOf } from './decorators/metadata.js';

/** Nest's metadata keys for a route's method and path, and for server-sent events. */
const METHOD = 'method';
const PATH = 'path';
const SSE = '__sse__';

/** Safe by definition (RFC 9110, section 9.2.1): never touched. */
const SAFE = new Set([RequestMethod.GET, RequestMethod.HEAD, RequestMethod.OPTIONS]);

const MUTATING = new Set([
  RequestMethod.POST,
  RequestMethod.PUT,
  RequestMethod.PATCH,
  RequestMethod.DELETE,
  RequestMethod.ALL,
]);

/** An HTTP route of the application. */
export interface Route {
  readonly controller: object;
  readonly handler: object;
  /** Such as `PaymentsController.pay`. */
  readonly name: string;
  readonly isMutating: boolean;
  /** Whether `@Idempotent()` has no effect on it, whatever decorators say. */
  readonly isSafe: boolean;
  readonly isEventStream: boolean;
  /** What decorators say of it. */
  readonly marking: Marking | undefined;
}

/** Finds the routes of all controllers. */
export class Routes {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
  ) {}

  all(): Route[] {
    return this.discovery.getControllers().flatMap(({ metatype, instance }) => {
      const prototype = (metatype as { prototype?: object } | null)?.prototype ?? (instance as object | undefined);
      if (!metatype || !prototype) return [];
      return this.scanner
        .getAllMethodNames(prototype)
        .map((method) => [method, (prototype as Record<string, object>)[method]] as const)
        .filter(([, handler]) => Reflect.getMetadata(PATH, handler) !== undefined)
        .map(([method, handler]) => ({
          controller: metatype,
          handler,
          name: `${metatype.name}.${method}`,
          isMutating: MUTATING.has(Reflect.getMetadata(METHOD, handler) as RequestMethod),
          isSafe: SAFE.has(Reflect.getMetadata(METHOD, handler) as RequestMethod),
          isEventStream: Boolean(Reflect.getMetadata(SSE, handler)),
          marking: markingOf(metatype, handler),
        }));
    });
  }

  /** Those that `@Idempotent()` covers. */
  idempotent(): Route[] {
    return this.all().filter(({ isMutating, marking }) => isMutating && marking !== undefined && marking !== 'exempt');
  }
}
