/** An interceptor that retries a transactional operation: what the call that failed has written is rolled back, no more. */
import {
  type CallHandler,
  Controller,
  type ExecutionContext,
  type NestInterceptor,
  Post,
  UseInterceptors,
} from '@nestjs/common';
import { Transactional, TransactionHost } from '@nestjs-cls/transactional';
import type { TransactionalAdapterTypeOrm } from '@nestjs-cls/transactional-adapter-typeorm';
import { retry } from 'rxjs';
import { application, Effect } from '../harness.js';
import { clsTransactions } from '../support/cls-transactions.js';

class RetryInterceptor implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(retry(1));
  }
}

export default application({
  name: 'a retry interceptor and transactions',
  build: ({ Idempotent }) => {
    class Transfers {
      private calls = 0;
      constructor(protected readonly host: TransactionHost<TransactionalAdapterTypeOrm>) {}

      protected async transfer() {
        await this.host.tx.insert(Effect, { what: 'debit' });
        if (++this.calls % 2 === 1) throw new Error('between the writes');
        await this.host.tx.insert(Effect, { what: 'credit' });
        return { rows: await this.host.tx.count(Effect) };
      }
    }

    @Controller()
    class TransfersController extends Transfers {
      constructor(host: TransactionHost<TransactionalAdapterTypeOrm>) {
        super(host);
      }

      @Post('outside')
      @Idempotent({ transactional: true })
      @UseInterceptors(RetryInterceptor)
      @Transactional()
      outside() {
        return this.transfer();
      }

      @Post('inside')
      @UseInterceptors(RetryInterceptor)
      @Idempotent({ transactional: true })
      @Transactional()
      inside() {
        return this.transfer();
      }
    }
    return { ...clsTransactions(), controllers: [TransfersController] };
  },
  exchanges: ['/outside', '/inside'].map((path) => ({
    name: path,
    request: { path },
    status: 201,
    effects: 2,
    concurrent: false,
  })),
});
