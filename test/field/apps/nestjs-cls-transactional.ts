/** https://papooch.github.io/nestjs-cls/plugins/available-plugins/transactional, as `transactionHost`. */
import { Body, ConflictException, Controller, Injectable, Post } from '@nestjs/common';
import { getDataSourceToken } from '@nestjs/typeorm';
import { ClsPluginTransactional, Transactional, TransactionHost } from '@nestjs-cls/transactional';
import { TransactionalAdapterTypeOrm } from '@nestjs-cls/transactional-adapter-typeorm';
import { ClsModule } from 'nestjs-cls';
import { application, Effect } from '../harness.js';

export default application({
  name: '@nestjs-cls/transactional',
  build: ({ Idempotent }) => {
    @Injectable()
    class TransfersService {
      constructor(private readonly host: TransactionHost<TransactionalAdapterTypeOrm>) {}

      @Transactional()
      async transfer(fail?: 'domain' | 'outage') {
        await this.host.tx.insert(Effect, { what: 'debit' });
        await this.host.tx.insert(Effect, { what: 'credit' });
        if (fail === 'domain') throw new ConflictException('closed');
        if (fail) throw new Error('after the writes');
        return { transfers: await this.host.tx.count(Effect) };
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
    const host = () => TransactionHost.getInstance<TransactionalAdapterTypeOrm>();
    return {
      imports: [
        ClsModule.forRoot({
          global: true,
          middleware: { mount: true },
          plugins: [
            new ClsPluginTransactional({
              adapter: new TransactionalAdapterTypeOrm({ dataSourceToken: getDataSourceToken() }),
            }),
          ],
        }),
      ],
      controllers: [TransfersController],
      providers: [TransfersService],
      options: {
        // Callers are anonymous here: without this, a guard that tells nobody by name is warned of.
        scope: () => 'anonymous',
        transactionHost: { run: (_dataSource, work) => host().withTransaction(() => work(host().tx)) },
      },
    };
  },
  exchanges: [
    { name: 'transfer', request: { path: '/transfers', body: {} }, status: 201, effects: 2, concurrent: false },
    { name: 'closed', request: { path: '/transfers', body: { fail: 'domain' } }, status: 409 },
    { name: 'broken', request: { path: '/transfers', body: { fail: 'outage' } }, status: 500 },
  ],
});
