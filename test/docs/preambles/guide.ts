/** What the examples of docs/guide.md take for granted, but for the files of its project. */
export { setTimeout as sleep } from 'node:timers/promises';
export type { Request } from 'express';
export { IdempotencyModule } from 'nestjs-idempotency';

export interface PaymentDto {
  account: string;
  amount: number;
}

export interface Payment extends PaymentDto {
  id: string;
}
