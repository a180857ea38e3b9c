import { createHook } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { Session } from 'node:inspector/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type DynamicModule,
  type INestApplication,
  type LogLevel,
  Module,
  type ModuleMetadata,
  type Type,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { IDEMPOTENCY_MIGRATIONS } from 'nestjs-idempotency/migrations';
import { Column, DataSource, Entity, type EntityManager, PrimaryColumn } from 'typeorm';

/** How an application of the bench is started. */
export interface Settings {
  readonly platform: 'express' | 'fastify';
  /** Options for TypeORM. */
  readonly database: TypeOrmModuleOptions;
  readonly redisPorts?: readonly number[];
  /** `false`: requests that fail are part of what is measured. */
  readonly logger?: false;
  /** Further options of the idempotency module. */
  readonly module?: object;
}

export const settings = JSON.parse(process.env.SETTINGS!) as Settings;

@Entity('charge')
export class Charge {
  @PrimaryColumn({ type: 'uuid' }) id!: string;
  @Column({ type: 'int' }) amount!: number;
  @Column({ type: 'varchar', length: 3 }) currency!: string;
  @Column({ type: 'varchar', length: 40 }) customer!: string;
}

export type NewCharge = Omit<Charge, 'id'>;

/** The one INSERT of the handler, in all variants the same: raw SQL, the cheapest that TypeORM has. */
export async function charge(on: DataSource | EntityManager, { amount, currency, customer }: NewCharge) {
  const id = randomUUID();
  await on.query('INSERT INTO charge (id, amount, currency, customer) VALUES ($1, $2, $3, $4)', [
    id,
    amount,
    currency,
    customer,
  ]);
  return { id, amount, currency, status: 'charged' };
}

/** An answer as large as its request. */
export interface NewOrder extends NewCharge {
  readonly lines: readonly object[];
}

export async function order(on: DataSource, body: NewOrder) {
  return { ...(await charge(on, body)), lines: body.lines };
}

const HANDLER_MS = 5;

/** As {@link charge}, by a handler that waits for something else first. */
export async function pacedCharge(on: DataSource, body: NewCharge) {
  await sleep(HANDLER_MS);
  return charge(on, body);
}

const profiler = new Session();
profiler.connect();

/** One allocation in so many bytes is sampled: a thousand requests make ten thousand samples or more. */
const HEAP_SAMPLING_BYTES = 4096;

/** Promises, timers and other async resources created while counting, by their type in `async_hooks`. */
let created: Record<string, number> = {};
const hook = createHook({
  init(_asyncId, type) {
    created[type] = (created[type] ?? 0) + 1;
  },
});

/** Bytes. */
const BODY_LIMIT = 1 << 20;

/** Serves controllers, tells the port by message, and answers questions about the process. */
export async function serve(
  controllers: Type[],
  imports: NonNullable<ModuleMetadata['imports']> = [],
  answer: Answer = () => Promise.resolve({}),
  configure: (app: INestApplication) => void = () => undefined,
): Promise<void> {
  @Module({})
  class BenchModule {}
  const root: DynamicModule = {
    module: BenchModule,
    imports: [
      TypeOrmModule.forRoot({
        ...settings.database,
        entities: [Charge],
        autoLoadEntities: true,
        synchronize: true,
        // Before that: what they make of the tables is more than "synchronize" would.
        ...(imports.length > 0 && { migrations: [...IDEMPOTENCY_MIGRATIONS], migrationsRun: true }),
      } as TypeOrmModuleOptions),
      ...imports,
    ],
    controllers,
  };
  const app = await createApp(root);
  configure(app);
  await app.listen(0, '127.0.0.1');
  process.on('message', (question: Question) => {
    void reply(question, app, answer).then((given) => process.send!(given ?? {}));
  });
  process.once('disconnect', () => process.exit());
  process.send!({ port: Number(new URL(await app.getUrl()).port) });
}

async function createApp(root: DynamicModule): Promise<INestApplication> {
  const logger: LogLevel[] | false = settings.logger ?? ['error', 'warn'];
  if (settings.platform === 'fastify') {
    return NestFactory.create(root, new FastifyAdapter({ bodyLimit: BODY_LIMIT }), { logger });
  }
  const app = await NestFactory.create<NestExpressApplication>(root, { logger });
  return app.useBodyParser('json', { limit: BODY_LIMIT });
}

export interface Question {
  readonly ask: string;
  readonly [detail: string]: unknown;
}

type Answer = (question: Question, app: INestApplication) => Promise<unknown>;

/** What the bench asks of any application, and what it asks of this one. */
async function reply(question: Question, app: INestApplication, answer: Answer): Promise<unknown> {
  switch (question.ask) {
    case 'publish':
      return publishStatistics(app.get(DataSource));
    case 'profile':
      await profiler.post('Profiler.enable');
      await profiler.post('Profiler.setSamplingInterval', { interval: 250 });
      return profiler.post('Profiler.start');
    case 'profiled':
      return profiler.post('Profiler.stop');
    case 'count':
      created = {};
      hook.enable();
      return {};
    case 'counted':
      hook.disable();
      return created;
    case 'sample-heap':
      await profiler.post('HeapProfiler.enable');
      await profiler.post('HeapProfiler.startSampling', {
        samplingInterval: HEAP_SAMPLING_BYTES,
        includeObjectsCollectedByMajorGC: true,
        includeObjectsCollectedByMinorGC: true,
      });
      return {};
    case 'heap-sampled':
      return profiler.post('HeapProfiler.stopSampling');
    default:
      return answer(question, app);
  }
}

interface PgPool {
  readonly totalCount: number;
  connect(): Promise<{ query(sql: string): Promise<unknown>; release(): void }>;
}

/** PostgreSQL's connections tell of their statistics once a second at the most, unless they are asked to. */
async function publishStatistics(dataSource: DataSource): Promise<object> {
  const { master } = dataSource.driver as unknown as { master: PgPool };
  const clients = await Promise.all(Array.from({ length: master.totalCount }, () => master.connect()));
  await Promise.all(clients.map((client) => client.query('SELECT pg_stat_force_next_flush()')));
  for (const client of clients) client.release();
  return { statements: clients.length };
}
