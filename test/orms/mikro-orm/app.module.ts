import { MikroOrmModule } from '@mikro-orm/nestjs';
import { PostgreSqlDriver } from '@mikro-orm/postgresql';
import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule } from 'nestjs-idempotency';
import { IDEMPOTENCY_MIGRATIONS } from 'nestjs-idempotency/migrations';
import { Account, Payment } from './entities.js';
import { OperationEntityManager } from './operation-entity-manager.js';
import { PaymentsController } from './payments.controller.js';
import { PaymentsService } from './payments.service.js';

@Module({
  imports: [
    MikroOrmModule.forRoot({
      driver: PostgreSqlDriver,
      clientUrl: process.env.DATABASE_URL,
      entities: [Account, Payment],
      // Or a schema update drops the library's tables.
      schemaGenerator: { ignoreSchema: ['idempotency'] },
    }),
    // The library's two tables, and nothing of yours.
    TypeOrmModule.forRoot({
      type: 'postgres',
      url: process.env.DATABASE_URL,
      schema: 'idempotency',
      autoLoadEntities: true,
      migrations: [...IDEMPOTENCY_MIGRATIONS],
      migrationsRun: true,
      poolSize: 20,
    }),
    IdempotencyModule.forRoot(),
  ],
  controllers: [PaymentsController],
  providers: [PaymentsService, OperationEntityManager],
  exports: [OperationEntityManager],
})
export class AppModule {}
