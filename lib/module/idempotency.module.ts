import { type DynamicModule, Module, type Provider } from '@nestjs/common';
import {
  ApplicationConfig,
  DiscoveryModule,
  DiscoveryService,
  HttpAdapterHost,
  MetadataScanner,
  ModulesContainer,
} from '@nestjs/core';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import type { DataSource } from 'typeorm';
import { BootAudit } from './boot-audit.js';
import { watchWrapped } from '../handlers/watch-handler.js';
import { GraphQLEdge } from '../edges/graphql/graphql-edge.js';
import { AnonymousCallers } from '../edges/caller/anonymous-callers.js';
import { ApplicationFilters } from '../edges/http/application-filters.js';
import { HttpEdge } from '../edges/http/http-edge.js';
import { IdempotencyEdges } from '../edges/idempotency-edges.js';
import { RpcEdge } from '../edges/rpc/rpc-edge.js';
import { ValueEdge } from '../edges/values/value-edge.js';
import { IdempotencyEngine } from '../engine/engine.js';
import { IdempotencyLifecycle } from './idempotency.lifecycle.js';
import {
  type EngineFactory,
  IDEMPOTENCY_DATA_SOURCE,
  IDEMPOTENCY_ENGINE_FACTORY,
  IDEMPOTENCY_LOCK,
  IDEMPOTENCY_OPTIONS,
  IDEMPOTENCY_RAW_OPTIONS,
} from './idempotency.tokens.js';
import { RedisWakeUp, RedlockRecordLock } from '../lock/index.js';
import type {
  IdempotencyModuleAsyncOptions,
  IdempotencyModuleExtras,
  IdempotencyModuleOptions,
  IdempotencyOptionsFactory,
} from '../options/idempotency-options.js';
import { IdempotencyOptionError } from '../options/option-error.js';
import { OperationOptions } from '../handlers/operation-options.js';
import type { ResolvedModuleOptions } from '../options/resolved-options.js';
import { dataSourceOrName, resolveModuleOptions } from '../options/resolve-options.js';
import { Routes } from '../handlers/routes.js';
import { EventStream } from '../service/event-stream.js';
import { IdempotencyService } from '../service/idempotency.service.js';
import { policyOf } from '../service/policy.js';
import { checkAtBoot } from '../store/boot-check.js';
import type { Connector } from '../store/connectors/connector.js';
import { connectorFor } from '../store/connectors/index.js';
import { dialectNameOf } from '../store/dialects/dialect-name.js';
import type { PgConnection } from '../store/dialects/postgres.js';
import { IDEMPOTENCY_ENTITIES } from '../store/entities/index.js';
import { PostgresWakeUp } from '../store/postgres-wake-up.js';
import { AesGcmSealer, noSealer } from '../store/sealer.js';
import { SqlRecordStore } from '../store/sql-record-store.js';

const STORE_CONNECTOR = Symbol('IDEMPOTENCY_STORE_CONNECTOR');
const WAKE_UP = Symbol('IDEMPOTENCY_WAKE_UP');

/** Idempotent operations for a Nest application, on its TypeORM data source. */
@Module({})
export class IdempotencyModule {
  /** @throws IdempotencyOptionError for an option that cannot be used, naming it */
  static forRoot(options: IdempotencyModuleOptions & IdempotencyModuleExtras = {}): DynamicModule {
    const { isGlobal, ...rest } = options;
    const resolved = resolveModuleOptions(rest);
    return define({ isGlobal, dataSource: rest.dataSource }, [{ provide: IDEMPOTENCY_OPTIONS, useValue: resolved }]);
  }

  /** As {@link forRoot}, with options that come from a factory; `dataSource` and `isGlobal` stand beside it. */
  static forRootAsync(options: IdempotencyModuleAsyncOptions): DynamicModule {
    const resolve: Provider = {
      provide: IDEMPOTENCY_OPTIONS,
      useFactory: (raw: IdempotencyModuleOptions | null | undefined) => {
        if (!raw)
          throw new Error('IdempotencyModule.forRootAsync(): the factory has to return the options, and returned none');
        checkDataSource(raw.dataSource, options.dataSource);
        return resolveModuleOptions(raw);
      },
      inject: [IDEMPOTENCY_RAW_OPTIONS],
    };
    const module = define(options, [...rawOptions(options), resolve]);
    return { ...module, imports: [...(module.imports ?? []), ...(options.imports ?? [])] };
  }
}

