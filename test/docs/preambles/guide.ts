/** What the examples of docs/guide.md take for granted, but for the files of its project. */
export { setTimeout as sleep } from 'node:timers/promises';
export type { Request } from 'express';
export { Redis } from 'ioredis';
export { Module } from '@nestjs/common';
export { TypeOrmModule } from '@nestjs/typeorm';
export { IdempotencyModule } from 'nestjs-idempotency';
export { IDEMPOTENCY_MIGRATIONS } from 'nestjs-idempotency/migrations';

export interface PaymentDto {
  account: string;
  amount: number;
}

export interface Payment extends PaymentDto {
  id: string;
}

export declare const migrations: (new () => { up(): Promise<void>; down(): Promise<void> })[];
