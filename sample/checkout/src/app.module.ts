import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import type { Redis } from 'ioredis';
import { IdempotencyModule } from 'nestjs-idempotency';
import { CatalogModule } from './catalog/catalog.module.js';
import { CheckoutModule } from './checkout/checkout.module.js';
import { config } from './config.js';
import { databaseOptions } from './database.js';
import { IdempotencyLog } from './idempotency-log.js';
import { OrdersModule } from './orders/orders.module.js';
import { REDIS_CLIENTS, RedisModule } from './redis/redis.module.js';

@Module({
  imports: [
    TypeOrmModule.forRoot(databaseOptions(config)),
    IdempotencyModule.forRootAsync({
      imports: [RedisModule],
      inject: [REDIS_CLIENTS],
      useFactory: (clients: Redis[]) => ({
        redis: clients.length > 0 ? clients : undefined,
        // The library's default is 30s.
        lease: config.lease,
        // A customer who clicks twice wants the order, not a conflict.
        onConflict: 'wait',
      }),
    }),
    CatalogModule,
    OrdersModule,
    CheckoutModule,
  ],
  providers: [IdempotencyLog],
})
export class AppModule {}
