import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  BadGatewayException,
  Body,
  type CallHandler,
  Controller,
  type ExecutionContext,
  type INestApplication,
  Module,
  type NestInterceptor,
  Param,
  Post,
} from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { type Attributes, context, metrics, trace, type Tracer } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { RPCType, setRPCMetadata } from '@opentelemetry/core';
import { AggregationTemporality, DataPointType, MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { Request, Response } from 'express';
import { Redis } from 'ioredis';
import { finalize, Observable } from 'rxjs';
import { EventStream } from '../../../lib/service/event-stream.js';
import {
  Idempotent,
  IdempotencyModule,
  type IdempotencyModuleOptions,
  IdempotencyService,
} from '../../../lib/index.js';
import { IdempotencyOpenTelemetryModule } from '../../../lib/integrations/opentelemetry/index.js';
import { IdempotencyFaults, IdempotencyFaultsModule } from '../../../lib/testing/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { TcpProxy } from '../../support/proxy.js';
import { type Server, startRedis } from '../../support/servers.mjs';
import { until } from '../../support/until.js';

const LEASE = 1_000;

@Controller('orders')
class OrdersController {
  /** How many handlers have begun. */
  static begun = 0;

  @Post(':shop')
  @Idempotent()
  async create(@Body() { ms = 0, fail = false }: { ms?: number; fail?: boolean }, @Param('shop') shop: string) {
    OrdersController.begun++;
    await sleep(ms);
    if (fail) throw new BadGatewayException();
    return { shop };
  }

  @Post(':shop/waiting')
  @Idempotent({ onConflict: 'wait', waitTimeout: 5_000, lease: 5_000 })
  waiting(@Body() body: { ms?: number }, @Param('shop') shop: string) {
    return this.create(body, shop);
  }

  @Post(':shop/impatient')
  @Idempotent({ onConflict: 'wait', waitTimeout: 150, lease: 5_000 })
  impatient(@Body() body: { ms?: number }, @Param('shop') shop: string) {
    return this.create(body, shop);
  }

  @Post(':shop/large')
  @Idempotent({ response: { maxBytes: 10 } })
  large() {
    return { text: 'x'.repeat(100) };
  }

  @Post(':shop/held')
  @Idempotent({ afterCrash: 'hold' })
  held() {
    return {};
  }

  @Post(':shop/transactional')
  @Idempotent({ transactional: true, lease: 5_000 })
  transactional(@Body() body: { ms?: number }, @Param('shop') shop: string) {
    return this.create(body, shop);
  }
}

/** What instrumentations of Nest and of Fastify do: the span of a handler ends with it, before the response is written. */
class HandlerSpan implements NestInterceptor {
  constructor(private readonly tracer: Tracer) {}

  intercept(of: ExecutionContext, next: CallHandler): Observable<unknown> {
    const name = of.switchToHttp().getRequest<Request>().headers['x-handler-span'];
    if (!name) return next.handle();
    const span = this.tracer.startSpan(String(name));
    const active = trace.setSpan(context.active(), span);
    return new Observable((subscriber) =>
      context.with(active, () =>
        next
          .handle()
          .pipe(finalize(() => span.end()))
          .subscribe(subscriber),
      ),
    );
  }
}

/** Gives what was measured since it was last asked. */
class Reader extends MetricReader {
  constructor() {
    super({ aggregationTemporalitySelector: () => AggregationTemporality.DELTA });
  }
  protected override async onForceFlush() {}
  protected override async onShutdown() {}

  async metrics() {
    const { resourceMetrics } = await this.collect();
    return resourceMetrics.scopeMetrics.flatMap((scope) => scope.metrics.map((metric) => ({ ...metric, scope })));
  }

  /** Such as `requests fresh POST /orders/:shop`, and how often. */
  async counts(): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const { descriptor, dataPoints, dataPointType } of await this.metrics()) {
      for (const { attributes, value } of dataPoints) {
        const about = [attributes['idempotency.outcome'], attributes['idempotency.endpoint']].filter(Boolean);
        const count = dataPointType === DataPointType.HISTOGRAM ? (value as { count: number }).count : value;
        counts[[descriptor.name.replace('idempotency.', ''), ...about].join(' ')] = count as number;
      }
    }
    return counts;
  }
}

