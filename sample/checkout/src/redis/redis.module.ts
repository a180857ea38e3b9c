import { Inject, Logger, Module, type OnApplicationShutdown } from '@nestjs/common';
import { Redis } from 'ioredis';
import { config } from '../config.js';

export const REDIS_CLIENTS = Symbol('REDIS_CLIENTS');

/** A lock that cannot be had at once is done without, so a client must say quickly that its server is gone. */
function connect(url: string): Redis {
  const client = new Redis(url, {
    commandTimeout: 200,
    connectTimeout: 500,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
  });
  const logger = new Logger('Redis');
  const { host } = new URL(url);
  client.on('ready', () => logger.log(`${host} is up`));
  client.on('error', (error) => logger.warn(`${host}: ${error.message}`));
  return client;
}

@Module({
  providers: [
    {
      provide: REDIS_CLIENTS,
      useFactory: () => config.redisUrls.map(connect),
    },
  ],
  exports: [REDIS_CLIENTS],
})
export class RedisModule implements OnApplicationShutdown {
  constructor(@Inject(REDIS_CLIENTS) private readonly clients: Redis[]) {}

  onApplicationShutdown(): void {
    for (const client of this.clients) client.disconnect();
  }
}
