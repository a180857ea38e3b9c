/** What the examples of docs/testing.md take for granted. */
export { Test } from '@nestjs/testing';
export { IdempotencyModule } from '../../../lib/index.js';

export declare class AppModule {}
export declare class Payment {}

export declare const provider: { readonly charges: readonly unknown[] };

export declare class PaymentsService {}

export declare class PaymentsController {
  pay(payment: { amount: number }): Promise<void>;
}
