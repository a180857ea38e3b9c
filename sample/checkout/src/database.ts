import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { TypeOrmModuleOptions } from '@nestjs/typeorm';
import type { Config } from './config.js';

/** A server when `DATABASE_URL` names one, a SQLite file otherwise. */
export function databaseOptions({ databaseUrl, dataDir }: Config): TypeOrmModuleOptions {
  // The idempotency records' entities are found through autoLoadEntities, like the shop's own.
  const common = { autoLoadEntities: true, synchronize: true };
  if (!databaseUrl) {
    mkdirSync(dataDir, { recursive: true });
    return {
      ...common,
      type: 'better-sqlite3',
      database: join(dataDir, 'shop.sqlite'),
      enableWAL: true,
    };
  }
  const { protocol } = new URL(databaseUrl);
  switch (protocol) {
    case 'postgres:':
    case 'postgresql:':
      return { ...common, type: 'postgres', url: databaseUrl };
    case 'mysql:':
    case 'mariadb:':
      return { ...common, type: 'mysql', url: databaseUrl };
    default:
      throw new Error(`DATABASE_URL: ${protocol} is none of postgres: and mysql:`);
  }
}
