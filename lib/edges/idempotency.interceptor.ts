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

/**
 * Answers duplicates from the record, after guards and before pipes. `@Idempotent()` wires it. Applications that wire it by hand name it
 * in `@UseInterceptors()`; handlers without options of their own then get the module's defaults.
 *
 * @example
 * ```ts
 * @UseInterceptors(IdempotencyInterceptor)
 * @Post('payments')
 * pay(@Body() payment: PaymentDto) {}
 * ```
 */
@Injectable()
export class IdempotencyInterceptor implements NestInterceptor, OnModuleInit {
  /** @internal */
  static readonly [IS_OURS] = true;

  /** @internal */
  constructor(@Optional() private readonly edges?: IdempotencyEdges) {}

  /**
   * Fails at boot, and not in the constructor: a unit test that calls a controller's methods has no pipeline, and needs no
   * IdempotencyModule.
   *
   * @internal
   */
  onModuleInit(): void {
    this.wired();
  }

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const edges = this.wired();
    // The mock of a test, by `useMocker()`: it answers nothing, and would fail each request.
    return edges instanceof IdempotencyEdges ? edges.intercept(context, next) : next.handle();
  }

  private wired(): IdempotencyEdges {
    if (this.edges) return this.edges;
    throw new Error(
      '@Idempotent() needs IdempotencyModule: import IdempotencyModule.forRoot() in the root module, or, with ' +
        '`isGlobal: false`, in each module whose controllers use it. A test of a controller alone overrides IdempotencyInterceptor',
    );
  }
}
