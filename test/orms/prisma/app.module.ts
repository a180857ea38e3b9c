import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule } from 'nestjs-idempotency';
import { IDEMPOTENCY_MIGRATIONS } from 'nestjs-idempotency/migrations';
import { PaymentsController } from './payments.controller.js';
import { PrismaService } from './prisma.service.js';

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
  providers: [PrismaService],
  exports: [PrismaService],
})
export class AppModule {}
