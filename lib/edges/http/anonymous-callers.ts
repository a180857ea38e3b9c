import { type ExecutionContext, Logger } from '@nestjs/common';
import type { ApplicationConfig } from '@nestjs/core';

/** Nest's metadata key for what `@UseGuards()` names. */
const GUARDS = '__guards__';

/**
 * Warns, once for each endpoint, where guards let a request in and nothing about it tells its caller from others: all who
 * come that way share their keys, though the guards may well know them apart.
 */
export class AnonymousCallers {
  private readonly logger = new Logger('Idempotency');
  private readonly told = new Set<string>();

  constructor(private readonly application: ApplicationConfig) {}

  note(context: ExecutionContext, endpoint: string): void {
    if (this.told.has(endpoint) || !this.isGuarded(context)) return;
    this.told.add(endpoint);
    this.logger.warn(
      `${endpoint}: guards let a request in that has neither request.user nor an Authorization header: such callers share ` +
        'their keys. Set the option `scope` to what your guards tell them by, or to a constant if they are anonymous',
    );
  }

  private isGuarded(context: ExecutionContext): boolean {
    return (
      this.application.getGlobalGuards().length > 0 ||
      this.application.getGlobalRequestGuards().length > 0 ||
      [context.getHandler(), context.getClass()].some((target) => Reflect.hasMetadata(GUARDS, target))
    );
  }
}
