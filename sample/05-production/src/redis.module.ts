import { Inject, Logger, Module, type OnApplicationShutdown } from '@nestjs/common';
import { Redis } from 'ioredis';
import { config } from './config.js';

function connect(): Redis {
  // Requests go on without Redis, so a client has to say quickly that its server is gone.
  const redis = new Redis(config.REDIS_URL, {
    commandTimeout: 200,
    connectTimeout: 500,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
  });
  const logger = new Logger('Redis');
  redis.on('ready', () => logger.log('Redis is up'));
  // Without a listener, ioredis prints each error to stderr, past the logger.
  redis.on('error', (error) => logger.warn(`Redis: ${error.message}`));
  return redis;
}

@Module({ providers: [{ provide: Redis, useFactory: connect }], exports: [Redis] })
export class RedisModule implements OnApplicationShutdown {
  constructor(@Inject(Redis) private readonly redis: Redis) {}

  /** The library never closes a client: it is the application's own. */
  onApplicationShutdown(): void {
    this.redis.disconnect();
  }
}
