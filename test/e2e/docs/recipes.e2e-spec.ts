import { createHmac, randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BadGatewayException, type INestApplication, type Provider } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { getRepositoryToken, TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import type { ObjectLiteral, Repository } from 'typeorm';
import { IdempotencyModule } from '../../../lib/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { filesOf, type PageModule } from './support/files-of.js';

/** The recipes of docs/recipes.md that have a file name, run as they stand there. */

/** What a provider or a receiver was sent, and what it says. */
interface Sent {
  readonly url: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

const sent: Sent[] = [];
let says: (request: Sent) => { status: number; body?: unknown } | 'hang up';
let elsewhere: Server;
let database: TestDatabase;
let app: INestApplication;
let recipes: PageModule;

/** The providers of a purchase. */
const warehouse = {
  left: 0,
  done: [] as string[],
  isAnswerLost: false,
  charge: async (_key: string, amount: number) => void warehouse.done.push(`charge ${amount}`),
  reserve: async (_key: string, item: string) => {
    if (warehouse.left === 0) return 'sold out';
    warehouse.left--;
    warehouse.done.push(`reserve ${item}`);
    return 'reserved';
  },
  refund: async (key: string) => {
    if (!warehouse.done.includes(key)) warehouse.done.push(key);
    if (warehouse.isAnswerLost) throw new BadGatewayException('no answer');
  },
};

beforeAll(async () => {
  elsewhere = createServer((request, response) => {
    void request
      .setEncoding('utf8')
      .toArray()
      .then((chunks: string[]) => {
        const { url = '', method = '', headers } = request;
        const one = { url, method, headers, body: chunks.join('') };
        sent.push(one);
        const answer = says(one);
        if (answer === 'hang up') return response.destroy();
        return response.writeHead(answer.status).end(JSON.stringify(answer.body ?? {}));
      });
  });
  await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
  process.env.PROVIDER_URL = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`;
  process.env.WEBHOOK_SECRET = 'secret';

  recipes = await filesOf('docs/recipes.md');
  database = await createDatabase('better-sqlite3');
  const entities = ['ReceivedEvent', 'Invoice', 'Order', 'OutboxMessage', 'Export'].map((name) => recipes[name]);
  const providers = ['DeliveriesService', 'InvoicesConsumer', 'OutboxRelay', 'ExportsWorker'];
  const controllers = [
    'ChargesController',
    'PurchasesController',
    'WebhooksController',
    'OrdersController',
    'ExportsController',
  ];
  const options = { ...database.options, entities, autoLoadEntities: true, synchronize: true } as TypeOrmModuleOptions;
  const module = await Test.createTestingModule({
    imports: [TypeOrmModule.forRoot(options), TypeOrmModule.forFeature(entities), IdempotencyModule.forRoot()],
    controllers: controllers.map((name) => recipes[name]),
    providers: [
      ...providers.map((name) => recipes[name] as Provider),
      { provide: recipes.Providers, useValue: warehouse },
    ],
  }).compile();
  app = module.createNestApplication({ rawBody: true });
  await app.listen(0, '127.0.0.1');
});

afterAll(async () => {
  await app?.close();
  await database?.drop();
  elsewhere?.close();
  elsewhere?.closeAllConnections();
});

beforeEach(() => sent.splice(0));

const post = async (path: string, options: Parameters<typeof call>[1]) => call(`${await app.getUrl()}${path}`, options);
const get = <T>(name: string): T => app.get(recipes[name]);
const rows = (name: string) => app.get<Repository<ObjectLiteral>>(getRepositoryToken(recipes[name])).find();

describe('a payment provider', () => {
  const body = { amount: 5, card: 'tok' };

  test.each([
    ['charged', { status: 200, body: { id: 'ch_1', status: 'succeeded' } }, 201],
    ['declined', { status: 402, body: { id: 'ch_2', status: 'declined' } }, 402],
  ])('%s: once, and replayed', async (_name, answer, status) => {
    says = () => answer;
    const key = randomUUID();
    const first = await post('/charges', { key, body });
    const second = await post('/charges', { key, body });
    expect([first.status, second.status, second.body]).toEqual([status, status, first.body]);
    expect(second.headers['idempotent-replayed']).toBe('true');
    expect(sent).toHaveLength(1);
  });

  test('unknown outcome: the next attempt asks, and does not charge again', async () => {
    says = ({ method }) => (method === 'POST' ? 'hang up' : { status: 200, body: { id: 'ch_3', status: 'succeeded' } });
    const key = randomUUID();
    expect((await post('/charges', { key, body })).status).toBe(502);
    expect(await post('/charges', { key, body })).toMatchObject({ status: 201, body: expect.stringContaining('ch_3') });
    expect(sent.map(({ method }) => method)).toEqual(['POST', 'GET']);
    expect(sent[1].url).toBe(`/charges/${String(sent[0].headers['idempotency-key'])}`);
    expect(sent[0].headers['idempotency-key']).not.toBe(key);
  });

  test('unknown outcome, and it did not happen: charged with the same key', async () => {
    let reachable = false;
    says = ({ method }) => {
      if (method === 'GET') return { status: 404 };
      return reachable ? { status: 200, body: { id: 'ch_4', status: 'succeeded' } } : 'hang up';
    };
    const key = randomUUID();
    expect((await post('/charges', { key, body })).status).toBe(502);
    reachable = true;
    expect((await post('/charges', { key, body })).status).toBe(201);
    const keys = sent.filter(({ method }) => method === 'POST').map(({ headers }) => headers['idempotency-key']);
    expect(keys).toHaveLength(2);
    expect(new Set(keys).size).toBe(1);
  });
});

describe('undoing a step', () => {
  const purchase = (key: string) => post('/purchases', { key, body: { item: 'mug', amount: 5 } });

  beforeEach(() => Object.assign(warehouse, { left: 0, done: [], isAnswerLost: false }));

  test('the refund of an attempt holds for the next one, though a mug came back meanwhile', async () => {
    const key = randomUUID();
    warehouse.isAnswerLost = true;
    expect((await purchase(key)).status).toBe(502);
    Object.assign(warehouse, { left: 1, isAnswerLost: false });
    for (let n = 0; n < 2; n++) expect((await purchase(key)).status).toBe(409);
    expect([warehouse.left, warehouse.done]).toEqual([1, ['charge 5', expect.stringMatching(/^[\da-f-]{36}$/)]]);
  });

  test('nothing to undo', async () => {
    const key = randomUUID();
    warehouse.left = 1;
    for (let n = 0; n < 2; n++) expect((await purchase(key)).status).toBe(201);
    expect(warehouse.done).toEqual(['charge 5', 'reserve mug']);
  });
});

test('webhooks that come in: the signature first, then once for each event', async () => {
  const deliver = (event: object, secret = 'secret') => {
    const signature = createHmac('sha256', secret).update(JSON.stringify(event)).digest('hex');
    return post('/webhooks', { body: event, headers: { 'X-Signature': signature } });
  };
  expect((await deliver({ id: 'evt_1', type: 'paid', attempt: 1 }, 'guessed')).status).toBe(403);
  expect((await deliver({ id: 'evt_1', type: 'paid', attempt: 1 })).status).toBe(200);
  const again = await deliver({ id: 'evt_1', type: 'paid', attempt: 2 });
  expect([again.status, again.headers['idempotent-replayed']]).toEqual([200, 'true']);
  expect((await deliver({ id: 'evt_1', type: 'paid', attempt: 3, pending_webhooks: 0 })).status).toBe(200);
  expect(await rows('ReceivedEvent')).toEqual([{ id: 'evt_1', type: 'paid' }]);
});

test('webhooks that go out: the same id on each attempt, and none after the one that succeeded', async () => {
  const deliveries = get<{ deliver(delivery: object): Promise<number> }>('DeliveriesService');
  const deliver = (id: string) =>
    deliveries.deliver({ eventId: 'e1', subscriber: { id, url: process.env.PROVIDER_URL }, payload: { paid: true } });
  says = () => ({ status: 500 });
  await expect(deliver('s1')).rejects.toThrow('answered 500');
  says = () => ({ status: 204 });
  expect(await deliver('s1')).toBe(204);
  expect(await deliver('s1')).toBe(204);
  expect(await deliver('s2')).toBe(204);
  const ids = sent.map(({ headers }) => headers['webhook-id']);
  expect(ids).toEqual([ids[0], ids[0], ids[2]]);
  expect(ids[2]).not.toBe(ids[0]);
});

test('queue consumers: a job that is delivered twice makes one invoice', async () => {
  const consumer = get<{ consume(job: object): Promise<string> }>('InvoicesConsumer');
  const job = { id: 'job-1', data: { order: 'o-1' } };
  expect(await Promise.all([consumer.consume(job), consumer.consume(job)])).toEqual(['ack', 'again']);
  expect(await consumer.consume(job)).toBe('ack');
  expect(await consumer.consume({ ...job, data: { order: 'o-2' } })).toBe('dead');
  expect(await rows('Invoice')).toMatchObject([{ order: 'o-1' }]);
});

test('outbox: one order, one message, sent with the same id after a relay that died', async () => {
  const key = randomUUID();
  const order = await post('/orders', { key, body: { item: 'mug' } });
  expect((await post('/orders', { key, body: { item: 'mug' } })).body).toBe(order.body);
  expect(await rows('Order')).toEqual([JSON.parse(order.body)]);
  const relay = get<{ relay(send: (message: { id: string }) => Promise<void>): Promise<number> }>('OutboxRelay');
  const ids: string[] = [];
  const dies = relay.relay(({ id }) => {
    ids.push(id);
    return Promise.reject(new Error('died'));
  });
  await expect(dies).rejects.toThrow('died');
  expect(await relay.relay(async ({ id }) => void ids.push(id))).toBe(1);
  expect(await relay.relay(async ({ id }) => void ids.push(id))).toBe(0);
  expect(ids).toEqual([ids[0], ids[0]]);
});

test('long operations: accepted once, worked once, and asked for', async () => {
  const key = randomUUID();
  const accepted = await post('/exports', { key });
  expect([accepted.status, (await post('/exports', { key })).body]).toEqual([202, accepted.body]);
  const { id, status } = JSON.parse(accepted.body) as { id: string; status: string };
  const look = async () => JSON.parse((await post(status, { method: 'GET' })).body) as object;
  expect(await look()).toEqual({ id, done: false, url: null });
  const worker = get<{ work(id: string, build: () => Promise<string>): Promise<void> }>('ExportsWorker');
  let built = 0;
  const build = async () => `https://files.example/${++built}`;
  await worker.work(id, build);
  await worker.work(id, build);
  expect(built).toBe(1);
  expect(await look()).toEqual({ id, done: true, url: 'https://files.example/1' });
});
