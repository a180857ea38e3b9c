import {
  type CallHandler,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  type OnModuleInit,
  Optional,
} from '@nestjs/common';
import type { Observable } from 'rxjs';
import { IS_OURS } from '../handlers/marking.js';
import { IdempotencyEdges } from './idempotency-edges.js';

/** Short-circuits duplicates in the Nest pipeline, after guards and before pipes. Wired by `@Idempotent()`. */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor, OnModuleInit {
  /** @internal */
  static readonly [IS_OURS] = true;

  /** @internal */
  constructor(@Optional() private readonly edges?: IdempotencyEdges) {}

  /**
   * Not in the constructor: a unit test that takes a controller from a module which it compiles, and calls its methods,
   * has no pipeline and needs no module of ours.
   *
   * @internal
   */
  onModuleInit(): void {
    this.wired();
  }

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return this.wired().intercept(context, next);
  }

  private wired(): IdempotencyEdges {
    if (this.edges) return this.edges;
    throw new Error(
      '@Idempotent() needs IdempotencyModule: import IdempotencyModule.forRoot() in the root module, or, with ' +
        '`isGlobal: false`, in each module whose controllers use it',
    );
  }
}
