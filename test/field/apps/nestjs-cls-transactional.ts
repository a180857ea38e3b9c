/** https://papooch.github.io/nestjs-cls/plugins/available-plugins/transactional, as `transactionHost`. */
import { Injectable } from '@nestjs/common';
import { Transactional, TransactionHost } from '@nestjs-cls/transactional';
import type { TransactionalAdapterTypeOrm } from '@nestjs-cls/transactional-adapter-typeorm';
import { application, Effect } from '../harness.js';
import { clsTransactions } from '../support/cls-transactions.js';
import { failAs, type Transfer, transfers, transfersController, TransfersService } from '../support/transfers.js';

export default application({
  name: '@nestjs-cls/transactional',
  build: (field) => {
    @Injectable()
    class ClsTransfersService extends TransfersService {
      constructor(private readonly host: TransactionHost<TransactionalAdapterTypeOrm>) {
        super();
      }

      @Transactional()
      async transfer(transfer: Transfer) {
        await this.host.tx.insert(Effect, { what: 'debit' });
        await this.host.tx.insert(Effect, { what: 'credit' });
        failAs(transfer);
        return { transfers: await this.host.tx.count(Effect) };
      }
    }
    return {
      ...clsTransactions(),
      controllers: [transfersController(field)],
      providers: [{ provide: TransfersService, useClass: ClsTransfersService }],
    };
  },
  exchanges: transfers('/transfers', { concurrent: false }),
});
