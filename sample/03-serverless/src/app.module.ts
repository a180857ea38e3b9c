import { Module } from '@nestjs/common';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { IdempotencyModule } from 'nestjs-idempotency';
import { Payment } from './payment.entity.js';
import { PaymentsController } from './payments.controller.js';

const url = process.env.DATABASE_URL;

const database: TypeOrmModuleOptions = url
  ? {
      type: 'postgres',
      url,
      // An instance handles one event at a time. Its connections go when it is idle, as nobody tells it that it ends.
      poolSize: 2,
      extra: { idleTimeoutMillis: 1_000, allowExitOnIdle: true },
    }
  : { type: 'better-sqlite3', database: process.env.DATABASE_FILE ?? 'payments.sqlite' };

@Module({
  imports: [
    TypeOrmModule.forRoot({ ...database, autoLoadEntities: true, synchronize: true }),
    TypeOrmModule.forFeature([Payment]),
    IdempotencyModule.forRoot({
      sweep: false, // no timers in a process that is frozen between events: see sweep.ts
      storeConnections: 0, // its own connections would stay open in an idle instance
      lease: '10s', // what a retry waits at the most after an instance was stopped: a little above the time limit
    }),
  ],
  controllers: [PaymentsController],
})
export class AppModule {}
