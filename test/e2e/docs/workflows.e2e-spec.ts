import { randomUUID } from 'node:crypto';
import type { INestApplication, Provider } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { IdempotencyModule } from '../../../lib/index.js';
import { IdempotencyFaults, IdempotencyFaultsModule } from '../../../lib/testing/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { until } from '../../support/until.js';
import { filesOf, type PageModule } from './support/files-of.js';

/** The recipe of docs/workflows.md, run as it stands there. */

interface Starter {
  startNext(): Promise<boolean>;
}

let database: TestDatabase;
let app: INestApplication;
let recipes: PageModule;
/** What the engine was asked to start, and what it made of that. */
const asked: string[] = [];
const started = new Set<string>();
let beforeAnswer: () => Promise<void>;

beforeAll(async () => {
  recipes = await filesOf('docs/workflows.md');
  database = await createDatabase('postgres');
  const entities = ['WorkflowOrder', 'WorkflowStart'].map((name) => recipes[name]);
  const options = { ...database.options, entities, autoLoadEntities: true, synchronize: true } as TypeOrmModuleOptions;
  const start = async (_workflow: string, id: string) => {
    asked.push(id);
    started.add(id);
    await beforeAnswer();
  };
  const module = await Test.createTestingModule({
    imports: [TypeOrmModule.forRoot(options), IdempotencyModule.forRoot(), IdempotencyFaultsModule],
    controllers: [recipes.WorkflowOrdersController],
    providers: [recipes.WorkflowStarter as Provider, { provide: recipes.WorkflowEngine, useValue: { start } }],
  }).compile();
  app = module.createNestApplication({ logger: false });
  await app.listen(0, '127.0.0.1');
});

afterAll(async () => {
  await app?.close();
  await database?.drop();
});

beforeEach(() => {
  asked.splice(0);
  started.clear();
  beforeAnswer = async () => {};
});

const order = async (key: string) => call(`${await app.getUrl()}/workflow-orders`, { key, body: { item: 'mug' } });
const count = async (name: string) => app.get(DataSource).getRepository(recipes[name]).count();
const starter = () => app.get<Starter>(recipes.WorkflowStarter);

test('a crash before the commit leaves nothing behind, and a retry starts one workflow', async () => {
  const key = randomUUID();
  app.get(IdempotencyFaults).crashAt('before commit');
  await expect(order(key)).rejects.toThrow();
  expect([await count('WorkflowOrder'), await count('WorkflowStart')]).toEqual([0, 0]);
  await app.get(DataSource).query('UPDATE idempotency_record SET lease_until = now()');

  const answer = await order(key);
  expect([answer.status, (await order(key)).body]).toEqual([202, answer.body]);
  expect([await count('WorkflowOrder'), await count('WorkflowStart')]).toEqual([1, 1]);
  expect([await starter().startNext(), await starter().startNext()]).toEqual([true, false]);
  expect(asked).toEqual([(JSON.parse(answer.body) as { workflow: string }).workflow]);
});

test('a starter that dies after the start: started again, under the same id', async () => {
  await order(randomUUID());
  beforeAnswer = () => Promise.reject(new Error('died'));
  await expect(starter().startNext()).rejects.toThrow('died');
  beforeAnswer = async () => {};
  expect([await starter().startNext(), await starter().startNext()]).toEqual([true, false]);
  expect([asked.length, started.size]).toEqual([2, 1]);
});

test('starters do not wait for each other, and none takes what another has', async () => {
  await order(randomUUID());
  await order(randomUUID());
  beforeAnswer = () => until(() => asked.length === 2);
  expect(await Promise.all([starter().startNext(), starter().startNext()])).toEqual([true, true]);
  expect(started.size).toBe(2);
  expect(await starter().startNext()).toBe(false);
});
