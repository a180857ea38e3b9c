/** What the examples of docs/operations.md take for granted. */
import type { IdempotencyService } from 'nestjs-idempotency';

export { Param, Post } from '@nestjs/common';
export { Idempotent } from 'nestjs-idempotency';

export declare const idempotency: IdempotencyService;
export declare const user: { id: string };

export declare abstract class Members {
  protected readonly orders: { pay(id: string): Promise<object> };
}
