import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor } from '@nestjs/common';
import type { Observable } from 'rxjs';
import { IdempotencyEdges } from './idempotency-edges.js';

/** Short-circuits duplicates in the Nest pipeline, after guards and before pipes. Wired by `@Idempotent()`. */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor {
  constructor(private readonly edges: IdempotencyEdges) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> | Promise<Observable<unknown>> {
    return this.edges.intercept(context, next);
  }
}
