/** https://github.com/Aliheym/typeorm-transactional, as `transactionHost`: injected repositories follow. */
import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { DataSource, type Repository } from 'typeorm';
import {
  addTransactionalDataSource,
  initializeTransactionalContext,
  runInTransaction,
  Transactional,
} from 'typeorm-transactional';
import { application, Effect } from '../harness.js';
import { failAs, type Transfer, transfers, transfersController, TransfersService } from '../support/transfers.js';

let names = 0;

export default application({
  name: 'typeorm-transactional',
  build: (field) => {
    initializeTransactionalContext();
    const connectionName = `transactional-${++names}`;

    @Injectable()
    class TransactionalTransfersService extends TransfersService {
      constructor(@InjectRepository(Effect) private readonly rows: Repository<Effect>) {
        super();
      }

      @Transactional({ connectionName })
      async transfer(transfer: Transfer) {
        await this.rows.save({ what: 'debit' });
        await this.rows.save({ what: 'credit' });
        failAs(transfer);
        return { transfers: await this.rows.count() };
      }
    }
    return {
      dataSourceFactory: (options) =>
        Promise.resolve(
          addTransactionalDataSource({ name: connectionName, dataSource: new DataSource(options as never) }),
        ),
      controllers: [transfersController(field)],
      providers: [{ provide: TransfersService, useClass: TransactionalTransfersService }],
      options: {
        transactionHost: {
          run: (dataSource, work) => runInTransaction(() => work(dataSource.manager), { connectionName }),
        },
      },
    };
  },
  exchanges: transfers('/transfers', { concurrent: false }),
});
