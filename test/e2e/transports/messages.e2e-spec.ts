import { setTimeout as sleep } from 'node:timers/promises';
import { headers as natsHeaders } from '@nats-io/transport-node';
import {
  Body,
  type CallHandler,
  ConflictException,
  Controller,
  type ExecutionContext,
  type INestApplication,
  Injectable,
  Module,
  type NestInterceptor,
  ParseIntPipe,
  Post,
  UseInterceptors,
} from '@nestjs/common';
import {
  type ClientOptions,
  type ClientProxy,
  ClientProxyFactory,
  EventPattern,
  MessagePattern,
  type MicroserviceOptions,
  MqttRecordBuilder,
  NatsRecordBuilder,
  Payload,
  RpcException,
  Transport,
} from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { concat, lastValueFrom, map, type Observable, of, range, throwError, timeout, toArray } from 'rxjs';
import { Column, DataSource, Entity, PrimaryColumn } from 'typeorm';
import {
  type Execution,
  Idempotent,
  IdempotencyKey,
  IdempotencyModule,
  IdempotencyService,
  IdempotentExecution,
} from '../../../lib/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';
import { call } from '../../support/http-client.js';
import { type Server, startMosquitto, startNats } from '../../support/servers.mjs';
import { until } from '../../support/until.js';

@Entity('message_effect')
class Effect {
  @PrimaryColumn({ type: 'varchar', length: 36 }) id!: string;
  @Column({ type: 'varchar', length: 100 }) name!: string;
}

/** A CloudEvent in structured mode, whose `data` is what the handlers work on. */
interface Task {
  readonly id?: string;
  readonly source?: string;
  readonly specversion?: string;
  readonly sentAt?: number;
  readonly data: { readonly name: string; readonly amount?: number };
}

const runs = new Map<string, number>();
const ran = (name: string) => runs.get(name) ?? 0;

function run(name: string): number {
  runs.set(name, ran(name) + 1);
  return ran(name);
}

@Injectable()
class GivesUp implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(timeout({ first: 30, with: () => throwError(() => new RpcException('too slow')) }));
  }
}

@Injectable()
class Enveloped implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
    return next.handle().pipe(map((value) => ({ value })));
  }
}

@Controller('orders')
class OrdersController {
  constructor(
    private readonly dataSource: DataSource,
    private readonly idempotency: IdempotencyService,
  ) {}

  @Post()
  @MessagePattern('orders.create')
  @Idempotent({ fingerprint: { ignore: ['/sentAt'] } })
  async create(
    @Body() body: Task | undefined,
    @Payload() payload: Task | undefined,
    @IdempotencyKey() key: string,
    @IdempotentExecution() execution: Execution,
  ) {
    const { name } = (payload ?? body)!.data;
    if (this.idempotency.currentExecution() !== execution) throw new Error('not the current execution');
    await sleep(30);
    return { name, key, run: run(name), at: new Date(0), attempt: execution.attempt };
  }

  @MessagePattern({ cmd: 'wait', area: 'orders' })
  @Idempotent({ onConflict: 'wait' })
  async wait(@Payload() { data: { name } }: Task) {
    await sleep(150);
    return run(name);
  }

  @MessagePattern('orders.fail')
  @Idempotent()
  fail(@Payload() { data: { name } }: Task) {
    const count = run(name);
    switch (name) {
      case 'text':
        throw new RpcException('declined');
      case 'object':
        throw new RpcException({ status: 402, reason: 'declined', at: new Date(count), run: count });
      case 'unavailable':
        throw new RpcException({ status: 503, run: count });
      case 'http':
        throw new ConflictException(`taken ${count}`);
      default:
        throw new Error(`broken ${count}`);
    }
  }

  @MessagePattern('orders.stream')
  @Idempotent({ response: { maxBytes: 60 } })
  @UseInterceptors(Enveloped) // the nearest to the method is the outermost
  stream(@Payload() { data: { name, amount } }: Task): Observable<unknown> {
    run(name);
    const values = range(0, amount!).pipe(map((i) => `${name} ${i}`));
    return name === 'failing'
      ? concat(
          values,
          throwError(() => new RpcException('broken off')),
        )
      : values;
  }

  @MessagePattern('orders.slow')
  @UseInterceptors(GivesUp)
  @Idempotent()
  async slow(@Payload() { data: { name } }: Task) {
    await sleep(120);
    return run(name);
  }

