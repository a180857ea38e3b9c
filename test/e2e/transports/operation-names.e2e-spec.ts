import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { type DynamicModule, type INestApplication, Module, type Type } from '@nestjs/common';
import { Controller } from '@nestjs/common';
import { Args, GraphQLModule, Int, Mutation, Query, Resolver } from '@nestjs/graphql';
import {
  type ClientProxy,
  ClientProxyFactory,
  EventPattern,
  MessagePattern,
  type MicroserviceOptions,
  Transport,
} from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { lastValueFrom } from 'rxjs';
import { Idempotent, IdempotencyModule, IdempotencyService } from '../../../lib/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { type Server, startNats } from '../../support/servers.mjs';
import { until } from '../../support/until.js';

const open: (() => Promise<unknown>)[] = [];
let database: TestDatabase;
let ran: string[] = [];
const run = (by: string) => {
  ran.push(by);
  return by;
};

beforeEach(async () => {
  ran = [];
  database = await createDatabase('better-sqlite3');
});
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
  await database.drop();
});

async function boot(module: { controllers?: Type[]; providers?: Type[]; imports?: DynamicModule[] }) {
  @Module({
    ...module,
    imports: [
      TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, synchronize: true } as never),
      IdempotencyModule.forRoot({ sweep: false }),
      ...(module.imports ?? []),
    ],
  })
  class App {}
  const app: INestApplication = (await Test.createTestingModule({ imports: [App] }).compile()).createNestApplication({
    logger: false,
  });
  open.push(() => app.close());
  return app;
}

describe('A message handler with a name', () => {
  let nats: Server;
  beforeAll(async () => (nats = await startNats()));
  afterAll(() => nats?.stop());

  @Controller()
  class Before {
    @MessagePattern('orders.*.pay')
    @Idempotent({ operation: 'orders.pay' })
    pay() {
      return run('before');
    }
    @EventPattern<string>('order.placed')
    @Idempotent({ operation: 'stock.reserve' })
    onOrder() {
      run('before');
    }
  }
  @Controller()
  class After {
    @MessagePattern(['payments.for.*', 'payments.of.*'])
    @Idempotent({ operation: 'orders.pay' })
    charge() {
      return run('after');
    }
    @EventPattern<string>('orders.placed')
    @Idempotent({ operation: 'stock.reserve' })
    reserve() {
      run('after');
    }
  }

  async function listen(controller: Type): Promise<IdempotencyService> {
    const app = await boot({ controllers: [controller] });
    const options = { transport: Transport.NATS, options: { servers: `127.0.0.1:${nats.port}` } } as const;
    app.connectMicroservice<MicroserviceOptions>(options);
    await app.startAllMicroservices();
    await app.init();
    return app.get(IdempotencyService);
  }

  test('is one operation under another pattern, another class and another method', async () => {
    const service = await listen(Before);
    await listen(After);
    const client: ClientProxy = ClientProxyFactory.create({
      transport: Transport.NATS,
      options: { servers: `127.0.0.1:${nats.port}` },
    });
    open.push(async () => client.close());
    const message = (id: string) => ({ specversion: '1.0', id, source: '/shop', data: { amount: 5 } });
    const ask = (subject: string) => lastValueFrom(client.send<string>(subject, message('a')));
    expect(await ask('orders.7.pay')).toBe('before');
    expect(await ask('payments.for.7')).toBe('before');
    expect(await ask('payments.of.7')).toBe('before');
    await expect(ask('payments.for.8')).rejects.toMatchObject({ code: 'key-reused' });
    expect(ran).toEqual(['before']);
    expect(await service.list({ operation: 'orders.pay' })).toEqual([
      expect.objectContaining({ endpoint: 'orders.pay', route: 'RPC orders.*.pay', status: 'done' }),
    ]);

    const replayed = new Promise<void>((resolve) => {
      service.events$.subscribe((event) => event.type === 'completed' && resolve());
    });
    await lastValueFrom(client.emit('order.placed', message('b')));
    await replayed;
    // The second event is answered from the record in the other process.
    await lastValueFrom(client.emit('orders.placed', message('b')));
    await lastValueFrom(client.emit('orders.placed', message('c')));
    await until(async () => (await service.list({ operation: 'stock.reserve', status: 'done' })).length === 2);
    expect(ran).toEqual(['before', 'before', 'after']);
  });
});

describe('A mutation with a name', () => {
  @Resolver()
  class Before {
    @Query(() => Int)
    one() {
      return 1;
    }
    @Mutation(() => String)
    @Idempotent({ operation: 'orders.pay' })
    pay(@Args('amount', { type: () => Int }) _amount: number) {
      return run('before');
    }
  }
  @Resolver()
  class After {
    @Query(() => Int)
    one() {
      return 1;
    }
    @Mutation(() => String)
    @Idempotent({ operation: 'orders.pay' })
    payOrder(@Args('amount', { type: () => Int }) _amount: number) {
      return run('after');
    }
  }

  async function serve(resolver: Type) {
    const graphql = GraphQLModule.forRoot<ApolloDriverConfig>({ driver: ApolloDriver, autoSchemaFile: true });
    const app = await boot({ providers: [resolver], imports: [graphql] });
    await app.listen(0, '127.0.0.1');
    const url = `${await app.getUrl()}/graphql`;
    const mutate = async (mutation: string, key = 'k') =>
      JSON.parse((await call(url, { key, body: { query: `mutation { ${mutation} }` } })).body) as unknown;
    return { mutate, service: app.get(IdempotencyService) };
  }

  test('is one operation under another field, and still one for each alias', async () => {
    const before = await serve(Before);
    const after = await serve(After);
    expect(await before.mutate('pay(amount: 5)')).toEqual({ data: { pay: 'before' } });
    expect(await after.mutate('payOrder(amount: 5)')).toEqual({ data: { payOrder: 'before' } });
    expect(await after.mutate('payOrder(amount: 6)')).toMatchObject({
      errors: [{ extensions: { code: 'key-reused' } }],
    });
    expect(await after.mutate('a: payOrder(amount: 5) b: payOrder(amount: 5)', 'l')).toEqual({
      data: { a: 'after', b: 'after' },
    });
    expect(ran).toEqual(['before', 'after', 'after']);
    expect(await before.service.find({ key: 'k', operation: 'orders.pay' })).toMatchObject({
      endpoint: 'orders.pay',
      route: 'MUTATION pay',
    });
    expect(await before.service.find({ key: 'l', operation: 'orders.pay as b' })).toMatchObject({ status: 'done' });
  });
});
