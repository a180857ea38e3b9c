import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ConflictException,
  Controller,
  type INestApplication,
  type ModuleMetadata,
  Post,
  UseGuards,
} from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { Redis } from 'ioredis';
import { Idempotent, IdempotencyModule } from '../../../lib/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { type Answer, call } from '../../support/http-client.js';
import { filesOf, type PageModule } from './support/files-of.js';

/** The switch of docs/migration.md: instances with another library, and instances with this one, over one database. */

let runs: string[];

/** What the old library knows of a request that another instance, without the interceptor, still runs. */
let runsElsewhere: boolean;

@Controller('payments')
class OldController {
  @Post()
  async pay() {
    if (runsElsewhere) throw new ConflictException('A request is outstanding for this Idempotency-Key');
    runs.push('old');
    await sleep(50);
    return { paid: runs.length };
  }
}

let page: PageModule;
let database: TestDatabase;
let redis: Redis;
let instances: INestApplication[];
let pay: (instance: 0 | 1, key: string) => Promise<Answer>;

beforeAll(async () => {
  page = await filesOf('docs/migration.md');
  database = await createDatabase('postgres');
  redis = new Redis({ port: Number(process.env.TEST_REDIS_PORTS!.split(',')[0]) });

  @Controller('payments')
  @UseGuards(page.OldKeysGuard)
  class NewController {
    @Idempotent({ scope: () => '' })
    @Post()
    async pay() {
      runs.push('new');
      await sleep(50);
      return { paid: runs.length };
    }
  }

  const boot = async (metadata: ModuleMetadata) => {
    const options = { ...database.options, autoLoadEntities: true, synchronize: true } as TypeOrmModuleOptions;
    const imports = [TypeOrmModule.forRoot(options), IdempotencyModule.forRoot({ audit: 'off' })];
    const module = await Test.createTestingModule({ imports, ...metadata }).compile();
    const app = module.createNestApplication();
    await app.listen(0, '127.0.0.1');
    return app;
  };
  instances = [
    await boot({
      controllers: [OldController],
      providers: [{ provide: APP_INTERCEPTOR, useClass: page.ReserveInterceptor }],
    }),
    await boot({ controllers: [NewController], providers: [{ provide: Redis, useValue: redis }] }),
  ];
  pay = async (instance, key) => call(`${await instances[instance].getUrl()}/payments`, { key, body: {} });
});

afterAll(async () => {
  for (const app of instances ?? []) await app.close();
  redis?.disconnect();
  await database?.drop();
});

beforeEach(() => {
  runs = [];
  runsElsewhere = false;
});

test.each([
  ['old', 'new', 0, 1],
  ['new', 'old', 1, 0],
] as const)('a retry that crosses over from %s to %s does not run', async (from, _to, first, second) => {
  const key = randomUUID();
  expect((await pay(first, key)).status).toBe(201);
  expect((await pay(second, key)).status).toBe(422);
  expect((await pay(first, key)).status).toBe(201);
  expect(runs).toEqual([from]);
});

test('a 409 of the old library is not the outcome: the next retry gets that', async () => {
  const key = randomUUID();
  runsElsewhere = true;
  expect((await pay(0, key)).status).toBe(409);
  runsElsewhere = false;
  expect((await pay(0, key)).status).toBe(201);
  expect((await pay(1, key)).status).toBe(422);
  expect(runs).toEqual(['old']);
});

test('duplicates on both kinds at once: one runs', async () => {
  const key = randomUUID();
  const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => pay((i % 2) as 0 | 1, key)));
  expect(runs).toHaveLength(1);
  expect([201, 409, 422]).toEqual(expect.arrayContaining([...new Set(answers.map(({ status }) => status))]));
});

test('a key that only the old library knows is refused by the guard', async () => {
  const key = randomUUID();
  await redis.set(`node-idempotency:POST:/payments:${key}`, '{"status":"COMPLETE"}', 'EX', 60);
  const answer = await pay(1, key);
  expect([answer.status, answer.body]).toEqual([409, expect.stringContaining('used before an upgrade')]);
  expect(runs).toEqual([]);
});
