/** What the examples of docs/reference.md take for granted. */
import type { IdempotencyService } from 'nestjs-idempotency';

export declare const idempotency: IdempotencyService;
export declare const job: { id: string; data: { order: string } };
export declare const invoices: { make(data: { order: string }): Promise<{ number: string }> };
