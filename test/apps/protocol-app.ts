import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { createRequire } from 'node:module';
import type { Server } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Body, Controller, Get, Module, Param, type OnModuleDestroy, type PipeTransform, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { InjectDataSource, TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { Redis, Cluster as RedisCluster } from 'ioredis';
import { Column, DataSource, Entity, type EntityManager, PrimaryColumn } from 'typeorm';
import {
  type Execution,
  Idempotent,
  type IdempotencyEvent,
  IdempotencyModule,
  IdempotencyRecord,
  type IdempotencyModuleOptions,
  IdempotencyService,
  IdempotentExecution,
  type Resolution,
} from 'nestjs-idempotency';

/** How an operation behaves, as its body says. */
interface Task {
  /** What its effects are counted under. */
  name: string;
  /** How long it takes, in milliseconds, before its effect and after it. */
  before?: number;
  after?: number;
  /** Goes on only once it is let: `GET let/<name>`. */
  gated?: boolean;
  /** How long a pipe takes before it begins, in milliseconds. */
  piped?: number;
  /** Throws after its effect. */
  fail?: boolean;
  /** Where its first attempt ends the process, or waits until a test ends it: `before charge`, `early in charge`, `late in charge`. */
  dieIn?: string;
  stayIn?: string;
  /** Notes that the signal was aborted. */
  watch?: boolean;
  /** Updates these rows in turn, with a pause between: for deadlocks. */
  rows?: string[];
}

@Entity('effect')
class Effect {
  @PrimaryColumn({ type: 'varchar', length: 36 }) id!: string;
  @Column({ type: 'varchar', length: 100 }) name!: string;
  @Column({ type: 'int' }) attempt!: number;
  @Column({ type: 'int' }) token!: number;
  @Column({ type: 'int' }) pid!: number;
}

const env = process.env;
const gates = new EventEmitter();
const report = (message: object) => process.send?.(message);
const work = async (ms = 0) => void (ms && (await sleep(ms)));

async function comeTo(point: string, { name, dieIn, stayIn }: Task, { attempt }: Execution) {
  if (attempt > 1) return;
  if (dieIn === point) process.kill(process.pid, 'SIGKILL');
  if (stayIn === point) {
    report({ stays: name });
    await new Promise(() => undefined);
  }
}

class SlowPipe implements PipeTransform<Task> {
  async transform(task: Task) {
    if (task.piped) report({ piping: task.name });
    await work(task.piped);
    return task;
  }
}

@Controller()
class TasksController {
  constructor(
    @InjectDataSource() private readonly dataSource: DataSource,
    private readonly idempotency: IdempotencyService,
  ) {}

  @Post('plain')
  @Idempotent()
  plain(@Body(SlowPipe) task: Task, @IdempotentExecution() execution: Execution) {
    return this.perform(task, execution, this.dataSource.manager);
  }

  @Post('waiting')
  @Idempotent({ onConflict: 'wait', waitTimeout: '20s' })
  waiting(@Body() task: Task, @IdempotentExecution() execution: Execution) {
    return this.perform(task, execution, this.dataSource.manager);
  }

  @Post('holding')
  @Idempotent({ afterCrash: 'hold' })
  holding(@Body() task: Task, @IdempotentExecution() execution: Execution) {
    return this.perform(task, execution, this.dataSource.manager);
  }

  @Post('transactional')
  @Idempotent({ transactional: true })
  transactional(@Body() task: Task, @IdempotentExecution() execution: Execution) {
    return this.perform(task, execution, execution.manager);
  }

  @Post('rows')
  @Idempotent({ transactional: true })
  async rows(@Body() task: Task, @IdempotentExecution() execution: Execution) {
    for (const id of task.rows ?? []) {
      await execution.manager.update(Effect, { id }, { name: task.name });
      await work(task.before);
    }
    return { name: task.name };
  }

  @Post('steps')
  @Idempotent()
  steps(@Body() task: Task, @IdempotentExecution() execution: Execution) {
    return this.inSteps(task, execution);
  }

  @Post('steps-verified')
  @Idempotent()
  verifiedSteps(@Body() task: Task, @IdempotentExecution() execution: Execution) {
    return this.inSteps(task, execution, async (step) => {
      const effect = await this.dataSource.manager.findOneBy(Effect, { name: `${task.name}:${step}` });
      return effect ? { id: effect.id } : undefined;
    });
  }

  @Post('steps-held')
  @Idempotent({ afterCrash: 'hold' })
  heldSteps(@Body() task: Task, @IdempotentExecution() execution: Execution) {
    return this.inSteps(task, execution);
  }

  @Post('transactional-steps')
  @Idempotent({ transactional: true })
  transactionalSteps(@Body() task: Task, @IdempotentExecution() execution: Execution) {
    return this.inTransaction(task, execution);
  }

  @Post('transactional-steps-verified')
  @Idempotent({ transactional: true })
  verifiedTransactionalSteps(@Body() task: Task, @IdempotentExecution() execution: Execution) {
    return this.inTransaction(task, execution, () => 'found');
  }

  @Post('jobs')
  async job(@Body() task: Task & { key: string; input?: unknown }) {
    const { key, input } = task;
    return this.idempotency.run({ key, operation: 'job', input, onConflict: 'wait' }, (execution) =>
      this.perform(task, execution, this.dataSource.manager),
    );
  }

  @Get('effects/:name')
  effects(@Param('name') name: string) {
    return this.dataSource.manager.find(Effect, { where: { name } });
  }

  @Post('rows/:id')
  async addRow(@Param('id') id: string) {
    await this.addEffect(this.dataSource.manager, id, { attempt: 0, token: 0 }, id);
  }

  @Post('resolve')
  async resolve(@Body() { key, operation, resolution }: { key: string; operation: string; resolution: Resolution }) {
    const record = await this.idempotency.find({ key, operation });
    return { status: record?.status, resolved: record && (await this.idempotency.resolve(record.id, resolution)) };
  }

  @Get('let/:name')
  let(@Param('name') name: string) {
    gates.emit(name);
  }

  @Get('counts')
  counts() {
    return { statements, posts };
  }

  /** Returns how many records a request waits for. */
  @Get('awaited')
  awaited() {
    return this.dataSource.manager.countBy(IdempotencyRecord, { awaited: true });
  }

  private async perform(task: Task, execution: Execution, manager: EntityManager) {
    if (task.watch) execution.signal.addEventListener('abort', () => report({ aborted: task.name }));
    report({ began: task.name });
    if (task.gated) await once(gates, task.name);
    await work(task.before);
    await comeTo('before the effect', task, execution);
    const id = await this.addEffect(manager, task.name, execution);
    report({ done: task.name });
    await comeTo('after the effect', task, execution);
    await work(task.after);
    if (task.fail) throw new Error(`${task.name} failed`);
    return { id, name: task.name, attempt: execution.attempt, pid: process.pid };
  }

  private async inSteps(
    task: Task,
    execution: Execution,
    verify?: (step: string) => Promise<{ id: string } | undefined>,
  ) {
    const keys = ['reserve', 'charge'].map((name) => execution.deriveKey(name));
    report({ keys, name: task.name });
    const ids: string[] = [];
    for (const step of ['reserve', 'charge', 'confirm']) {
      await comeTo(`before ${step}`, task, execution);
      const options = verify && { verify: () => verify(step) };
      const { id } = await execution.step(step, () => this.step(task, step, execution), options);
      ids.push(id);
    }
    return { ids, keys };
  }

  /** Reads, does a step whose effect is elsewhere, and writes. */
  private async inTransaction(task: Task, execution: Execution, verify?: () => string) {
    const { manager } = execution;
    await manager.countBy(Effect, { name: task.name });
    const charge = async () => {
      report({ charged: task.name });
      await comeTo('late in charge', task, execution);
      return 'charged';
    };
    const result = await execution.step('charge', charge, verify && { verify });
    await comeTo('before the effect', task, execution);
    await this.addEffect(manager, task.name, execution);
    return { result };
  }

  private async step(task: Task, step: string, execution: Execution) {
    await comeTo(`early in ${step}`, task, execution);
    const id = await this.addEffect(this.dataSource.manager, `${task.name}:${step}`, execution);
    await comeTo(`late in ${step}`, task, execution);
    return { id };
  }

  private async addEffect(
    manager: EntityManager,
    name: string,
    { attempt, token }: { attempt: number; token: number },
    id: string = randomUUID(),
  ): Promise<string> {
    await manager.insert(Effect, { id, name, attempt, token, pid: process.pid });
    return id;
  }
}

const portsOf = (list: string | undefined) => (list ?? '').split(',').filter(Boolean).map(Number);
const impatient = { maxRetriesPerRequest: 0, enableOfflineQueue: false };
const nodesOf = (list: string | undefined) => portsOf(list).map((port) => ({ host: '127.0.0.1', port }));

const redis = [
  ...nodesOf(env.REDIS_PORTS).map((node) => new Redis({ ...node, ...impatient })),
  ...(env.REDIS_SENTINEL_PORTS
    ? [new Redis({ sentinels: nodesOf(env.REDIS_SENTINEL_PORTS), name: 'main', ...impatient })]
    : []),
  ...(env.REDIS_CLUSTER_PORTS ? [new RedisCluster(nodesOf(env.REDIS_CLUSTER_PORTS))] : []),
];
for (const client of redis) client.on('error', () => undefined);

/** Statements sent to PostgreSQL's pool, by the library or the application. */
let statements = 0;
/** POST requests that have come in. */
let posts = 0;

const database = JSON.parse(env.DATABASE!) as TypeOrmModuleOptions;
const options = JSON.parse(env.OPTIONS ?? '{}') as IdempotencyModuleOptions;

@Module({
  imports: [
    TypeOrmModule.forRoot({
      ...database,
      autoLoadEntities: true,
      entities: [Effect],
      synchronize: env.SYNCHRONIZE !== 'off',
      retryAttempts: 0,
    } as TypeOrmModuleOptions),
    IdempotencyModule.forRoot({ audit: 'off', ...options, ...(redis.length && { redis }) }),
  ],
  controllers: [TasksController],
})
class ProtocolApp implements OnModuleDestroy {
  constructor(@InjectDataSource() private readonly dataSource: DataSource) {}

  /** As applications do that close what they use themselves. */
  async onModuleDestroy() {
    if (!env.DESTROY_EARLY) return;
    const destroyed = this.dataSource.destroy();
    report({ destroys: true });
    await destroyed;
  }
}

function shiftClock(ms: number): void {
  const RealDate = Date;
  globalThis.Date = class extends RealDate {
    constructor(...args: [] | [string]) {
      super(...((args.length ? args : [RealDate.now() + ms]) as [string]));
    }
    static override now = () => RealDate.now() + ms;
  } as DateConstructor;
}

function countStatements(dataSource: DataSource): void {
  const pg = createRequire(import.meta.url)('pg') as {
    Client: { prototype: { query: (...args: unknown[]) => unknown } };
  };
  if (dataSource.options.type !== 'postgres') return;
  const { query } = pg.Client.prototype;
  pg.Client.prototype.query = function (...args) {
    statements++;
    return query.apply(this, args);
  };
}

if (env.CLOCK_OFFSET) shiftClock(Number(env.CLOCK_OFFSET));
const log = env.LOG ? undefined : (['error', 'warn', 'fatal'] as const);
const settings = { logger: log && [...log], abortOnError: false };
async function createApp() {
  if (env.PLATFORM !== 'fastify') return NestFactory.create(ProtocolApp, settings);
  // A tenth of a start's CPU time.
  const { FastifyAdapter } = await import('@nestjs/platform-fastify');
  return NestFactory.create(ProtocolApp, new FastifyAdapter(), settings);
}
const app = await createApp();
if (env.SHUTDOWN_HOOKS) app.enableShutdownHooks();
countStatements(app.get(DataSource));
app.get(IdempotencyService).events$.subscribe((event: IdempotencyEvent) => {
  if (event.type !== 'replayed' && event.type !== 'conflict') report({ event: { ...event, error: undefined } });
});
(app.getHttpServer() as Server).on('request', ({ method }) => void (method === 'POST' && posts++));
await app.listen(0, '127.0.0.1');
report({ port: Number(new URL(await app.getUrl()).port) });
process.once('disconnect', () => process.exit(1));
