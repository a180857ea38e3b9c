import { randomUUID } from 'node:crypto';
import { Body, Controller, type INestApplication, Post } from '@nestjs/common';
import { type ClientProxy, ClientProxyFactory, EventPattern, Payload, Transport } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { lastValueFrom } from 'rxjs';
import { Idempotent, IdempotencyService } from '../../../lib/index.js';
import { appModule } from '../../support/app-module.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';
import { call } from '../../support/http-client.js';
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