function rawOptions(options: IdempotencyModuleAsyncOptions): Provider[] {
  if (options.useFactory) {
    const { useFactory, inject = [] } = options;
    return [{ provide: IDEMPOTENCY_RAW_OPTIONS, useFactory, inject }];
  }
  const factory = options.useExisting ?? options.useClass;
  if (!factory) throw new Error('IdempotencyModule.forRootAsync() takes one of useFactory, useClass and useExisting');
  return [
    {
      provide: IDEMPOTENCY_RAW_OPTIONS,
      useFactory: (one: IdempotencyOptionsFactory) => one.createIdempotencyOptions(),
      inject: [factory],
    },
    ...(options.useClass ? [options.useClass] : []),
  ];
}

function define({ isGlobal = true, dataSource }: IdempotencyModuleExtras, options: Provider[]): DynamicModule {
  const given = dataSourceOrName(dataSource);
  const itself = typeof given === 'object' ? given : undefined;
  const name = typeof given === 'string' ? given : undefined;
  // For its effect on `autoLoadEntities` alone: its repositories would fail without a word on what is missing.
  if (!itself) TypeOrmModule.forFeature([...IDEMPOTENCY_ENTITIES], name);
  return {
    module: IdempotencyModule,
    global: isGlobal,
    imports: [DiscoveryModule],
    providers: [
      ...options,
      {
        provide: IDEMPOTENCY_DATA_SOURCE,
        useFactory: (modules: ModulesContainer, found: DataSource | undefined) => {
          assertImportedOnce(modules);
          watchWrappedHandlers(modules);
          return itself ?? existing(found, name);
        },
        inject: [ModulesContainer, { token: getDataSourceToken(name), optional: true }],
      },
      EventStream,
      ...PROVIDERS,
    ],
    exports: [IdempotencyService, IdempotencyEdges],
  };
}

/** Which data source it is decides what is injected, and so cannot wait for a factory. */
function checkDataSource(
  inFactory: IdempotencyModuleExtras['dataSource'],
  beside: IdempotencyModuleExtras['dataSource'],
): void {
  if (inFactory === undefined || inFactory === beside) return;
  throw new IdempotencyOptionError(
    'dataSource',
    'stands beside `useFactory` in forRootAsync(), not in what the factory returns: { dataSource, useFactory }',
  );
}

/** Two of them would each sweep, tell events and keep options, and which one a controller gets would be left to chance. */
function assertImportedOnce(modules: ModulesContainer): void {
  const instances = [...modules.values()].filter(
    ({ metatype, isGlobal }) => metatype === IdempotencyModule && isGlobal,
  );
  if (instances.length < 2) return;
  throw new Error(
    `IdempotencyModule: forRoot() is imported ${instances.length} times. Import it once, in the root module: it is global. ` +
      'For a second one with a data source of its own, set `isGlobal: false` on both.',
  );
}

/** All classes are known by now, and none of their routes. */
function watchWrappedHandlers(modules: ModulesContainer): void {
  for (const { controllers, providers } of modules.values()) {
    for (const { metatype } of [...controllers.values(), ...providers.values()]) {
      const prototype = typeof metatype === 'function' ? (metatype.prototype as object | undefined) : undefined;
      if (prototype) watchWrapped(prototype);
    }
  }
}

function existing(dataSource: DataSource | undefined, name: string | undefined): DataSource {
  if (dataSource) return dataSource;
  throw new Error(
    name === undefined
      ? 'IdempotencyModule: there is no default data source. Import TypeOrmModule.forRoot() in the root module, or name ' +
          "yours: IdempotencyModule.forRoot({ dataSource: 'name' }), beside `useFactory` in forRootAsync()."
      : `IdempotencyModule: there is no data source "${name}". Give the option \`dataSource\` the \`name\` that ` +
          'TypeOrmModule.forRoot() has.',
  );
}

