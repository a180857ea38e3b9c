import type { InjectionToken, Provider } from '@nestjs/common';
import {
  ApplicationConfig,
  DiscoveryService,
  HttpAdapterHost,
  MetadataScanner,
  ModuleRef,
  ModulesContainer,
} from '@nestjs/core';
import type { DataSource } from 'typeorm';
import { Callers } from '../edges/shared/callers.js';
import { ApplicationFilters } from '../edges/http/application-filters.js';
import { HttpEdge } from '../edges/http/http-edge.js';
import { IdempotencyEdges } from '../edges/idempotency-edges.js';
import { Serializers } from '../edges/rpc/serializers.js';
import { ValueEdge } from '../edges/values/value-edge.js';
import { IdempotencyEngine } from '../engine/engine.js';
import { OperationOptions } from '../handlers/operation-options.js';
import { Routes } from '../handlers/routes.js';
import { watchWrappedHandlers } from '../handlers/watch-handler.js';
import { RedisWakeUp } from '../lock/redis-wake-up.js';
import { RedlockRecordLock } from '../lock/redlock-record-lock.js';
import type { ResolvedModuleOptions } from '../options/resolved-options.js';
import { EventStream } from '../service/event-stream.js';
import { IdempotencyService } from '../service/idempotency.service.js';
import { policyOf } from '../service/policy.js';
import { checkAtBoot } from '../store/boot-check.js';
import { connectorFor } from '../store/connectors/index.js';
import { AesGcmSealer, noSealer } from '../store/sealer.js';
import { SqlRecordStore } from '../store/sql-record-store.js';
import { BootAudit } from './boot-audit.js';
import { assertStatic, otherDataSources } from './boot-checks.js';
import { IdempotencyLifecycle } from './idempotency.lifecycle.js';
import * as tokens from './idempotency.tokens.js';

/** All parts of the module, which {@link createParts} puts together. */
const PARTS = Symbol('IDEMPOTENCY_PARTS');

type Parts = ReturnType<typeof createParts>;

function createParts(
  options: ResolvedModuleOptions,
  dataSource: DataSource,
  discovery: DiscoveryService,
  scanner: MetadataScanner,
  modules: ModulesContainer,
  application: ApplicationConfig,
  adapterHost: HttpAdapterHost,
  engineFactory: tokens.EngineFactory | undefined,
) {
  const { redis, redlock, onLockUnavailable, storeTimeoutMs: timeoutMs } = options;
  const events = new EventStream();
  const connector = connectorFor(dataSource, options.storeConnections);
  const store = new SqlRecordStore(dataSource, connector, {
    timeoutMs,
    sealer: options.encryption ? new AesGcmSealer(options.encryption) : noSealer,
    transactionHost: options.transactionHost,
  });
  store.watchOpened();
  const lock = redis.length > 0 ? new RedlockRecordLock(redis, redlock) : undefined;
  const wakeUp = redis.length > 0 ? new RedisWakeUp(redis) : connector.wakeUp?.();
  const engineParts = { store, lock, wakeUp, events, onLockUnavailable };
  const engine = engineFactory?.createEngine(engineParts) ?? new IdempotencyEngine(engineParts);

  const operations = new OperationOptions(options);
  // Here all classes are known, and Nest has not yet registered their routes.
  watchWrappedHandlers(modules.values());
  const routes = new Routes(discovery, scanner);
  const callers = new Callers(options, application);
  const serializers = new Serializers(application, adapterHost);
  const values = new ValueEdge(engine, options, operations, store, callers, serializers);
  const filters = new ApplicationFilters(modules, application, adapterHost);
  const edges = new IdempotencyEdges(new HttpEdge(engine, options, operations, store, filters, callers), values);

  const policy = () => policyOf(options, operations, routes);
  const service = new IdempotencyService({ engine, store, dataSource, options, events, policy });
  const hasHost = options.transactionHost !== undefined;
  const audit = new BootAudit(routes, operations, () => globalInterceptorsOf(application), hasHost);
  const lifecycle = new IdempotencyLifecycle({
    ...engineParts,
    options,
    engine,
    audit: (logger) => audit.run(options.audit, logger),
    check: (logger) => {
      store.watchWrites(otherDataSources(modules, dataSource));
      return checkAtBoot(dataSource, store, { logger, timeoutMs });
    },
  });
  return { events, store, lock, engine, operations, routes, audit, edges, service, lifecycle };
}

function globalInterceptorsOf(application: ApplicationConfig): object[] {
  const ofRequests = application.getGlobalRequestInterceptors().map(({ metatype }) => metatype);
  return [...application.getGlobalInterceptors(), ...ofRequests.filter((metatype) => metatype !== null)] as object[];
}

/** Provides one of the parts to Nest, which calls its lifecycle hooks and injects it elsewhere. */
function part(provide: InjectionToken, name: keyof Parts): Provider {
  return { provide, useFactory: (parts: Parts) => parts[name], inject: [PARTS] };
}

/** All providers except the options and the data source, which `forRoot()` and `forRootAsync()` add. */
export const PROVIDERS: Provider[] = [
  {
    provide: PARTS,
    useFactory: createParts,
    inject: [
      tokens.IDEMPOTENCY_OPTIONS,
      tokens.IDEMPOTENCY_DATA_SOURCE,
      DiscoveryService,
      MetadataScanner,
      ModulesContainer,
      ApplicationConfig,
      HttpAdapterHost,
      { token: tokens.IDEMPOTENCY_ENGINE_FACTORY, optional: true },
    ],
  },
  {
    // Depends on nothing of the application, so that Nest always creates it at boot, and calls its hook.
    provide: Symbol('IDEMPOTENCY_SCOPE_CHECK'),
    useFactory: (module: ModuleRef) => ({ onModuleInit: () => assertStatic(module.introspect(PARTS).scope) }),
    inject: [ModuleRef],
  },
  part(EventStream, 'events'),
  part(SqlRecordStore, 'store'),
  part(tokens.IDEMPOTENCY_LOCK, 'lock'),
  part(IdempotencyEngine, 'engine'),
  part(OperationOptions, 'operations'),
  part(Routes, 'routes'),
  part(BootAudit, 'audit'),
  part(IdempotencyEdges, 'edges'),
  part(IdempotencyService, 'service'),
  part(IdempotencyLifecycle, 'lifecycle'),
];
