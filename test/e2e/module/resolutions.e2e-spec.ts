import { Controller, type INestApplication, Module, Post } from '@nestjs/common';
import { type ClientProxy, ClientProxyFactory, MessagePattern, Transport } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { lastValueFrom } from 'rxjs';
import { DataSource } from 'typeorm';
import { IdempotencyDashboardModule } from '../../../lib/dashboard/index.js';
import { Idempotent, IdempotencyModule, IdempotencyRecord, IdempotencyService } from '../../../lib/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';
import { call } from '../../support/http-client.js';

@Controller()
class PaymentsController {
  @Post('payments')
  @Idempotent()
  pay() {
    return { by: 'handler' };
  }

  @Post('refunds')
  @Idempotent({ operation: 'refunds.make' })
  refund() {
    return { by: 'handler' };
  }

  @MessagePattern('orders')
  @Idempotent({ key: () => 'k' })
  order() {
    return { by: 'handler' };
  }

  /** A pattern as a path, and a name: its record has a route. */
  @MessagePattern('/parcels')
  @Idempotent({ key: () => 'k', operation: 'parcels.send' })
  parcel() {
    return { by: 'handler' };
  }
}

const RESPONSE = { status: 201, body: '{"by":"hand"}' };
const VALUE = { value: { by: 'hand' } };

describe('an operator resolves a held operation', () => {
  let database: TestDatabase;
  let app: INestApplication;
  let client: ClientProxy;
  let url: string;

  beforeAll(async () => {
    database = await createDatabase('better-sqlite3');
    @Module({
      imports: [
        TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, synchronize: true }),
        IdempotencyModule.forRoot({ audit: 'off' }),
        IdempotencyDashboardModule.forRoot({ public: true, actions: true }),
      ],
      controllers: [PaymentsController],
    })
    class App {}
    const module = await Test.createTestingModule({ imports: [App] }).compile();
    app = module.createNestApplication({ logger: false });
    const options = { host: '127.0.0.1', port: await freePort() };
    app.connectMicroservice({ transport: Transport.TCP, options });
    await app.startAllMicroservices();
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
    client = ClientProxyFactory.create({ transport: Transport.TCP, options });
  });

  afterAll(async () => {
    client?.close();
    await app?.close();
    await database?.drop();
  });

  const http = async (path: string) => JSON.parse((await call(`${url}/${path}`, { key: 'k' })).body) as unknown;
  const rpc = (pattern: string) => lastValueFrom(client.send<unknown>(pattern, {}));

  // A record of a route that was resolved with a value answered 500 `record-unreadable` from then on. The page took a named message for a route.
  test.each([
    ['POST /payments', () => http('payments'), RESPONSE, VALUE],
    ['refunds.make', () => http('refunds'), RESPONSE, VALUE],
    ['RPC orders', () => rpc('orders'), VALUE, RESPONSE],
    ['parcels.send', () => rpc('/parcels'), VALUE, RESPONSE],
    [
      'job',
      () => app.get(IdempotencyService).run({ key: 'k', operation: 'job' }, () => ({ by: 'handler' })),
      VALUE,
      RESPONSE,
    ],
  ])('%s: with an outcome of its own kind alone', async (operation, ask, right, wrong) => {
    const service = app.get(IdempotencyService);
    const records = app.get(DataSource).getRepository(IdempotencyRecord);
    expect(await ask()).toEqual({ by: 'handler' });
    const { id } = (await service.find({ key: 'k', operation }))!;
    const hold = () => records.update(id, { status: 'held' });
    const onPage = (outcome: object) =>
      call(`${url}/idempotency/api/records/${id}/resolve`, {
        body: { reason: 'found out', outcome },
        headers: { 'x-idempotency-dashboard': '1' },
      });

    await hold();
    await expect(service.resolve(id, wrong)).rejects.toThrow(/^IdempotencyService\.resolve\(\): .* answers /);
    expect((await onPage(wrong)).status).toBe(400);
    expect(await service.find(id)).toMatchObject({ status: 'held' });
    expect(await service.resolve(id, right)).toBe(true);
    expect(await ask()).toEqual({ by: 'hand' });
    await hold();
    expect((await onPage(right)).status).toBe(200);
    expect(await ask()).toEqual({ by: 'hand' });
  });
});
