/** What the examples of docs/recipes.md take for granted. */
// For the global namespace of its files.
import type {} from 'multer';
import type { IdempotencyService } from 'nestjs-idempotency';
import type { IdempotencyFaults } from 'nestjs-idempotency/testing';

export { Body, Post, Req, UploadedFile, UseInterceptors } from '@nestjs/common';
export { FileInterceptor } from '@nestjs/platform-express';
export { Idempotent, IdempotencyInProgressException, IdempotencyModule, NotIdempotent } from 'nestjs-idempotency';

/** As `@nestjs/schedule` has it. */
export declare function Cron(expression: string, options?: { timeZone?: string }): MethodDecorator;

export interface OrderItem {
  readonly key: string;
  readonly sku: string;
}

export abstract class Members {
  protected readonly orders!: { create(item: OrderItem): Promise<{ id: string }> };
  protected readonly idempotency!: IdempotencyService;
  protected readonly documents!: { store(name: string, content: Buffer): Promise<{ id: string }> };
  protected readonly reports!: { make(day: string): Promise<{ pages: number }> };
}

export declare const faults: IdempotencyFaults;
export declare function pay(key: string): Promise<unknown>;
