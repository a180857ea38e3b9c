/** What the examples of docs/security.md take for granted. */
export { IdempotencyModule } from 'nestjs-idempotency';

export declare const oldKey: Buffer;
