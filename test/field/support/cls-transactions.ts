/** https://papooch.github.io/nestjs-cls/plugins/available-plugins/transactional, as `transactionHost`. */
import { getDataSourceToken } from '@nestjs/typeorm';
import { ClsPluginTransactional, TransactionHost } from '@nestjs-cls/transactional';
import { TransactionalAdapterTypeOrm } from '@nestjs-cls/transactional-adapter-typeorm';
import { ClsModule } from 'nestjs-cls';
import type { Parts } from '../harness.js';

const host = () => TransactionHost.getInstance<TransactionalAdapterTypeOrm>();

export const clsTransactions = (): Pick<Parts, 'imports' | 'options'> => ({
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
  options: {
    // Callers are anonymous here: without this, a guard that names no user logs a warning.
    scope: () => 'anonymous',
    transactionHost: { run: (_dataSource, work) => host().withTransaction(() => work(host().tx)) },
  },
});
