import { Module, type Type } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule, type IdempotencyModuleOptions } from '../../lib/index.js';
import type { TestDatabase } from './database.js';

/** Returns the root module of an application with these controllers, whose records are in `database`. */
export function appModule(
  { options }: TestDatabase,
  controllers: Type[],
  idempotency?: IdempotencyModuleOptions,
): Type {
  @Module({
    imports: [
      TypeOrmModule.forRoot({ ...options, autoLoadEntities: true, synchronize: true }),
      IdempotencyModule.forRoot(idempotency),
    ],
    controllers,
  })
  class App {}
  return App;
}
