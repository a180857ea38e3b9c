/** What the examples of docs/migration.md take for granted. */
import type { Request } from 'express';

export type { Request, Response } from 'express';
export { Redis } from 'ioredis';
export { defer, lastValueFrom, type Observable } from 'rxjs';
export {
  type ArgumentsHost,
  type CallHandler,
  type CanActivate,
  Catch,
  ConflictException,
  type ExceptionFilter,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  Post,
} from '@nestjs/common';
export { Idempotent, IdempotencyProblem, IdempotencyService, type ProblemCode } from 'nestjs-idempotency';

export declare function cartKey(request: Request): string;

export abstract class Members {
  protected readonly orders!: { place(): Promise<{ id: string }> };
}
