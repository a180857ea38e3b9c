import { Body, ConflictException, Controller, Post, type Type } from '@nestjs/common';
import type { Exchange, Field } from '../harness.js';

export interface Transfer {
  readonly fail?: 'domain' | 'outage';
}

export function failAs({ fail }: Transfer): void {
  if (fail === 'domain') throw new ConflictException('closed');
  if (fail) throw new Error('after the writes');
}

/** Writes a debit and a credit, in the transaction of the package under test. */
export abstract class TransfersService {
  abstract transfer(transfer: Transfer): Promise<{ transfers: number }>;
}

export function transfersController({ Idempotent }: Field): Type<object> {
  @Controller('transfers')
  class TransfersController {
    constructor(private readonly transfers: TransfersService) {}

    @Post()
    @Idempotent({ transactional: true })
    transfer(@Body() transfer: Transfer) {
      return this.transfers.transfer(transfer);
    }
  }
  return TransfersController;
}

/** One transfer that commits, and two that roll back. */
export const transfers = (path: string, success?: Pick<Exchange, 'concurrent'>): Exchange[] => [
  { name: path, request: { path, body: {} }, status: 201, effects: 2, ...success },
  { name: `${path}, closed`, request: { path, body: { fail: 'domain' } }, status: 409 },
  { name: `${path}, broken`, request: { path, body: { fail: 'outage' } }, status: 500 },
];
