import { Logger, RequestMethod } from '@nestjs/common';
import type { DiscoveryService, MetadataScanner } from '@nestjs/core';
import { markingOf } from './decorators/metadata.js';
import type { OperationOptions } from './options/operation-options.js';

/** Nest's metadata keys for a route's method and path, and for server-sent events. */
const METHOD = 'method';
const PATH = 'path';
const SSE = '__sse__';

const MUTATING = new Set([RequestMethod.POST, RequestMethod.PUT, RequestMethod.PATCH, RequestMethod.DELETE]);

interface Route {
  readonly controller: object;
  readonly handler: object;
  readonly name: string;
}

/**
 * Looks at every route when the application boots: options that cannot be used and `@Sse()` under `@Idempotent()` fail
 * the boot; mutating routes that nobody decided about are told of.
 */
export class BootAudit {
  private readonly logger = new Logger('Idempotency');

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly scanner: MetadataScanner,
    private readonly operations: OperationOptions,
    private readonly mode: 'off' | 'warn' | 'error',
  ) {}

  run(): void {
    const undecided = this.routes().filter((route) => !this.check(route));
    if (this.mode === 'off' || undecided.length === 0) return;
    const message =
      `Mutating routes with neither @Idempotent() nor @NotIdempotent(): ` +
      undecided.map(({ name }) => name).join(', ');
    if (this.mode === 'error') throw new Error(`IdempotencyModule: ${message}`);
    this.logger.warn(message);
  }

  /** Whether somebody decided about a route, or it needs no decision. */
  private check({ controller, handler, name }: Route): boolean {
    const method = Reflect.getMetadata(METHOD, handler) as RequestMethod;
    const marking = markingOf(controller, handler);
    if (marking === undefined) return !MUTATING.has(method);
    if (marking === 'exempt') return true;
    if (Reflect.getMetadata(SSE, handler) && isMarkedItself(handler)) {
      throw new Error(
        `@Idempotent() on ${name}: server-sent events cannot be replayed, remove @Idempotent() or @Sse()`,
      );
    }
    try {
      this.operations.of(controller, handler);
    } catch (error) {
      throw new Error(`@Idempotent() on ${name}: ${(error as Error).message}`, { cause: error });
    }
    return true;
  }

  private routes(): Route[] {
    return this.discovery.getControllers().flatMap(({ metatype, instance }) => {
      const prototype = (metatype as { prototype?: object } | null)?.prototype ?? (instance as object | undefined);
      if (!metatype || !prototype) return [];
      return this.scanner.getAllMethodNames(prototype).flatMap((method) => {
        const handler = (prototype as Record<string, object>)[method];
        if (Reflect.getMetadata(PATH, handler) === undefined) return [];
        return [{ controller: metatype, handler, name: `${metatype.name}.${method}` }];
      });
    });
  }
}

/** `@Sse()` on a method of an idempotent controller is a GET, and so not covered; on the method itself it is a mistake. */
function isMarkedItself(handler: object): boolean {
  return markingOf(Object, handler) !== undefined;
}