const PROVIDERS: Provider[] = [
  {
    provide: STORE_CONNECTOR,
    useFactory: (options: ResolvedModuleOptions, dataSource: DataSource) =>
      connectorFor(dataSource, options.storeConnections),
    inject: [IDEMPOTENCY_OPTIONS, IDEMPOTENCY_DATA_SOURCE],
  },
  {
    provide: SqlRecordStore,
    useFactory: (options: ResolvedModuleOptions, dataSource: DataSource, connector: Connector) =>
      new SqlRecordStore(dataSource, connector, {
        timeoutMs: options.storeTimeoutMs,
        sealer: options.encryption ? new AesGcmSealer(options.encryption) : noSealer,
        transactionHost: options.transactionHost,
      }),
    inject: [IDEMPOTENCY_OPTIONS, IDEMPOTENCY_DATA_SOURCE, STORE_CONNECTOR],
  },
  {
    provide: IDEMPOTENCY_LOCK,
    useFactory: ({ redis, redlock }: ResolvedModuleOptions) =>
      redis.length ? new RedlockRecordLock(redis, redlock) : undefined,
    inject: [IDEMPOTENCY_OPTIONS],
  },
  {
    provide: WAKE_UP,
    useFactory: ({ redis }: ResolvedModuleOptions, dataSource: DataSource, connector: Connector) => {
      if (redis.length) return new RedisWakeUp(redis);
      if (dialectNameOf(dataSource) !== 'postgres') return undefined;
      return new PostgresWakeUp(dataSource, connector as Connector<PgConnection>);
    },
    inject: [IDEMPOTENCY_OPTIONS, IDEMPOTENCY_DATA_SOURCE, STORE_CONNECTOR],
  },
  {
    provide: IdempotencyEngine,
    useFactory: (
      { onLockUnavailable }: ResolvedModuleOptions,
      store: SqlRecordStore,
      lock: RedlockRecordLock | undefined,
      wakeUp: RedisWakeUp | PostgresWakeUp | undefined,
      events: EventStream,
      factory: EngineFactory | undefined,
    ) => {
      const parts = { store, lock, wakeUp, events, onLockUnavailable };
      return factory?.createEngine(parts) ?? new IdempotencyEngine(parts);
    },
    inject: [
      IDEMPOTENCY_OPTIONS,
      SqlRecordStore,
      IDEMPOTENCY_LOCK,
      WAKE_UP,
      EventStream,
      { token: IDEMPOTENCY_ENGINE_FACTORY, optional: true },
    ],
  },
  {
    provide: OperationOptions,
    useFactory: (options: ResolvedModuleOptions) => new OperationOptions(options),
    inject: [IDEMPOTENCY_OPTIONS],
  },
  {
    provide: Routes,
    useFactory: (discovery: DiscoveryService, scanner: MetadataScanner) => new Routes(discovery, scanner),
    inject: [DiscoveryService, MetadataScanner],
  },
  {
    provide: IdempotencyEdges,
    useFactory: (
      engine: IdempotencyEngine,
      options: ResolvedModuleOptions,
      operations: OperationOptions,
      store: SqlRecordStore,
      application: ApplicationConfig,
      modules: ModulesContainer,
      adapterHost: HttpAdapterHost,
    ) => {
      const anonymous = new AnonymousCallers(application);
      const values = new ValueEdge(engine, options, store);
      const filters = new ApplicationFilters(modules, application, adapterHost);
      return new IdempotencyEdges(
        new HttpEdge(engine, options, operations, { errors: store, filters, anonymous }),
        new RpcEdge(values, operations),
        new GraphQLEdge(values, operations, anonymous),
      );
    },
    inject: [
      IdempotencyEngine,
      IDEMPOTENCY_OPTIONS,
      OperationOptions,
      SqlRecordStore,
      ApplicationConfig,
      ModulesContainer,
      HttpAdapterHost,
    ],
  },
  {
    provide: IdempotencyService,
    useFactory: (
      engine: IdempotencyEngine,
      store: SqlRecordStore,
      dataSource: DataSource,
      options: ResolvedModuleOptions,
      events: EventStream,
      operations: OperationOptions,
      routes: Routes,
    ) =>
      new IdempotencyService({
        engine,
        store,
        dataSource,
        options,
        events,
        policy: () => policyOf(options, operations, routes),
      }),
    inject: [
      IdempotencyEngine,
      SqlRecordStore,
      IDEMPOTENCY_DATA_SOURCE,
      IDEMPOTENCY_OPTIONS,
      EventStream,
      OperationOptions,
      Routes,
    ],
  },
  {
    provide: IdempotencyLifecycle,
    useFactory: (
      options: ResolvedModuleOptions,
      engine: IdempotencyEngine,
      store: SqlRecordStore,
      lock: RedlockRecordLock | undefined,
      wakeUp: RedisWakeUp | PostgresWakeUp | undefined,
      events: EventStream,
      operations: OperationOptions,
      routes: Routes,
      dataSource: DataSource,
    ) => {
      const audit = new BootAudit(routes, operations, options.audit);
      return new IdempotencyLifecycle({
        options,
        engine,
        store,
        lock,
        wakeUp,
        events,
        audit: () => audit.run(),
        check: (logger) => checkAtBoot(dataSource, store, { logger, timeoutMs: options.storeTimeoutMs }),
      });
    },
    inject: [
      IDEMPOTENCY_OPTIONS,
      IdempotencyEngine,
      SqlRecordStore,
      IDEMPOTENCY_LOCK,
      WAKE_UP,
      EventStream,
      OperationOptions,
      Routes,
      IDEMPOTENCY_DATA_SOURCE,
    ],
  },
];
