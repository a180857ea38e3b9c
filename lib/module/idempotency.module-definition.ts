import { ConfigurableModuleBuilder, type DynamicModule } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import type { DataSource } from 'typeorm';
import type { IdempotencyModuleExtras, IdempotencyModuleOptions } from '../options/idempotency-options.js';
import { flag } from '../options/checks.js';
import { dataSourceOrName } from '../options/resolve-options.js';
import { IDEMPOTENCY_ENTITIES } from '../store/entities/index.js';
import { assertImportedOnce, dataSourceFound } from './boot-checks.js';
import { IDEMPOTENCY_DATA_SOURCE } from './idempotency.tokens.js';

/** `forRoot()` and `forRootAsync()`. `MODULE_OPTIONS_TOKEN` provides the options before their validation. */
export const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } =
  new ConfigurableModuleBuilder<IdempotencyModuleOptions>()
    .setClassMethodName('forRoot')
    .setFactoryMethodName('createIdempotencyOptions')
    .setExtras<IdempotencyModuleExtras>({ isGlobal: true, dataSource: undefined }, withExtras)
    .build();

/** Adds the data source. It decides what Nest injects, and so cannot come from a factory of options. */
function withExtras(definition: DynamicModule, { isGlobal, dataSource }: IdempotencyModuleExtras): DynamicModule {
  const given = dataSourceOrName(dataSource);
  const global = flag(true)(isGlobal, 'isGlobal');
  const itself = typeof given === 'object' ? given : undefined;
  const name = typeof given === 'string' ? given : undefined;
  // Called only for `autoLoadEntities`: the providers that it returns would fail without a helpful message.
  if (!itself) TypeOrmModule.forFeature([...IDEMPOTENCY_ENTITIES], name);
  return {
    ...definition,
    global,
    providers: [
      ...definition.providers!,
      {
        provide: IDEMPOTENCY_DATA_SOURCE,
        useFactory: (modules: ModulesContainer, found: DataSource | undefined) => {
          assertImportedOnce(modules);
          return itself ?? dataSourceFound(found, name);
        },
        inject: [ModulesContainer, { token: getDataSourceToken(name), optional: true }],
      },
    ],
  };
}
