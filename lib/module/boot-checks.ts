import { type Provider, Scope } from '@nestjs/common';
import type { ModulesContainer } from '@nestjs/core';
import { isPromise } from 'node:util/types';
import { DataSource } from 'typeorm';
import type {
  IdempotencyModuleAsyncOptions,
  IdempotencyModuleExtras,
  IdempotencyModuleOptions,
} from '../options/idempotency-options.js';
import { IdempotencyOptionError } from '../options/option-error.js';
import { IDEMPOTENCY_DATA_SOURCE, IDEMPOTENCY_OPTIONS } from './idempotency.tokens.js';

/**
 * Providers of the bare class, which `forRoot()` replaces. Without them Nest says that it cannot resolve a symbol, which names no remedy.
 */
export const WITHOUT_FOR_ROOT: Provider[] = [IDEMPOTENCY_OPTIONS, IDEMPOTENCY_DATA_SOURCE].map((provide) => ({
  provide,
  useFactory: () => {
    throw new Error(
      'IdempotencyModule is imported without forRoot(). Import IdempotencyModule.forRoot() in the root module; it is global, ' +
        'and no other module needs an import.',
    );
  },
}));

/** @throws Error for a promise, whose options would silently be the defaults: encryption would be off */
export function assertNoPromise(options: object): void {
  if (!isPromise(options)) return;
  throw new Error(
    'IdempotencyModule.forRoot() takes options, not a promise of them: forRootAsync({ useFactory }) waits for one',
  );
}

/** @throws Error without any source of the options */
export function assertFactory({ useFactory, useClass, useExisting }: IdempotencyModuleAsyncOptions): void {
  if (useFactory || useClass || useExisting) return;
  throw new Error('IdempotencyModule.forRootAsync() takes one of useFactory, useClass and useExisting');
}

/**
 * @param options the result of a factory
 * @param beside the data source that stands beside the factory
 * @throws Error where the factory returned nothing
 * @throws IdempotencyOptionError where it returned another data source, which comes too late to be injected
 */
export function assertOptions(
  options: IdempotencyModuleOptions | null | undefined,
  beside: IdempotencyModuleExtras['dataSource'],
): asserts options is IdempotencyModuleOptions {
  if (!options) {
    throw new Error('IdempotencyModule.forRootAsync(): the factory has to return the options, and returned none');
  }
  if (options.dataSource === undefined || options.dataSource === beside) return;
  throw new IdempotencyOptionError(
    'dataSource',
    'stands beside `useFactory` in forRootAsync(), not in what the factory returns: { dataSource, useFactory }',
  );
}

/**
 * @throws Error where several global modules exist: chance would decide which of their options a controller gets
 */
export function assertImportedOnce(modules: ModulesContainer): void {
  const instances = [...modules.values()].filter(
    ({ isGlobal, providers }) => isGlobal && providers.has(IDEMPOTENCY_OPTIONS),
  );
  if (instances.length < 2) return;
  throw new Error(
    `IdempotencyModule: forRoot() is imported ${instances.length} times. Import it once, in the root module: it is global. ` +
      'For a second one with a data source of its own, set `isGlobal: false` on both.',
  );
}

/**
 * Takes the scope of the module's parts. One that is not the application's own comes from a provider that they inject, however far away.
 * Nest then makes all of them for each request, with connections that nothing closes, and calls none of their hooks: no boot audit,
 * no sweep, no wait for running handlers at a shutdown.
 *
 * @throws Error for any scope but the default
 */
export function assertStatic(scope: Scope | undefined): void {
  if (scope === Scope.DEFAULT) return;
  throw new Error(
    'IdempotencyModule: its options or its data source depend on a provider of request scope, so that each request would have a ' +
      'module and connections of its own. Give `useFactory` providers of the default scope alone. What differs from request to ' +
      'request belongs in options that are functions, such as `scope`.',
  );
}

/** @throws Error where @nestjs/typeorm has no such data source */
export function dataSourceFound(dataSource: DataSource | undefined, name: string | undefined): DataSource {
  if (dataSource) return dataSource;
  throw new Error(
    name === undefined
      ? 'IdempotencyModule: there is no default data source. Import TypeOrmModule.forRoot() in the root module, or name ' +
          "yours: IdempotencyModule.forRoot({ dataSource: 'name' }), beside `useFactory` in forRootAsync()."
      : `IdempotencyModule: there is no data source "${name}". Give the option \`dataSource\` the \`name\` that ` +
          'TypeOrmModule.forRoot() has.',
  );
}

/** Returns the application's data sources besides the one that holds the records. */
export function otherDataSources(modules: ModulesContainer, own: DataSource): DataSource[] {
  const providers = [...modules.values()].flatMap((module) => [...module.providers.values()]);
  const instances = new Set<unknown>(providers.map(({ instance }) => instance as unknown));
  return [...instances].filter((one): one is DataSource => one instanceof DataSource && one !== own);
}
