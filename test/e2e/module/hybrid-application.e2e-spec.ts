import { Body, Controller, type INestApplication, Post } from '@nestjs/common';
import { type ClientProxy, ClientProxyFactory, MessagePattern, Payload, Transport } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { lastValueFrom } from 'rxjs';
import { Idempotent } from '../../../lib/index.js';
import { appModule } from '../../support/app-module.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';
import { call } from '../../support/http-client.js';

let runs = 0;

@Controller('stock')
@Idempotent()
class StockController {
  @Post()
  take(@Body() { sku }: { sku: string }) {
    return { sku, run: ++runs };
  }

  @MessagePattern('stock.count')
  count(@Payload() sku: string) {
    return { sku, count: 3 };
  }
}

/** Handlers with no parameters declared are given what came, whatever else they answer to. */
@Controller('orders')
class OrdersController {
  @Post()
  @MessagePattern('order.place')
  @Idempotent({ key: () => undefined, required: false })
  place(...args: unknown[]) {
    return { received: args[0] ?? null };
  }

  @MessagePattern('order.cancel')
  @Idempotent({ key: () => 'cancel' })
  cancel(...args: unknown[]) {
    return { received: args[0] ?? null };
  }
}

/** An application that answers over HTTP and over messages, from the same controller. */
describe('a hybrid application', () => {
  let database: TestDatabase;
  let app: INestApplication;
  let client: ClientProxy;
  let url: string;

  beforeAll(async () => {
    database = await createDatabase('better-sqlite3');
    const options = { host: '127.0.0.1', port: await freePort() };
    app = (
      await Test.createTestingModule({
        imports: [appModule(database, [StockController, OrdersController], { audit: 'error' })],
      }).compile()
    ).createNestApplication({ logger: false });
    app.connectMicroservice({ transport: Transport.TCP, options }, { inheritAppConfig: true });
    await app.startAllMicroservices();
    await app.listen(0, '127.0.0.1');
    url = `${await app.getUrl()}/stock`;
    client = ClientProxyFactory.create({ transport: Transport.TCP, options });
  });

  afterAll(async () => {
    await client?.close();
    await app?.close();
    await database?.drop();
  });

  test('covers the mutating methods over HTTP', async () => {
    const first = await call(url, { key: 'k', body: { sku: 'MUG' } });
    expect(first.status).toBe(201);
    expect((await call(url, { key: 'k', body: { sku: 'MUG' } })).body).toBe(first.body);
    expect(runs).toBe(1);
  });

  test('leaves the message handlers of the same controller alone', async () => {
    expect(await lastValueFrom(client.send('stock.count', 'MUG'))).toEqual({ sku: 'MUG', count: 3 });
  });

  test.each(['order.place', 'order.cancel'])('gives %s the message', async (pattern) => {
    expect(await lastValueFrom(client.send(pattern, 'MUG'))).toEqual({ received: 'MUG' });
  });
});
