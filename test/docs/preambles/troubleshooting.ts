/** What the examples of docs/troubleshooting.md take for granted. */
import type { IdempotencyService } from 'nestjs-idempotency';

export declare const idempotency: IdempotencyService;
export declare const key: string;
export declare const user: { id: string };
