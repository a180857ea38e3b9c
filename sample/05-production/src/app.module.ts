import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Redis } from 'ioredis';
import { IdempotencyModule } from 'nestjs-idempotency';
import { IdempotencyDashboardModule } from 'nestjs-idempotency/dashboard';
import { LoggerModule } from 'nestjs-pino';
import { AuditLog } from './audit-log.js';
import { AuthModule } from './auth/auth.module.js';
import { OperatorGuard } from './auth/operator.guard.js';
import { Public } from './auth/user.js';
import { config } from './config.js';
import { databaseOptions } from './database.js';
import { HealthModule } from './health/health.module.js';
import { logging } from './logging.js';
import { MetricsModule } from './metrics/metrics.module.js';
import { OrdersModule } from './orders/orders.module.js';
import { PaymentsModule } from './payments/payments.module.js';
import { PayoutsModule } from './payouts/payouts.module.js';
import { RedisModule } from './redis.module.js';

@Module({
  imports: [
    LoggerModule.forRoot(logging),
    TypeOrmModule.forRoot({ ...databaseOptions, autoLoadEntities: true }),
    IdempotencyModule.forRootAsync({
      imports: [RedisModule],
      inject: [Redis],
      useFactory: (redis: Redis) => ({
        redis,
        lease: `${config.IDEMPOTENCY_LEASE_SECONDS}s`,
        onConflict: 'wait', // a client that retries too soon wants the outcome, not a conflict
        audit: 'error', // a mutating route without a decision about retries does not start
        encryption: { keys: config.IDEMPOTENCY_KEYS, current: config.IDEMPOTENCY_CURRENT_KEY },
      }),
    }),
    IdempotencyDashboardModule.forRoot({
      path: '/idempotency',
      guards: [OperatorGuard],
      decorators: [Public()], // not for the guard of customers' tokens
      actions: true,
    }),
    AuthModule,
    HealthModule,
    MetricsModule,
    OrdersModule,
    PaymentsModule,
    PayoutsModule,
  ],
  providers: [AuditLog],
})
export class AppModule {}
