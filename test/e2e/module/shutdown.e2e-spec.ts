import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { jest } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import {
  Body,
  Controller,
  type INestApplication,
  Injectable,
  Module,
  type OnModuleDestroy,
  type OnModuleInit,
  Post,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { type ClientProxy, ClientProxyFactory, EventPattern, Payload, Transport } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { lastValueFrom } from 'rxjs';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { IDEMPOTENCY_ENTITIES, Idempotent, IdempotencyModule, IdempotencyService } from '../../../lib/index.js';
import { Sweeper } from '../../../lib/store/sweeper.js';
import { LogLines } from '../../conformance/support/app.js';
import { appModule } from '../../support/app-module.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';
import { call } from '../../support/http-client.js';
import { TcpProxy } from '../../support/proxy.js';
import { until } from '../../support/until.js';

const handled: string[] = [];
let open: () => void;
const gate = new Promise<void>((resolve) => (open = resolve));

@Controller('orders')
class OrdersController {
  constructor(private readonly idempotency: IdempotencyService) {}

  @Post()
  @Idempotent()
  async place(@Body() { item }: { item: string }) {
    handled.push(item);
    if (item !== 'late') await gate;
    const reserved = await this.idempotency.run({ key: item, operation: 'reserve' }, () => `reserved ${item}`);
    return { reserved };
  }

  @EventPattern<string>('order.paid')
  @Idempotent({ key: (context) => context.switchToRpc().getData<{ id: string }>().id })
  onPaid(@Payload() { id }: { id: string }) {
    handled.push(id);
  }
}

describe('an application that shuts down while a handler runs', () => {
  let database: TestDatabase;
  let app: INestApplication;
  let client: ClientProxy;

  beforeAll(async () => {
    database = await createDatabase('better-sqlite3');
    const options = { host: '127.0.0.1', port: await freePort() };
    app = (
      await Test.createTestingModule({ imports: [appModule(database, [OrdersController])] }).compile()
    ).createNestApplication({ logger: false });
    app.connectMicroservice({ transport: Transport.TCP, options });
    await app.startAllMicroservices();
    await app.listen(0, '127.0.0.1');
    client = ClientProxyFactory.create({ transport: Transport.TCP, options });
    await client.connect();
  });

  afterAll(async () => {
    open();
    await client?.close();
    await app?.close().catch(() => undefined);
    await database?.drop();
  });

  test('lets it call run(), handles events, and refuses requests', async () => {
    const url = `${await app.getUrl()}/orders`;
    const service = app.get(IdempotencyService);
    const first = call(url, { key: 'first', body: { item: 'book' } });
    await until(() => handled.includes('book'));
    const closed = app.close();
    await until(async () => (await call(url, { key: randomUUID(), body: { item: 'late' } })).status === 503);
    await lastValueFrom(client.emit('order.paid', { id: 'paid-1' }));
    await until(() => handled.includes('paid-1'));
    open();
    const { status, body } = await first;
    expect({ status, body }).toEqual({ status: 201, body: '{"reserved":"reserved book"}' });
    await closed;
    const tooLate = service.run({ key: 'too late', operation: 'reserve' }, () => handled.push('too late'));
    await expect(tooLate).rejects.toMatchObject({ code: 'store-unavailable' });
    expect(handled).not.toContain('too late');
  });
});

/** A deploy that is taken back ends processes that have only begun to boot. Nest then closes an HTTP application beside its start. */
test.each(['before', 'during'])(
  'an application that is closed %s its boot check logs and sweeps nothing',
  async (when) => {
    const database = await createDatabase('postgres');
    const proxy = await TcpProxy.listen((database.options as { port: number }).port);
    let isChecking = false;
    let isClosing = false;
    let hasClosed = false;

    @Injectable()
    class Witness implements OnModuleInit, OnModuleDestroy {
      /** Lets the boot go on once the application is closed. */
      async onModuleInit() {
        if (when === 'before') await until(() => hasClosed);
      }

      onModuleDestroy() {
        isClosing = true;
      }
    }

    @Module({
      imports: [
        TypeOrmModule.forRootAsync({
          useFactory: () =>
            ({
              ...database.options,
              port: proxy.port,
              autoLoadEntities: true,
              synchronize: true,
            }) as TypeOrmModuleOptions,
          dataSourceFactory: async (options) => {
            const dataSource = await new DataSource(options!).initialize();
            const createQueryRunner = dataSource.createQueryRunner.bind(dataSource);
            dataSource.createQueryRunner = (mode) => {
              isChecking = true;
              return createQueryRunner(mode);
            };
            proxy.blackhole(true);
            return dataSource;
          },
        }),
        IdempotencyModule.forRoot(),
      ],
      providers: [Witness],
    })
    class App {}

    const sweeping = jest.spyOn(Sweeper.prototype, 'start');
    try {
      const log = new LogLines();
      const app = await NestFactory.create(App, { logger: log, abortOnError: false });
      const booted = app.init();
      if (when === 'during') await until(() => isChecking);
      const closed = app.close().then(() => (hasClosed = true));
      await until(() => isClosing);
      proxy.blackhole(false);
      await Promise.all([booted, closed]);
      expect(log.toString()).toBe('');
      expect(sweeping).not.toHaveBeenCalled();
    } finally {
      sweeping.mockRestore();
      await proxy.close();
      await database.drop();
    }
  },
);

// It hung for half a minute, or forever, without a word: a handler that awaits it waits for itself.
test.each(['better-sqlite3', 'postgres'] as const)(
  'applications that come and go leave nothing at a data source: %s',
  async (dialect) => {
    const database = await createDatabase(dialect);
    const entities = [...IDEMPOTENCY_ENTITIES];
    const dataSource = await new DataSource({ ...database.options, entities, synchronize: true }).initialize();
    const { length } = dataSource.subscribers;
    const once = async () => {
      const module = await Test.createTestingModule({ imports: [IdempotencyModule.forRoot({ dataSource })] }).compile();
      const app = await module.init();
      const operation = { key: randomUUID(), operation: 'pay', transactional: true } as const;
      await app.get(IdempotencyService).run(operation, ({ manager }) => manager.query('SELECT 1'));
      await app.close();
      const { driver, manager } = dataSource;
      return [
        Reflect.get(dataSource, 'createQueryRunner'),
        Reflect.get(driver, 'obtainMasterConnection'),
        Reflect.get(manager, 'transaction'),
      ] as unknown[];
    };
    try {
      const first = await once();
      expect(dataSource.subscribers.length).toBe(length);
      const second = await once();
      expect(second.map((method, i) => method === first[i])).toEqual([true, true, true]);
    } finally {
      await dataSource.destroy();
      await database.drop();
    }
  },
);

test('a handler that closes its application is named', async () => {
  const database = await createDatabase('better-sqlite3');
  const log = new LogLines();
  let app!: INestApplication;
  let closed!: Promise<void>;

  @Controller('admin')
  class AdminController {
    @Post('restart')
    @Idempotent()
    async restart() {
      closed = app.close();
      await until(() => log.toString().includes('closes the application'));
      return 'restarting';
    }
  }

  try {
    app = await NestFactory.create(appModule(database, [AdminController]), { logger: log, abortOnError: false });
    await app.listen(0, '127.0.0.1');
    expect((await call(`${await app.getUrl()}/admin/restart`, { key: randomUUID() })).status).toBe(201);
    await closed;
    expect(log.toString().match(/POST \/admin\/restart: the handler closes the application/g)).toHaveLength(1);
  } finally {
    await app.close();
    await database.drop();
  }
});

test('a worker thread, which gets no signals, is not told to listen to them', async () => {
  const url = new URL('../../../dist/module/shutdown-signals.js', import.meta.url).href;
  const look = `import('${url}').then(({ faultOfSignals }) => parentPort.postMessage({ fault: faultOfSignals() }));`;
  const worker = new Worker(`const { parentPort } = require('node:worker_threads'); ${look}`, { eval: true });
  expect(await once(worker, 'message')).toEqual([{ fault: undefined }]);
  await once(worker, 'exit');
});
