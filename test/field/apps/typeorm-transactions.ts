/** https://docs.nestjs.com/techniques/database#typeorm-transactions: the handler's own transactions, on the only connection. */
import { Body, Controller, Post } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { application, Effect, Effects } from '../harness.js';
import { failAs, type Transfer, transfers } from '../support/transfers.js';

export default application({
  name: "TypeORM's transactions",
  build: ({ Idempotent }) => {
    @Controller()
    class TransfersController {
      constructor(
        private readonly dataSource: DataSource,
        private readonly effects: Effects,
      ) {}

      @Post('query-runner')
      @Idempotent()
      async queryRunner(@Body() body: Transfer) {
        const queryRunner = this.dataSource.createQueryRunner();
        await queryRunner.connect();
        await queryRunner.startTransaction();
        try {
          await queryRunner.manager.insert(Effect, { what: 'debit' });
          const id = await this.effects.add('credit');
          failAs(body);
          await queryRunner.commitTransaction();
          return { id };
        } catch (error) {
          await queryRunner.rollbackTransaction();
          throw error;
        } finally {
          await queryRunner.release();
        }
      }

      @Post('callback')
      @Idempotent()
      callback(@Body() body: Transfer) {
        return this.dataSource.transaction(async (manager) => {
          await manager.insert(Effect, { what: 'debit' });
          const id = await this.effects.add('credit');
          failAs(body);
          return { id };
        });
      }
    }
    return { controllers: [TransfersController] };
  },
  exchanges: ['/query-runner', '/callback'].flatMap((path) => transfers(path)),
});
