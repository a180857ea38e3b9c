import type { ExecutionContext, Type } from '@nestjs/common';
import type { ApplicationConfig, HttpAdapterHost, ModulesContainer } from '@nestjs/core';
import { RouterExceptionFilters } from '../../private-names/nest.js';

type Container = ConstructorParameters<typeof RouterExceptionFilters>[0];

/**
 * Hands an error to the exception filters that Nest would ask, for an error that comes after the pipeline has ended: a COMMIT
 * is refused when the response has been made, and the application's filters know what to make of it.
 */
export class ApplicationFilters {
  constructor(
    private readonly modules: ModulesContainer,
    private readonly config: ApplicationConfig,
    private readonly adapterHost: HttpAdapterHost,
  ) {}

  /** Has the filters write a response. A filter may do so after this has returned. */
  handle(error: unknown, context: ExecutionContext): void {
    const container = { getModules: () => this.modules } as Container;
    const filters = new RouterExceptionFilters(container, this.config, this.adapterHost.httpAdapter);
    const controller = context.getClass();
    const instance = Object.create(controller.prototype as object) as object;
    const handler = context.getHandler() as Parameters<RouterExceptionFilters['create']>[1];
    filters.create(instance, handler, this.moduleOf(controller)).next(error as Error, context as never);
  }

  private moduleOf(controller: Type): string | undefined {
    for (const [key, { controllers }] of this.modules) if (controllers.has(controller)) return key;
    return undefined;
  }
}
