import { type DynamicModule, Module, type Provider } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { IdempotencyEdges } from '../edges/idempotency-edges.js';
import type {
  IdempotencyModuleAsyncOptions,
  IdempotencyModuleExtras,
  IdempotencyModuleOptions,
} from '../options/idempotency-options.js';
import { resolveModuleOptions } from '../options/resolve-options.js';
import { IdempotencyService } from '../service/idempotency.service.js';
import { assertFactory, assertNoPromise, assertOptions, WITHOUT_FOR_ROOT } from './boot-checks.js';
import { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } from './idempotency.module-definition.js';
import { PROVIDERS } from './idempotency.providers.js';
import { IDEMPOTENCY_OPTIONS } from './idempotency.tokens.js';

/**
 * Idempotent operations for a Nest application, on its TypeORM data source.
 *
 * @example
 * ```ts
 * @Module({ imports: [TypeOrmModule.forRoot({ ... }), IdempotencyModule.forRoot()] })
 * export class AppModule {}
 * ```
 */
@Module({
  imports: [DiscoveryModule],
  providers: [...WITHOUT_FOR_ROOT, ...PROVIDERS],
  exports: [IdempotencyService, IdempotencyEdges],
})
// Does not extend ConfigurableModuleClass, whose instances are `any`: so would be this class to its users.
export class IdempotencyModule {
  /**
   * Returns the module with its options. Import it once, in the root module: it is global.
   *
   * @throws IdempotencyOptionError for an option that cannot be used
   */
  static forRoot(options: IdempotencyModuleOptions & IdempotencyModuleExtras = {}): DynamicModule {
    assertNoPromise(options);
    const { isGlobal: _, ...given } = options;
    // Not a factory: the stack of an error shows the caller, and Nest runs no factories under `preview: true`.
    const resolved = { provide: IDEMPOTENCY_OPTIONS, useValue: resolveModuleOptions(given) };
    return withOptions(ConfigurableModuleClass.forRoot(options), resolved);
  }

  /**
   * As {@link forRoot}, with options from a factory. Give `dataSource` and `isGlobal` next to the factory, not in what it returns.
   *
   * @throws IdempotencyOptionError at boot, for an option that cannot be used
   *
   * @example
   * IdempotencyModule.forRootAsync({ inject: [ConfigService], useFactory: (config) => ({ namespace: config.get('APP') }) })
   */
  static forRootAsync(options: IdempotencyModuleAsyncOptions): DynamicModule {
    assertFactory(options);
    // `useExisting` may be any token, though Nest's types allow classes only.
    const definition = ConfigurableModuleClass.forRootAsync(options as AsyncOptions);
    return withOptions(definition, {
      provide: IDEMPOTENCY_OPTIONS,
      useFactory: (given: IdempotencyModuleOptions | null | undefined) => {
        assertOptions(given, options.dataSource);
        return resolveModuleOptions(given);
      },
      inject: [MODULE_OPTIONS_TOKEN],
    });
  }
}

type AsyncOptions = Parameters<typeof ConfigurableModuleClass.forRootAsync>[0];

function withOptions(definition: DynamicModule, resolved: Provider): DynamicModule {
  return { ...definition, module: IdempotencyModule, providers: [...definition.providers!, resolved] };
}