  @MessagePattern('orders.late')
  @Idempotent()
  @UseInterceptors(GivesUp)
  late(@Payload() task: Task) {
    return this.slow(task);
  }

  @MessagePattern('orders.piped')
  @Idempotent({ key: (context) => context.switchToRpc().getData<{ key: string }>().key })
  piped(@Payload('amount', ParseIntPipe) amount: number) {
    return { amount, run: run('piped') };
  }

  @MessagePattern('orders.transactional')
  @Idempotent({ transactional: true })
  async transactional(@Payload() { data: { name } }: Task, @IdempotentExecution() execution: Execution) {
    const count = run(name);
    await execution.manager.insert(Effect, { id: `${name}-${count}`, name });
    if (name === 'rolled back' && count === 1) throw new Error('after the write');
    return count;
  }

  @MessagePattern('orders.steps')
  @Idempotent()
  async steps(@Payload() { data: { name } }: Task, @IdempotentExecution() execution: Execution) {
    const reserved = await execution.step('reserve', () => run(`${name} reserve`));
    if (run(name) === 1) throw new Error('between the steps');
    return { reserved, charged: await execution.step('charge', () => run(`${name} charge`)) };
  }

  @MessagePattern('orders.unstored')
  @Idempotent({ required: false })
  unstored(@Payload() { data: { name } }: Task, @IdempotentExecution() execution: Execution | undefined) {
    execution?.doNotStore();
    return run(name);
  }

  @MessagePattern('orders.unmarked')
  unmarked(@Payload() { data: { name } }: Task) {
    return run(name);
  }

  @EventPattern('order.placed')
  @Idempotent()
  async placed(@Payload() { data: { name } }: Task) {
    await sleep(20);
    run(`${name} placed`);
    await this.dataSource.manager.insert(Effect, { id: `${name} placed`, name });
  }
}

/** Listens to the same event. */
@Controller()
@Idempotent()
class MailController {
  @EventPattern('order.placed')
  @Idempotent()
  placed(@Payload() { data: { name } }: Task) {
    run(`${name} mailed`);
  }

  @MessagePattern('mail.count')
  count(@Payload() { data: { name } }: Task) {
    return of(run(name));
  }
}

const TRANSPORTS = ['TCP', 'Redis', 'NATS', 'MQTT'] as const;

