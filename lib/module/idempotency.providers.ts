import type { Provider } from '@nestjs/common';
import { ApplicationConfig, DiscoveryService, HttpAdapterHost, MetadataScanner, ModulesContainer } from '@nestjs/core';
import type { DataSource } from 'typeorm';
import { AnonymousCallers } from '../edges/caller/anonymous-callers.js';
import { GraphQLEdge } from '../edges/graphql/graphql-edge.js';
import { ApplicationFilters } from '../edges/http/application-filters.js';
import { HttpEdge } from '../edges/http/http-edge.js';
import { IdempotencyEdges } from '../edges/idempotency-edges.js';
import { RpcEdge } from '../edges/rpc/rpc-edge.js';
import { ValueEdge } from '../edges/values/value-edge.js';
import { IdempotencyEngine } from '../engine/engine.js';
import { OperationOptions } from '../handlers/operation-options.js';
import { Routes } from '../handlers/routes.js';
import { watchWrappedHandlers } from '../handlers/watch-handler.js';
import { RedisWakeUp, RedlockRecordLock } from '../lock/index.js';
import type { ResolvedModuleOptions } from '../options/resolved-options.js';
import { EventStream } from '../service/event-stream.js';
import { IdempotencyService } from '../service/idempotency.service.js';
import { policyOf } from '../service/policy.js';
import { checkAtBoot } from '../store/boot-check.js';
import type { Connector } from '../store/connectors/connector.js';
import { connectorFor } from '../store/connectors/index.js';
import { dialectNameOf } from '../store/dialects/dialect-name.js';
import type { PgConnection } from '../store/dialects/postgres.js';
import { PostgresWakeUp } from '../store/postgres-wake-up.js';
import { AesGcmSealer, noSealer } from '../store/sealer.js';
import { SqlRecordStore } from '../store/sql-record-store.js';
import { BootAudit } from './boot-audit.js';
import { otherDataSources } from './boot-checks.js';
import { IdempotencyLifecycle } from './idempotency.lifecycle.js';
import {
  type EngineFactory,
  IDEMPOTENCY_DATA_SOURCE,
  IDEMPOTENCY_ENGINE_FACTORY,
  IDEMPOTENCY_LOCK,
  IDEMPOTENCY_OPTIONS,
} from './idempotency.tokens.js';

const STORE_CONNECTOR = Symbol('IDEMPOTENCY_STORE_CONNECTOR');
const WAKE_UP = Symbol('IDEMPOTENCY_WAKE_UP');

/** Everything but the options and the data source, which `forRoot()` and `forRootAsync()` add. */
export const PROVIDERS: Provider[] = [
  EventStream,
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
    useFactory: (discovery: DiscoveryService, scanner: MetadataScanner, modules: ModulesContainer) => {
      // All classes are known by now, and Nest has looked for none of their routes.
      watchWrappedHandlers(modules.values());
      return new Routes(discovery, scanner);
    },
    inject: [DiscoveryService, MetadataScanner, ModulesContainer],
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
      modules: ModulesContainer,
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
        check: (logger) => {
          store.watchWrites(otherDataSources(modules, dataSource));
          return checkAtBoot(dataSource, store, { logger, timeoutMs: options.storeTimeoutMs });
        },
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
      ModulesContainer,
    ],
  },
];