describe('nestjs-idempotency/opentelemetry', () => {
  const reader = new Reader();
  const meterProvider = new MeterProvider({ readers: [reader] });
  const spans = new InMemorySpanExporter();
  const tracer = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] }).getTracer(
    'test',
  );
  let database: TestDatabase<'postgres'>;
  let proxy: TcpProxy;
  let node: Server;
  let redis: Redis;
  let app: INestApplication;
  let strict: INestApplication;
  let url: string;
  let faults: IdempotencyFaults;

  async function boot(options: IdempotencyModuleOptions, port: number): Promise<INestApplication> {
    @Module({
      imports: [
        TypeOrmModule.forRoot({
          ...database.options,
          port,
          autoLoadEntities: true,
          synchronize: true,
        }),
        IdempotencyModule.forRoot({ lease: LEASE, storeTimeout: 500, audit: 'off', sweep: false, ...options }),
        IdempotencyOpenTelemetryModule.forRoot({ meterProvider }),
        IdempotencyFaultsModule,
      ],
      controllers: [OrdersController],
    })
    class App {}
    const module = await Test.createTestingModule({ imports: [App] }).compile();
    const made = module.createNestApplication({ logger: false });
    // What an instrumentation of node's http does.
    made.use((request: Request, response: Response, next: () => void) => {
      const span = tracer.startSpan(String(request.headers['x-span'] ?? 'unnamed'));
      response.once('close', () => span.end());
      context.with(setRPCMetadata(trace.setSpan(context.active(), span), { type: RPCType.HTTP, span }), next);
    });
    made.useGlobalInterceptors(new HandlerSpan(tracer));
    return made.listen(0, '127.0.0.1').then(() => made);
  }

  beforeAll(async () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    database = await createDatabase('postgres');
    proxy = await TcpProxy.listen((database.options as { port: number }).port);
    node = await startRedis();
    redis = new Redis(node.port, '127.0.0.1', {
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      disconnectTimeout: 50,
    });
    redis.on('error', () => undefined);
    await new Promise((resolve) => redis.once('ready', resolve));
    app = await boot({ redis }, proxy.port);
    strict = await boot({ redis, onLockUnavailable: 'reject' }, proxy.port);
    url = `${await app.getUrl()}/orders`;
    faults = app.get(IdempotencyFaults);
  });

  beforeEach(async () => {
    faults.reset();
    spans.reset();
    await reader.collect();
  });

  afterAll(async () => {
    await app?.close();
    await strict?.close();
    redis?.disconnect();
    await node?.dispose();
    await proxy?.close();
    await database?.drop();
    context.disable();
    metrics.disable();
  });

  const post = (route: string, key: string, body: object = {}, span = 'request') =>
    call(`${url}/${route}`, { key, body, headers: { 'x-span': span } });

  /** The attributes of a span, once it has ended. */
  async function spanOf(name: string): Promise<Attributes> {
    for (const giveUpAt = Date.now() + 5_000; Date.now() < giveUpAt; await sleep(5)) {
      const span = spans.getFinishedSpans().find((one) => one.name === name);
      if (span) return span.attributes;
    }
    throw new Error(`no span ${name}`);
  }

  test('a first request, its replay, and another request under its key', async () => {
    const key = randomUUID();
    await post('a', key, {}, 'first');
    await post('a', key, {}, 'again');
    expect((await post('b', key, {}, 'other')).status).toBe(422);
    expect(await reader.counts()).toEqual({
      'requests fresh POST /orders/:shop': 1,
      'requests replayed POST /orders/:shop': 1,
      'requests mismatch POST /orders/:shop': 1,
      'executions completed POST /orders/:shop': 1,
      'claim.duration POST /orders/:shop': 1,
      'complete.duration POST /orders/:shop': 1,
    });

    const { id } = (await app.get(IdempotencyService).find({ key, scope: '', operation: 'POST /orders/:shop' }))!;
    const record = { 'idempotency.record.id': id, 'idempotency.endpoint': 'POST /orders/:shop' };
    expect(await spanOf('first')).toEqual({
      ...record,
      'idempotency.outcome': 'fresh',
      'idempotency.attempt': 1,
      'idempotency.token': 1,
      'idempotency.execution.outcome': 'completed',
    });
    expect(await spanOf('again')).toEqual({ ...record, 'idempotency.outcome': 'replayed' });
    expect(await spanOf('other')).toEqual({ ...record, 'idempotency.outcome': 'mismatch' });
    expect(JSON.stringify(spans.getFinishedSpans().map(({ attributes }) => attributes))).not.toContain(key);
  });

  test('a duplicate that is refused, one that waits, and one that waits in vain', async () => {
    const [refused, waiting, vain] = [randomUUID(), randomUUID(), randomUUID()];
    const running = [
      post('a', refused, { ms: 1_000 }),
      post('a/waiting', waiting, { ms: 1_000 }),
      post('a/impatient', vain, { ms: 1_200 }),
    ];
    await sleep(200);
    expect((await post('a', refused, { ms: 1_000 }, 'refused')).status).toBe(409);
    await Promise.all([
      post('a/waiting', waiting, { ms: 1_000 }, 'waiting'),
      post('a/impatient', vain, { ms: 1_200 }, 'vain'),
      ...running,
    ]);
    const counts = await reader.counts();
    expect(counts).toMatchObject({
      'requests conflict POST /orders/:shop': 1,
      'requests waited POST /orders/:shop/waiting': 1,
      'wait.duration POST /orders/:shop/waiting': 1,
      'requests conflict POST /orders/:shop/impatient': 1,
      'wait.duration POST /orders/:shop/impatient': 1,
    });
    expect(counts).not.toHaveProperty(['wait.duration POST /orders/:shop']);
    expect(await spanOf('refused')).toMatchObject({ 'idempotency.outcome': 'conflict' });
    const waited = await spanOf('waiting');
    expect(waited).toMatchObject({ 'idempotency.outcome': 'waited' });
    expect(waited['idempotency.wait.duration']).toBeGreaterThan(0.05);
    expect((await spanOf('vain'))['idempotency.wait.duration']).toBeGreaterThanOrEqual(0.14);
  });

  test('a failure frees the key; what was not kept cannot be replayed', async () => {
    const [failing, large] = [randomUUID(), randomUUID()];
    expect((await post('a', failing, { fail: true }, 'failing')).status).toBe(502);
    expect((await post('a', failing, { fail: true }, 'failing again')).status).toBe(502);
    await post('a/large', large);
    expect((await post('a/large', large)).status).toBe(409);
    expect(await reader.counts()).toMatchObject({
      'requests fresh POST /orders/:shop': 2,
      'executions released POST /orders/:shop': 2,
      'requests fresh POST /orders/:shop/large': 1,
      'requests replay_unavailable POST /orders/:shop/large': 1,
    });
    expect(await spanOf('failing again')).toMatchObject({
      'idempotency.attempt': 2,
      'idempotency.execution.outcome': 'released',
    });
  });

  test('a crash: taken over, or held', async () => {
    const [key, held] = [randomUUID(), randomUUID()];
    faults.crashAt('before handler', { times: 2 });
    await expect(post('a', key)).rejects.toThrow();
    await expect(post('a/held', held)).rejects.toThrow();
    await sleep(LEASE + 100);
    expect((await post('a', key, {}, 'taking over')).status).toBe(201);
    expect((await post('a/held', held)).status).toBe(409);
    expect(await reader.counts()).toMatchObject({
      'requests fresh POST /orders/:shop': 1,
      'requests taken_over POST /orders/:shop': 1,
      'executions completed POST /orders/:shop': 1,
      'requests held POST /orders/:shop/held': 1,
    });
    expect(await spanOf('taking over')).toMatchObject({
      'idempotency.outcome': 'taken_over',
      'idempotency.attempt': 2,
      'idempotency.token': 2,
    });
  });

  test('a lost lease', async () => {
    faults.loseLease();
    expect((await post('a', randomUUID(), {}, 'lost')).status).toBe(409);
    expect(await reader.counts()).toEqual({
      'requests fresh POST /orders/:shop': 1,
      'executions lease_lost POST /orders/:shop': 1,
      'claim.duration POST /orders/:shop': 1,
    });
    expect(await spanOf('lost')).toMatchObject({
      'idempotency.outcome': 'fresh',
      'idempotency.execution.outcome': 'lease_lost',
    });
  });

  test("the span of a handler, which ends before the outcome is recorded: the rest is the request's", async () => {
    const headers = { 'x-span': 'POST', 'x-handler-span': 'create' };
    expect((await call(`${url}/a`, { key: randomUUID(), headers })).status).toBe(201);
    const request = await spanOf('POST');
    const handler = await spanOf('create');
    expect(handler).toMatchObject({ 'idempotency.outcome': 'fresh', 'idempotency.attempt': 1 });
    expect(request).toEqual({
      'idempotency.record.id': handler['idempotency.record.id'],
      'idempotency.endpoint': 'POST /orders/:shop',
      'idempotency.execution.outcome': 'completed',
    });
  });

  test('durations are in seconds; recording takes no account of the handler', async () => {
    const askedAt = performance.now();
    await post('a/transactional', randomUUID(), { ms: 500 });
    const seconds = (performance.now() - askedAt) / 1_000;
    const all = await reader.metrics();
    expect(new Set(all.map(({ scope }) => scope.scope.name))).toEqual(new Set(['nestjs-idempotency']));
    for (const name of ['claim', 'complete']) {
      const { descriptor, dataPoints } = all.find((one) => one.descriptor.name === `idempotency.${name}.duration`)!;
      expect(descriptor.unit).toBe('s');
      const { sum, buckets } = dataPoints[0].value as { sum: number; buckets: { boundaries: number[] } };
      expect(sum).toBeGreaterThan(0);
      expect(sum).toBeLessThan(seconds - 0.45);
      expect(buckets.boundaries).toContain(0.0025);
    }
  });

  test('the database is lost: every request is counted, also those that joined another', async () => {
    await proxy.refuse(true);
    proxy.cut();
    const key = randomUUID();
    const answers = await Promise.all([post('a', key, {}, 'unasked'), post('a', key), post('a', randomUUID())]);
    expect(answers.map(({ status }) => status)).toEqual([503, 503, 503]);
    await proxy.refuse(false);
    expect(await reader.counts()).toEqual({ 'requests store_unavailable POST /orders/:shop': 3 });
    expect(await spanOf('unasked')).toMatchObject({ 'idempotency.outcome': 'store_unavailable' });
  });

  test('the database is lost between run and record', async () => {
    const key = randomUUID();
    const { begun } = OrdersController;
    const running = post('a', key, { ms: 1_000 }, 'unrecorded');
    await until(() => OrdersController.begun > begun);
    await proxy.refuse(true);
    proxy.cut();
    expect((await running).status).toBe(503);
    await proxy.refuse(false);
    const counts = await reader.counts();
    expect(counts).toMatchObject({ 'executions unrecorded POST /orders/:shop': 1 });
    expect(counts).not.toHaveProperty(['executions completed POST /orders/:shop']);
    expect((await spanOf('unrecorded'))['idempotency.execution.outcome']).toMatch(/unrecorded|lease_lost/);
  });

  test('the lock is lost: degraded, or refused', async () => {
    await node.kill();
    await until(() => redis.status !== 'ready');
    expect((await post('a', randomUUID(), {}, 'degraded')).status).toBe(201);
    const refused = await call(`${await strict.getUrl()}/orders/a`, { key: randomUUID() });
    expect(refused.status).toBe(503);
    expect(await reader.counts()).toMatchObject({
      'requests fresh POST /orders/:shop': 1,
      'lock.degradations POST /orders/:shop': 1,
      'requests lock_unavailable POST /orders/:shop': 1,
    });
    expect(await spanOf('degraded')).toMatchObject({ 'idempotency.lock.degraded': true });
  });
});