describe.each(TRANSPORTS)('messages over %s', (transport) => {
  let database: TestDatabase;
  let broker: Server | undefined;
  let app: INestApplication;
  let service: IdempotencyService;
  let clients: ClientProxy[];
  let replays = 0;
  const warnings: string[] = [];

  beforeAll(async () => {
    runs.clear();
    database = await createDatabase(transport === 'Redis' ? 'better-sqlite3' : 'postgres');
    if (transport === 'NATS') broker = await startNats();
    if (transport === 'MQTT') broker = await startMosquitto();
    const options = await optionsOf(transport, broker);
    @Module({
      imports: [
        TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, entities: [Effect], synchronize: true }),
        IdempotencyModule.forRoot({ audit: 'error', sweep: false }),
      ],
      controllers: [OrdersController, MailController],
    })
    class App {}
    app = (await Test.createTestingModule({ imports: [App] }).compile()).createNestApplication({
      logger: { log: () => undefined, error: () => undefined, warn: (message: string) => void warnings.push(message) },
    });
    app.connectMicroservice(options);
    await app.startAllMicroservices();
    await app.listen(0, '127.0.0.1');
    service = app.get(IdempotencyService);
    service.events$.subscribe(({ type }) => type === 'replayed' && replays++);
    clients = [0, 1].map(() => ClientProxyFactory.create(options as ClientOptions) as ClientProxy);
  });

  afterAll(async () => {
    await Promise.all((clients ?? []).map((client) => client.close()));
    await app?.close();
    await broker?.dispose();
    await database?.drop();
  });

  const event = (id: string, data: Task['data']): Task => ({ id, source: 'shop', specversion: '1.0', data });
  const ask = <T = unknown>(pattern: string | object, task: unknown, client = clients[0]) =>
    lastValueFrom(client.send<T>(pattern, task).pipe(timeout(10_000)));
  const askAll = (pattern: string, task: unknown) =>
    lastValueFrom(clients[0].send(pattern, task).pipe(timeout(10_000), toArray()));
  const outcomeOf = (pattern: string | object, task: unknown) =>
    ask(pattern, task).then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );

  test('20 duplicates at once over two connections: one run, and the same value for all', async () => {
    const task = event('k1', { name: 'first' });
    const answers = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        for (;;) {
          const answer = await ask('orders.create', { ...task, sentAt: i }, clients[i % 2]).catch(
            (error: unknown) => error,
          );
          const { code, retryable } = answer as { code?: string; retryable?: boolean };
          if (code === undefined) return answer;
          expect({ code, retryable }).toEqual({ code: 'in-progress', retryable: true });
          await sleep(20);
        }
      }),
    );
    const expected = { name: 'first', key: 'shop k1', run: 1, at: new Date(0).toISOString(), attempt: 1 };
    expect(answers).toEqual(Array.from({ length: 20 }, () => expected));
    expect(ran('first')).toBe(1);
    expect(await service.find({ key: 'shop k1', operation: 'RPC orders.create' })).toMatchObject({ status: 'done' });
  });

  test('duplicates that wait get the value of the first', async () => {
    const pattern = { area: 'orders', cmd: 'wait' };
    const task = event('w', { name: 'waited' });
    const answers = await Promise.all(Array.from({ length: 6 }, (_, i) => ask(pattern, task, clients[i % 2])));
    expect(answers).toEqual([1, 1, 1, 1, 1, 1]);
    expect(await service.list({ operation: 'RPC {"area":"orders","cmd":"wait"}' })).toHaveLength(1);
  });

  test('refusals are objects with the members of problem details', async () => {
    expect(await outcomeOf('orders.create', { data: { name: 'keyless' } })).toEqual({
      error: expect.objectContaining({
        code: 'key-missing',
        status: 400,
        retryable: false,
        title: 'Idempotency key is missing',
        detail: expect.stringContaining('Idempotency-Key'),
        message: expect.stringContaining('CloudEvent'),
      }),
    });
    await ask('orders.create', event('reused', { name: 'reused' }));
    expect(await outcomeOf('orders.create', event('reused', { name: 'reused', amount: 2 }))).toMatchObject({
      error: { code: 'key-reused', status: 422, retryable: false },
    });
    expect(ran('keyless')).toBe(0);
    expect(ran('reused')).toBe(1);
  });

  test('CloudEvents of different sources are different, and so are patterns', async () => {
    await ask('orders.create', event('shared', { name: 'sources' }));
    await ask('orders.create', { ...event('shared', { name: 'sources' }), source: 'other' });
    expect(await ask('orders.unstored', event('shared', { name: 'sources' }))).toBe(3);
  });

  test.each(['text', 'object', 'http'])('an error is replayed: %s', async (name) => {
    const first = await outcomeOf('orders.fail', event(`fail-${name}`, { name }));
    expect(first).toHaveProperty('error');
    expect(await outcomeOf('orders.fail', event(`fail-${name}`, { name }))).toEqual(first);
    expect(ran(name)).toBe(1);
    if (name === 'text') expect(first).toEqual({ error: { status: 'error', message: 'declined' } });
    if (name === 'object')
      expect(first).toEqual({ error: { status: 402, reason: 'declined', at: expect.any(String), run: 1 } });
    if (name === 'http') expect(first).toEqual({ error: { status: 'error', message: 'Internal server error' } });
  });

  test.each(['unavailable', 'unexpected'])('an error that says "not now" frees the key: %s', async (name) => {
    await outcomeOf('orders.fail', event(`fail-${name}`, { name }));
    await outcomeOf('orders.fail', event(`fail-${name}`, { name }));
    expect(ran(name)).toBe(2);
  });

  test('a stream: the same values in the same order, once through an outer interceptor', async () => {
    const first = await askAll('orders.stream', event('s1', { name: 'stream', amount: 4 }));
    expect(first).toEqual([0, 1, 2, 3].map((i) => ({ value: `stream ${i}` })));
    expect(await askAll('orders.stream', event('s1', { name: 'stream', amount: 4 }))).toEqual(first);
    expect(await askAll('orders.stream', event('s0', { name: 'stream none', amount: 0 }))).toEqual([]);
    expect(await askAll('orders.stream', event('s0', { name: 'stream none', amount: 0 }))).toEqual([]);
    expect(ran('stream')).toBe(1);
    expect(ran('stream none')).toBe(1);
  });

  test('a stream that breaks off: its values and its error', async () => {
    const listen = async () => {
      const values: unknown[] = [];
      const error = await new Promise((resolve) =>
        clients[0].send('orders.stream', event('s2', { name: 'failing', amount: 2 })).subscribe({
          next: (value) => values.push(value),
          error: resolve,
          complete: () => resolve('complete'),
        }),
      );
      return { values, error };
    };
    const first = await listen();
    expect(first).toMatchObject({
      values: [{ value: 'failing 0' }, { value: 'failing 1' }],
      error: { message: 'broken off' },
    });
    expect(await listen()).toEqual(first);
    expect(ran('failing')).toBe(1);
  });

  test('a stream that is too large to keep passes through, and is not run again', async () => {
    const task = event('s3', { name: 'large', amount: 50 });
    expect(await askAll('orders.stream', task)).toHaveLength(50);
    expect(await outcomeOf('orders.stream', task)).toMatchObject({
      error: { code: 'replay-unavailable', status: 409 },
    });
    expect(ran('large')).toBe(1);
  });

  test('an interceptor inside that gives up answers at once, and the operation is followed to its end', async () => {
    const task = event('slow', { name: 'slow' });
    expect(await outcomeOf('orders.slow', task)).toEqual({ error: { status: 'error', message: 'too slow' } });
    for (;;) {
      const { error } = (await outcomeOf('orders.slow', task)) as { error: { code: string } };
      if (error.code === 'replay-unavailable') break;
      expect(error.code).toBe('in-progress');
      await sleep(20);
    }
    expect(ran('slow')).toBe(1);
  });

  test('one outside that gives up: what the operation came to is kept', async () => {
    const task = event('late', { name: 'late' });
    expect(await outcomeOf('orders.late', task)).toEqual({ error: { status: 'error', message: 'too slow' } });
    await until(async () => JSON.stringify(await outcomeOf('orders.late', task)) === '{"value":1}');
    expect(ran('late')).toBe(1);
  });

  test('a message that pipes reject never began', async () => {
    expect(await outcomeOf('orders.piped', { key: 'p', amount: 'many' })).toHaveProperty('error');
    expect(await ask('orders.piped', { key: 'p', amount: '5' })).toEqual({ amount: 5, run: 1 });
    expect(await ask('orders.piped', { key: 'p', amount: '5' })).toEqual({ amount: 5, run: 1 });
  });

  test('transactional: the effect commits with the outcome, or not at all', async () => {
    const effects = (name: string) => app.get(DataSource).getRepository(Effect).findBy({ name });
    const kept = event('t1', { name: 'kept' });
    expect(await ask('orders.transactional', kept)).toBe(1);
    expect(await ask('orders.transactional', kept)).toBe(1);
    expect(await effects('kept')).toMatchObject([{ id: 'kept-1' }]);

    const rolledBack = event('t2', { name: 'rolled back' });
    expect(await outcomeOf('orders.transactional', rolledBack)).toHaveProperty('error');
    expect(await effects('rolled back')).toEqual([]);
    expect(await ask('orders.transactional', rolledBack)).toBe(2);
    expect(await effects('rolled back')).toMatchObject([{ id: 'rolled back-2' }]);
  });

  test('steps that completed are not run again', async () => {
    const task = event('steps', { name: 'steps' });
    expect(await outcomeOf('orders.steps', task)).toHaveProperty('error');
    expect(await ask('orders.steps', task)).toEqual({ reserved: 1, charged: 1 });
    expect(ran('steps reserve')).toBe(1);
  });

  test('doNotStore, no key where none is required, and handlers that are not marked', async () => {
    const task = event('unstored', { name: 'unstored' });
    expect([await ask('orders.unstored', task), await ask('orders.unstored', task)]).toEqual([1, 2]);
    expect(await ask('orders.unstored', { data: { name: 'unstored' } })).toBe(3);
    for (const pattern of ['orders.unmarked', 'mail.count']) {
      expect([
        await ask(pattern, event('u', { name: pattern })),
        await ask(pattern, event('u', { name: pattern })),
      ]).toEqual([1, 2]);
    }
  });

  test('an event that is delivered again is handled once, by each of its listeners', async () => {
    const task = event('e1', { name: 'event' });
    const emit = (i: number) => lastValueFrom(clients[i % 2].emit('order.placed', task), { defaultValue: undefined });
    await Promise.all([emit(0), emit(1), emit(2)]);
    await until(() => ran('event placed') === 1 && ran('event mailed') === 1);
    const endpoints = ['EVENT order.placed OrdersController.placed', 'EVENT order.placed MailController.placed'];
    for (const operation of endpoints) {
      await until(async () => (await service.list({ operation }))[0]?.status === 'done');
    }
    const before = replays;
    await emit(3);
    await until(() => replays >= before + 2);
    expect([ran('event placed'), ran('event mailed')]).toEqual([1, 1]);
    for (const operation of endpoints) {
      expect(await service.list({ operation })).toMatchObject([{ status: 'done' }]);
    }
  });

  test('an event that is refused is logged, as its sender gets no answer', async () => {
    await lastValueFrom(clients[0].emit('order.placed', { data: { name: 'keyless' } }), { defaultValue: undefined });
    const refusals = () =>
      warnings.filter((warning) => warning.includes('This message needs the Idempotency-Key header'));
    await until(() => refusals().length === 2);
    expect(refusals()[0]).toMatch(/^EVENT order\.placed /);
    expect(ran('keyless placed')).toBe(0);
  });

  test('the same method over HTTP has keys of its own', async () => {
    const url = `${await app.getUrl()}/orders`;
    const body = event('h', { name: 'hybrid' });
    const first = await call(url, { key: 'h', body });
    expect(first.status).toBe(201);
    expect((await call(url, { key: 'h', body })).body).toBe(first.body);
    expect(ran('hybrid')).toBe(1);
    expect(await ask('orders.create', body)).toMatchObject({ run: 2 });
  });

  test('policy() lists the handlers that are marked', () => {
    const operations = service.policy().operations.map(({ handler, kind }) => `${kind} ${handler}`);
    expect(operations).toContain('http OrdersController.create');
    expect(operations).toContain('message OrdersController.create');
    expect(operations).toContain('event MailController.placed');
    expect(operations).not.toContain('message MailController.count');
    const message = service.policy().operations.find(({ kind }) => kind === 'message')!;
    expect(message.problems).not.toContain('key-foreign');
  });

  if (transport === 'NATS') {
    test('the key from the header, and from a CloudEvent in binary mode', async () => {
      const send = (record: Record<string, string>) => {
        const headers = natsHeaders();
        for (const [name, value] of Object.entries(record)) headers.set(name, value);
        return ask<{ key: string }>(
          'orders.create',
          new NatsRecordBuilder({ data: { name: 'headed' } }).setHeaders(headers).build(),
        );
      };
      expect((await send({ 'idempotency-key': '"abc"' })).key).toBe('abc');
      expect((await send({ 'Idempotency-Key': 'abc' })).key).toBe('abc');
      expect((await send({ 'ce-specversion': '1.0', 'ce-id': '7', 'ce-source': '/shop' })).key).toBe('/shop 7');
      expect(ran('headed')).toBe(2);
      await expect(send({ 'idempotency-key': '""' })).rejects.toMatchObject({ code: 'key-invalid' });
    });
  }

  if (transport === 'MQTT') {
    test('the key from a user property, and from a CloudEvent in binary mode', async () => {
      const send = (userProperties: Record<string, string | string[]>) =>
        ask<{ key: string }>(
          'orders.create',
          new MqttRecordBuilder({ data: { name: 'headed' } }).setProperties({ userProperties }).build(),
        );
      expect((await send({ 'idempotency-key': '"abc"' })).key).toBe('abc');
      expect((await send({ 'Idempotency-Key': 'abc' })).key).toBe('abc');
      expect((await send({ specversion: '1.0', id: '7', source: '/shop' })).key).toBe('/shop 7');
      expect(ran('headed')).toBe(2);
      await expect(send({ 'idempotency-key': '""' })).rejects.toMatchObject({ code: 'key-invalid' });
      await expect(send({ 'idempotency-key': ['abc', 'def'] })).rejects.toMatchObject({ code: 'key-invalid' });
      await expect(send({ other: 'abc' })).rejects.toMatchObject({ code: 'key-missing' });
    });
  }
});

async function optionsOf(
  transport: (typeof TRANSPORTS)[number],
  broker: Server | undefined,
): Promise<MicroserviceOptions> {
  switch (transport) {
    case 'TCP':
      return { transport: Transport.TCP, options: { host: '127.0.0.1', port: await freePort() } };
    case 'Redis':
      return {
        transport: Transport.REDIS,
        options: { host: '127.0.0.1', port: Number(process.env.TEST_REDIS_PORTS!.split(',')[0]) },
      };
    case 'NATS':
      return { transport: Transport.NATS, options: { servers: [`127.0.0.1:${broker!.port}`] } };
    case 'MQTT':
      return {
        transport: Transport.MQTT,
        options: { url: `mqtt://127.0.0.1:${broker!.port}`, protocolVersion: 5 },
      };
  }
}
