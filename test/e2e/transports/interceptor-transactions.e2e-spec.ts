import { randomUUID } from 'node:crypto';
import {
  type CallHandler,
  Controller,
  type ExecutionContext,
  type INestMicroservice,
  Injectable,
  type NestInterceptor,
  UseInterceptors,
} from '@nestjs/common';
import {
  type ClientProxy,
  ClientProxyFactory,
  Ctx,
  MessagePattern,
  Payload,
  type TcpContext,
  Transport,
} from '@nestjs/microservices';
import { NestFactory } from '@nestjs/core';
import { from, lastValueFrom, type Observable } from 'rxjs';
import { DataSource, type EntityManager } from 'typeorm';
import { type Execution, Idempotent, IdempotencyService, IdempotentExecution } from '../../../lib/index.js';
import { LogLines } from '../../conformance/support/app.js';
import { appModule } from '../../support/app-module.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';

interface Order {
  readonly key: string;
  readonly seat: string;
}

const managers = new WeakMap<object, EntityManager>();

/** A transaction for each message. */
@Injectable()
class TransactionInterceptor implements NestInterceptor {
  constructor(private readonly dataSource: DataSource) {}

  intercept(context: ExecutionContext, next: CallHandler): Observable<unknown> {
    const tcp = context.switchToRpc().getContext<TcpContext>();
    const inTransaction = this.dataSource.transaction((manager) => {
      managers.set(tcp, manager);
      return lastValueFrom(next.handle());
    });
    return from(inTransaction);
  }
}

const key = (context: ExecutionContext) => context.switchToRpc().getData<Order>().key;

async function place(on: Pick<EntityManager, 'query'>, order: Order) {
  await on.query('INSERT INTO message_order VALUES ($1, $2)', [order.key, order.seat]);
  return order.key;
}

@Controller()
class OrdersController {
  @MessagePattern('outside')
  @Idempotent({ key })
  @UseInterceptors(TransactionInterceptor)
  outside(@Payload() order: Order, @Ctx() tcp: TcpContext) {
    return place(managers.get(tcp)!, order);
  }

  @MessagePattern('inside')
  @UseInterceptors(TransactionInterceptor)
  @Idempotent({ key })
  inside(@Payload() order: Order, @Ctx() tcp: TcpContext) {
    return place(managers.get(tcp)!, order);
  }

  @MessagePattern('transactional')
  @Idempotent({ key, transactional: true })
  transactional(@Payload() order: Order, @IdempotentExecution() execution: Execution) {
    return place(execution.manager, order);
  }
}

describe('interceptors that begin a transaction for each message', () => {
  const log = new LogLines();
  let database: TestDatabase;
  let app: INestMicroservice;
  let client: ClientProxy;
  let dataSource: DataSource;

  beforeAll(async () => {
    database = await createDatabase('postgres');
    const options = { host: '127.0.0.1', port: await freePort() };
    app = await NestFactory.createMicroservice(appModule(database, [OrdersController]), {
      transport: Transport.TCP,
      options,
      logger: log,
    });
    await app.listen();
    client = ClientProxyFactory.create({ transport: Transport.TCP, options });
    dataSource = app.get(DataSource);
    await dataSource.query('CREATE TABLE message_order (key text, seat text UNIQUE DEFERRABLE INITIALLY DEFERRED)');
  });
  afterAll(async () => {
    await client?.close();
    await app?.close();
    await database?.drop();
  });

  const send = (pattern: string, order: Order) =>
    lastValueFrom(client.send<string>(pattern, order)).catch(() => 'refused');
  const orders = async (order: Order) =>
    (await dataSource.query('SELECT seat FROM message_order WHERE key = $1', [order.key])).length as number;

  test('an inner run() that writes in a transaction of the handler around it: the log says what can be lost', async () => {
    // The first test: from then on, every transaction is watched.
    const service = app.get(IdempotencyService);
    await service.run({ key: 'k', operation: 'around' }, () =>
      dataSource.transaction((manager) =>
        service.run({ key: 'k', operation: 'inner' }, () => place(manager, { key: 'inner', seat: 'inner' })),
      ),
    );
    const warned = log.lines.filter((line) => /(around|inner): the handler of run\(\)/.test(line));
    expect(warned).toEqual([expect.stringContaining('WARN inner: the handler of run() has written')]);
  });

  test.each(['inside', 'transactional'])('%s: a COMMIT that the database refuses frees the key', async (pattern) => {
    const order = { key: randomUUID(), seat: randomUUID() };
    await dataSource.query('INSERT INTO message_order VALUES ($1, $2)', ['another', order.seat]);
    expect(await send(pattern, order)).toBe('refused');
    await dataSource.query('DELETE FROM message_order WHERE seat = $1', [order.seat]);
    expect([await send(pattern, order), await send(pattern, order)]).toEqual([order.key, order.key]);
    expect(await orders(order)).toBe(1);
    expect(log.toString()).not.toContain('that an interceptor has begun');
  });

  test('outside, the log says what can be lost', async () => {
    const order = { key: randomUUID(), seat: randomUUID() };
    expect(await send('outside', order)).toBe(order.key);
    expect(log.toString()).toContain(
      'RPC outside: the handler has written in a transaction that an interceptor has begun, and that is still open',
    );
  });

  test('so it does of run() in a transaction of its caller, and not of one in its handler', async () => {
    const service = app.get(IdempotencyService);
    const orderOf = (seat: string) => ({ key: seat, seat });
    await service.run({ key: 'k', operation: 'own' }, () =>
      dataSource.transaction((manager) => place(manager, orderOf('own'))),
    );
    await dataSource.transaction((manager) =>
      service.run({ key: 'k', operation: 'uncommitted' }, () => place(manager, orderOf('uncommitted'))),
    );
    const warned = log.lines.filter((line) => /(own|uncommitted): the handler of run\(\)/.test(line));
    expect(warned).toEqual([expect.stringContaining('WARN uncommitted: the handler of run() has written')]);
  });
});
