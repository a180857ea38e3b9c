import type { ExecutionContext, Type } from '@nestjs/common';
import type { ApplicationConfig, HttpAdapterHost, ModulesContainer } from '@nestjs/core';
import { RouterExceptionFilters } from '../../private-names/nest.js';

type Container = ConstructorParameters<typeof RouterExceptionFilters>[0];

/**
 * Passes an error to the exception filters that Nest would call, after the pipeline has ended. A COMMIT may be refused then, and only
 * the application's filters know the response for the database's error.
 */
export class ApplicationFilters {
  constructor(
    private readonly modules: ModulesContainer,
    private readonly config: ApplicationConfig,
    private readonly adapterHost: HttpAdapterHost,
  ) {}

  /** Calls the filter for an error. It may write the response after this method has returned. */
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
