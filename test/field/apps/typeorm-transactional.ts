/** https://github.com/Aliheym/typeorm-transactional, as `transactionHost`: injected repositories follow. */
import { Body, ConflictException, Controller, Injectable, Post } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { DataSource, type Repository } from 'typeorm';
import {
  addTransactionalDataSource,
  initializeTransactionalContext,
  runInTransaction,
  Transactional,
} from 'typeorm-transactional';
import { application, Effect } from '../harness.js';

let names = 0;

export default application({
  name: 'typeorm-transactional',
  build: ({ Idempotent }) => {
    initializeTransactionalContext();
    const connectionName = `transactional-${++names}`;

    @Injectable()
    class TransfersService {
      constructor(@InjectRepository(Effect) private readonly rows: Repository<Effect>) {}

      @Transactional({ connectionName })
      async transfer(fail?: 'domain' | 'outage') {
        await this.rows.save({ what: 'debit' });
        await this.rows.save({ what: 'credit' });
        if (fail === 'domain') throw new ConflictException('closed');
        if (fail) throw new Error('after the writes');
        return { transfers: await this.rows.count() };
      }
    }

    @Controller('transfers')
    class TransfersController {
      constructor(private readonly transfers: TransfersService) {}

      @Post()
      @Idempotent({ transactional: true })
      transfer(@Body() { fail }: { fail?: 'domain' | 'outage' }) {
        return this.transfers.transfer(fail);
      }
    }
    return {
      dataSourceFactory: (options) =>
        Promise.resolve(
          addTransactionalDataSource({ name: connectionName, dataSource: new DataSource(options as never) }),
        ),
      controllers: [TransfersController],
      providers: [TransfersService],
      options: {
        transactionHost: {
          run: (dataSource, work) => runInTransaction(() => work(dataSource.manager), { connectionName }),
        },
      },
    };
  },
  exchanges: [
    { name: 'transfer', request: { path: '/transfers', body: {} }, status: 201, effects: 2, concurrent: false },
    { name: 'closed', request: { path: '/transfers', body: { fail: 'domain' } }, status: 409 },
    { name: 'broken', request: { path: '/transfers', body: { fail: 'outage' } }, status: 500 },
  ],
});
