import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule } from 'nestjs-idempotency';
import { Invoice } from './invoice.entity.js';
import { InvoicesConsumer } from './invoices.consumer.js';
import { Queue } from './queue.js';

@Module({
  imports: [
    TypeOrmModule.forRoot({
      type: 'better-sqlite3',
      database: ':memory:',
      autoLoadEntities: true,
      synchronize: true,
    }),
    TypeOrmModule.forFeature([Invoice]),
    IdempotencyModule.forRoot(),
  ],
  providers: [Queue, InvoicesConsumer],
})
export class AppModule {}
