import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { drizzle, NodePgDatabase } from 'drizzle-orm/node-postgres';
import { IdempotencyModule } from 'nestjs-idempotency';
import { IDEMPOTENCY_MIGRATIONS } from 'nestjs-idempotency/migrations';
import { PaymentsController } from './payments.controller.js';

@Module({
  imports: [
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
  providers: [{ provide: NodePgDatabase, useFactory: () => drizzle(process.env.DATABASE_URL!) }],
  exports: [NodePgDatabase],
})
export class AppModule {}
