import { type CallHandler, type ExecutionContext, Injectable, type NestInterceptor, Optional } from '@nestjs/common';
import type { Observable } from 'rxjs';
import { IdempotencyEdges } from './idempotency-edges.js';

/** Short-circuits duplicates in the Nest pipeline, after guards and before pipes. Wired by `@Idempotent()`. */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor {
  private readonly edges: IdempotencyEdges;

  /** @internal */
  constructor(@Optional() edges: IdempotencyEdges) {
    if (!edges) {
      throw new Error(
        '@Idempotent() needs IdempotencyModule: import IdempotencyModule.forRoot() in the root module, or, with ' +
          '`isGlobal: false`, in each module whose controllers use it',
      );
    }
    this.edges = edges;
  }

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> | Promise<Observable<unknown>> {
    return this.edges.intercept(context, next);
  }
}
