import { Logger } from '@nestjs/common';
import { isMarkedItself } from './decorators/metadata.js';
import type { OperationOptions } from './options/operation-options.js';
import type { Route, Routes } from './routes.js';

/**
 * Looks at every handler when the application boots: options that cannot be used, and `@Idempotent()` where it cannot
 * work, fail the boot; mutating routes and GraphQL mutations that nobody decided about are told of.
 */
export class BootAudit {
  private readonly logger = new Logger('Idempotency');

  constructor(
    private readonly routes: Routes,
    private readonly operations: OperationOptions,
    private readonly mode: 'off' | 'warn' | 'error',
  ) {}

  run(): void {
    const undecided = this.routes.all().filter((route) => !this.check(route));
    if (this.mode === 'off' || undecided.length === 0) return;
    const names = undecided.map(({ name }) => name).join(', ');
    const message = `Mutating routes with neither @Idempotent() nor @NotIdempotent(): ${names}`;
    if (this.mode === 'error') throw new Error(`IdempotencyModule: ${message}`);
    this.logger.warn(message);
  }

  /** Whether somebody decided about a route, or it needs no decision. */
  private check({ controller, handler, name, isMutating, unfit, marking }: Route): boolean {
    if (marking === undefined) return !isMutating;
    if (marking === 'exempt') return true;
    // On the class, it does not cover such methods.
    if (unfit && isMarkedItself(handler)) throw new Error(`@Idempotent() on ${name}: ${unfit}`);
    try {
      this.operations.of(controller, handler);
    } catch (error) {
      throw new Error(`@Idempotent() on ${name}: ${(error as Error).message}`, { cause: error });
    }
    return true;
  }
}
