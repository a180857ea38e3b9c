import { Controller, type ExecutionContext, type INestMicroservice, Injectable, type Type } from '@nestjs/common';
import {
  type ClientOptions,
  type ClientProxy,
  ClientProxyFactory,
  EventPattern,
  Payload,
  type TcpOptions,
  Transport,
} from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { lastValueFrom } from 'rxjs';
import { type Execution, Idempotent, IdempotencyService, IdempotentExecution } from '../../../lib/index.js';
import { appModule } from '../../support/app-module.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';
import { until } from '../../support/until.js';

interface Placed {
  readonly id: string;
}

let failed = 0;

/** Fails while the other listener waits for its claim. */
@Controller()
class MetricsController {
  @EventPattern('order.placed')
  count({ id }: Placed) {
    failed++;
    throw new Error(`no metrics of ${id}`);
  }
}

@Injectable()
class Stock {
  readonly reserved: string[] = [];
}

@Controller()
class StockController {
  constructor(private readonly stock: Stock) {}

  @EventPattern<string>('order.placed')
  @Idempotent({ key: (context: ExecutionContext) => context.switchToRpc().getData<Placed>().id, transactional: true })
  async reserve(@Payload() { id }: Placed, @IdempotentExecution() execution: Execution) {
    await execution.manager.query('SELECT 1');
    this.stock.reserved.push(id);
  }
}

/** Nest joins the listeners of one event, and unsubscribes from the others where one fails. */
describe.each<[string, Type[]]>([
  ['before', [MetricsController, StockController]],
  ['behind', [StockController, MetricsController]],
])('an event whose listener fails, %s one that is idempotent', (_place, controllers) => {
  let database: TestDatabase;
  let app: INestMicroservice;
  let client: ClientProxy;

  beforeAll(async () => {
    failed = 0;
    database = await createDatabase('postgres');
    const options: TcpOptions = { transport: Transport.TCP, options: { host: '127.0.0.1', port: await freePort() } };
    const imports = [appModule(database, [])];
    const module = await Test.createTestingModule({ imports, controllers, providers: [Stock] }).compile();
    app = module.createNestMicroservice({ ...options, logger: false });
    await app.listen();
    client = ClientProxyFactory.create(options as ClientOptions) as ClientProxy;
  });

  afterAll(async () => {
    await client?.close();
    await app?.close();
    await database?.drop();
  });

  test('the idempotent one runs', async () => {
    await lastValueFrom(client.emit('order.placed', { id: 'o-1' }), { defaultValue: undefined });
    const record = { key: 'o-1', operation: 'EVENT order.placed StockController.reserve' };
    await until(async () => (await app.get(IdempotencyService).find(record))?.status === 'done');
    expect([failed, app.get(Stock).reserved]).toEqual([1, ['o-1']]);
  });
});
