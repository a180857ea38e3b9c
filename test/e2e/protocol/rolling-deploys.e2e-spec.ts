import { randomBytes, randomUUID } from 'node:crypto';
import {
  Controller,
  HttpException,
  type INestApplication,
  Logger,
  Post,
  type Type,
  Version,
  VersioningType,
} from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { Test } from '@nestjs/testing';
import {
  type Execution,
  Idempotent,
  IdempotencyKey,
  type IdempotencyModuleOptions,
  type IdempotentOptions,
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

/** What docs/operations.md says of deploys: a request to the old version, and its retry to the new one. */
describe('a retry across a deploy that changes', () => {
  let runs = 0;

  function version(options: IdempotentOptions, ...decorators: MethodDecorator[]): Type {
    @Controller()
    class OrdersController {
      @Post('orders')
      @Idempotent(options)
      place() {
        return { run: ++runs };
      }
    }
    const { prototype } = OrdersController;
    for (const decorate of decorators) {
      decorate(prototype, 'place', Object.getOwnPropertyDescriptor(prototype, 'place')!);
    }
    return OrdersController;
  }

  interface Deployed {
    readonly options?: IdempotentOptions;
    readonly module?: IdempotencyModuleOptions;
    readonly decorators?: readonly MethodDecorator[];
    readonly configure?: (app: NestExpressApplication) => unknown;
  }

  async function deploy({ options = {}, module, decorators = [], configure }: Deployed) {
    const app = (
      await Test.createTestingModule({
        imports: [appModule(database, [version(options, ...decorators)], module)],
      }).compile()
    ).createNestApplication<NestExpressApplication>({ logger: false });
    apps.push(app);
    await configure?.(app);
    await app.listen(0, '127.0.0.1');
    const url = `${await app.getUrl()}/orders`;
    return async (request: { key: string; headers?: Record<string, string>; body: object }) => {
      const { status, headers, body } = await call(url, request);
      const { code } = JSON.parse(body) as { code?: string };
      return code ?? (headers['idempotent-replayed'] ? 'replayed' : `${status}`);
    };
  }

  const byBody: IdempotentOptions['key'] = (context) =>
    context.switchToHttp().getRequest<{ body: { order: string } }>().body.order;
  const jsonAsText = (app: NestExpressApplication) => app.useBodyParser('text', { type: 'application/json' });
  const versioned = (app: NestExpressApplication) =>
    app.enableVersioning({ type: VersioningType.HEADER, header: 'X-Version' });

  test.each<[string, string, Deployed, Deployed]>([
    ['`key`', '201', {}, { options: { key: byBody } }],
    ['`header`', 'key-missing', {}, { module: { header: 'X-Key' } }],
    ['`header`, where no key is required', '201', {}, { options: { required: false }, module: { header: 'X-Key' } }],
    ['`credentials`', 'key-foreign', {}, { module: { credentials: { headers: ['X-API-Key'] } } }],
    ['`fingerprint`', 'key-reused', {}, { options: { fingerprint: { ignore: ['/order'] } } }],
    ['the body parser', 'key-reused', {}, { configure: jsonAsText }],
    ['the version in a header', 'key-reused', {}, { decorators: [Version('1')], configure: versioned }],
    [
      '`lease`, `retention` and `transactional`',
      'replayed',
      {},
      { options: { lease: '1s', retention: '1m', transactional: true } },
    ],
    ['`transactional`, which was on', 'replayed', { options: { transactional: true } }, {}],
    ['`response` and `outcome`', 'replayed', {}, { options: { response: { store: false }, outcome: 'success' } }],
  ])('%s: %s', async (_what, expected, before, after) => {
    const headers = { authorization: 'Bearer a', 'x-api-key': 'b', 'x-version': '1' };
    const request = { key: randomUUID(), headers, body: { order: randomUUID() } };
    const old = await deploy(before);
    const { length } = apps;
    expect(await old(request)).toBe('201');
    const ran = runs;
    expect(await (await deploy(after))(request)).toBe(expected);
    expect(runs).toBe(expected === '201' ? ran + 1 : ran);
    // The old instance answers as before, whatever the new one has made of it.
    expect(await old(request)).toBe('replayed');
    for (const app of apps.splice(length - 1)) await app.close();
  });
});