describe('how it is imported', () => {
  let database: TestDatabase;

  beforeAll(async () => void (database = await createDatabase('better-sqlite3')));
  afterEach(() => metrics.disable());
  afterAll(() => database?.drop());

  const boot = async (...imports: Parameters<typeof Test.createTestingModule>[0]['imports'] & object) => {
    const module = await Test.createTestingModule({
      imports: [
        TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, synchronize: true }),
        IdempotencyModule.forRoot({ isGlobal: false, sweep: false }),
        ...imports,
      ],
    }).compile();
    return module.init();
  };
  const run = (app: { get: INestApplication['get'] }, operation: string) =>
    app.get(IdempotencyService).run({ key: randomUUID(), operation }, () => 1);

  test('as it is: on the global meter provider', async () => {
    const reader = new Reader();
    metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
    const app = await boot(IdempotencyOpenTelemetryModule);
    await run(app, 'invoice');
    await app.close();
    expect(await reader.counts()).toMatchObject({ 'requests fresh invoice': 1 });
  });

  test('forRootAsync; endpoints beyond the limit are counted together', async () => {
    const reader = new Reader();
    const meterProvider = new MeterProvider({ readers: [reader] });
    const app = await boot(
      IdempotencyOpenTelemetryModule.forRootAsync({
        useFactory: () => ({ meterProvider, maxEndpoints: 2, spans: false }),
      }),
    );
    for (const operation of ['a', 'b', 'c', 'd', 'a']) await run(app, operation);
    await app.close();
    expect(await reader.counts()).toMatchObject({
      'requests fresh a': 2,
      'requests fresh b': 1,
      'requests fresh _OTHER': 2,
    });
  });

  test('metrics off, with spans on', async () => {
    const reader = new Reader();
    metrics.setGlobalMeterProvider(new MeterProvider({ readers: [reader] }));
    const app = await boot(IdempotencyOpenTelemetryModule.forRoot({ metrics: false }));
    expect(app.get(EventStream, { strict: false }).observed).toBe(true);
    await run(app, 'invoice');
    await app.close();
    expect(await reader.counts()).toEqual({});
  });

  test('without it, nothing subscribes: no event is made', async () => {
    const app = await boot();
    expect(app.get(EventStream, { strict: false }).observed).toBe(false);
    await app.close();
  });
});
