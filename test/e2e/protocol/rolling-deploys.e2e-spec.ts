import { randomBytes, randomUUID } from 'node:crypto';
import { Controller, HttpException, type INestApplication, Logger, Post, type Type } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import {
  type Execution,
  Idempotent,
  IdempotencyKey,
  type IdempotencyModuleOptions,
  IdempotencyService,
  IdempotentExecution,
} from '../../../lib/index.js';
import { appModule } from '../../support/app-module.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';

/** Old and new instances of an application share a database while a deploy rolls, and after a rollback. */
let database: TestDatabase;
const apps: INestApplication[] = [];

beforeAll(async () => {
  Logger.overrideLogger(false);
  database = await createDatabase('postgres');
});

afterAll(async () => {
  for (const app of apps) await app.close();
  await database?.drop();
});

/** Returns what sends a request to a new instance. */
async function instance(controller: Type, options: IdempotencyModuleOptions) {
  const app = (
    await Test.createTestingModule({ imports: [appModule(database, [controller], options)] }).compile()
  ).createNestApplication({ logger: false });
  apps.push(app);
  await app.listen(0, '127.0.0.1');
  const url = await app.getUrl();
  return async (path: string, key: string) => {
    const { status, body } = await call(`${url}/${path}`, { key });
    return { status, body: JSON.parse(body) as { code?: string; charge?: string } };
  };
}

const [k1, k2] = [randomBytes(32), randomBytes(32)];
const UNDER_K1: IdempotencyModuleOptions = { encryption: { keys: { k1 }, current: 'k1' } };
const UNDER_K2: IdempotencyModuleOptions = { encryption: { keys: { k2 }, current: 'k2' } };

let charges = 0;
/** The keys of requests whose first attempt has failed behind its charge. */
const failed = new Set<string>();

async function charge(execution: Execution, key: string) {
  const charged = await execution.step('charge', () => `charge ${++charges}`);
  if (failed.has(key)) return { charge: charged };
  failed.add(key);
  throw new Error('the connection to the warehouse was reset');
}

@Controller()
class PaymentsController {
  constructor(private readonly idempotency: IdempotencyService) {}

  @Post('plain')
  @Idempotent()
  plain(@IdempotentExecution() execution: Execution, @IdempotencyKey() key: string) {
    return charge(execution, key);
  }

  @Post('transactional')
  @Idempotent({ transactional: true })
  transactional(@IdempotentExecution() execution: Execution, @IdempotencyKey() key: string) {
    return charge(execution, key);
  }

  /** Answers as to a declined card where no charge comes about. */
  @Post('catching')
  @Idempotent()
  async catching(@IdempotentExecution() execution: Execution, @IdempotencyKey() key: string) {
    return charge(execution, key).catch((error: Error) => {
      if (error.message.includes('warehouse')) throw error;
      throw new HttpException('declined', 402);
    });
  }

  @Post('catching-transactional')
  @Idempotent({ transactional: true })
  async catchingTransactional(@IdempotentExecution() execution: Execution, @IdempotencyKey() key: string) {
    return charge(execution, key).catch((error: Error) => {
      if (error.message.includes('warehouse')) throw error;
      return { charge: 'none' };
    });
  }

  @Post('job')
  @Idempotent({ required: false })
  job(@IdempotencyKey() key: string) {
    return this.idempotency.run({ key, operation: 'charge' }, (execution) => charge(execution, key));
  }
}

describe.each([
  ['plain', 'encrypts', {}, UNDER_K1],
  ['encrypted', 'has another key', UNDER_K1, UNDER_K2],
  ['encrypted', 'has no key', UNDER_K1, {}],
] as const)('a step on record that is %s, for an instance that %s', (_step, _instance, own, other) => {
  let there: Awaited<ReturnType<typeof instance>>;
  let here: Awaited<ReturnType<typeof instance>>;

  beforeAll(async () => {
    there = await instance(PaymentsController, own);
    here = await instance(PaymentsController, other);
  });

  test.each(['plain', 'transactional', 'catching', 'catching-transactional', 'job'])(
    'is no outcome there, and the first instance goes on: %s',
    async (path) => {
      const key = randomUUID();
      const before = charges;
      expect((await there(path, key)).status).toBe(500);
      for (let retry = 0; retry < 2; retry++) {
        expect(await here(path, key)).toMatchObject({ status: 500, body: { code: 'record-unreadable' } });
      }
      expect(await there(path, key)).toEqual({ status: 201, body: { charge: `charge ${before + 1}` } });
      expect(charges).toBe(before + 1);
    },
  );
});
