import {
  type CanActivate,
  Controller,
  Get,
  Global,
  Inject,
  type INestApplication,
  Injectable,
  Module,
  type ModuleMetadata,
  Post,
  Scope,
  SetMetadata,
  Sse,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import { APP_GUARD, INQUIRER, NestFactory } from '@nestjs/core';
import { EventPattern, MessagePattern } from '@nestjs/microservices';
import { Test } from '@nestjs/testing';
import { getDataSourceToken, TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { EMPTY } from 'rxjs';
import { Redis } from 'ioredis';
import { DataSource } from 'typeorm';
import {
  Idempotent,
  IDEMPOTENCY_ENTITIES,
  IdempotencyInterceptor,
  IdempotencyModule,
  NotIdempotent,
} from '../../../lib/index.js';
import { IDEMPOTENCY_MIGRATIONS } from '../../../lib/store/migrations/index.js';
import { LogLines } from '../../conformance/support/app.js';
import { createDatabase, type TestDatabase, type TestDialect } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';
import { call } from '../../support/http-client.js';

@Controller('payments')
class PaymentsController {
  @Idempotent()
  @Post()
  pay() {
    return { paid: true };
  }
}

@Controller('payments')
class MarkedGetController {
  @Idempotent()
  @Get()
  list() {
    return [];
  }
}

@Controller('payments')
class MarkedStreamController {
  @Idempotent()
  @Sse('events')
  events() {
    return EMPTY;
  }
}

/** As many decorators of retries and locks are written: it knows nothing of what others have put at the method. */
const Retried: MethodDecorator = (_target, _name, descriptor: PropertyDescriptor) => {
  const method = descriptor.value as (...args: unknown[]) => unknown;
  descriptor.value = function (this: unknown, ...args: unknown[]) {
    return method.apply(this, args);
  };
};

abstract class RetryingController {
  @Post()
  @Retried
  @Idempotent()
  pay() {
    return { paid: true };
  }
}

@Controller('payments')
class RetriedController extends RetryingController {}

@Controller('payments')
class OwnController extends RetryingController {
  @Post()
  @Idempotent()
  @Retried
  override pay() {
    return { paid: true };
  }
}

@Injectable()
class MarkedService {
  @Idempotent()
  pay() {
    return { paid: true };
  }
}

@Idempotent()
@Injectable()
class WhollyMarkedService {
  pay() {
    return { paid: true };
  }

  refund() {
    return { refunded: true };
  }

  @NotIdempotent()
  find() {
    return [];
  }
}

@Controller('charges')
class MarkedHelperController {
  @Post()
  @NotIdempotent()
  pay() {
    return this.charge();
  }

  @Idempotent()
  private charge() {
    return { charged: true };
  }
}

@Injectable()
class SessionGuard implements CanActivate {
  canActivate() {
    return true;
  }
}

@Controller('payments')
@UseGuards(SessionGuard)
class GuardedController extends PaymentsController {}

@Controller('payments')
@UseGuards(SessionGuard)
class ScopedController {
  @Idempotent({
    scope: (context) => context.switchToHttp().getRequest<{ headers: Record<string, string> }>().headers['x-session'],
  })
  @Post()
  pay() {
    return { paid: true };
  }
}

/** What a user sees who makes the mistake: what the boot failed with, what was logged, what a client got. */
interface Seen {
  readonly error: string;
  readonly log: string;
  readonly status: number;
  readonly code: string | undefined;
}

let database: TestDatabase;
beforeAll(async () => (database = await createDatabase('better-sqlite3')));
afterAll(() => database?.drop());

const typeOrm = (more: object = {}) =>
  TypeOrmModule.forRoot({
    ...database.options,
    autoLoadEntities: true,
    synchronize: true,
    retryAttempts: 0,
    ...more,
  } as TypeOrmModuleOptions);

async function see({ controllers = [PaymentsController], ...metadata }: ModuleMetadata): Promise<Seen> {
  @Module({ controllers, ...metadata })
  class App {}
  const log = new LogLines();
  let app: INestApplication | undefined;
  try {
    app = await NestFactory.create(App, { logger: log, abortOnError: false });
    await app.listen(0, '127.0.0.1');
    const answer = await call(`${await app.getUrl()}/payments`, { key: 'k', headers: { 'X-Session': '1' } });
    const { code } = JSON.parse(answer.body) as { code?: string };
    return { error: '', log: log.toString(), status: answer.status, code };
  } catch (error) {
    return { error: (error as Error).message, log: log.toString(), status: 0, code: undefined };
  } finally {
    await app?.close();
  }
}

test('nothing is wrong', async () => {
  expect(await see({ imports: [typeOrm(), IdempotencyModule.forRoot()] })).toEqual({
    error: '',
    log: '',
    status: 201,
    code: undefined,
  });
});

test('the module is not imported', async () => {
  const { error } = await see({ imports: [typeOrm()] });
  expect(error).toContain(
    '@Idempotent() needs IdempotencyModule: import IdempotencyModule.forRoot() in the root module',
  );
});

test('the module is not imported: a unit test that calls a controller by itself needs none', async () => {
  const module = await Test.createTestingModule({ controllers: [PaymentsController] }).compile();
  expect(module.get(PaymentsController).pay()).toEqual({ paid: true });
  await expect(module.createNestApplication().init()).rejects.toThrow('@Idempotent() needs IdempotencyModule');
});

// Each request got a 500: the interceptor called what the mocker had made of its own dependency.
test('the module is not imported: a test with `useMocker()` sends requests to the handlers', async () => {
  const mock = new Proxy({}, { get: (_target, name) => (name === 'then' ? undefined : () => undefined) });
  const module = await Test.createTestingModule({ controllers: [PaymentsController] })
    .useMocker(() => mock)
    .compile();
  const app = module.createNestApplication();
  try {
    await app.listen(0, '127.0.0.1');
    const { status, body } = await call(`${await app.getUrl()}/payments`, { headers: { 'X-Session': '1' } });
    expect([status, body]).toEqual([201, '{"paid":true}']);
  } finally {
    await app.close();
  }
});

test('the module is imported twice', async () => {
  const { error } = await see({ imports: [typeOrm(), IdempotencyModule.forRoot(), IdempotencyModule.forRoot()] });
  expect(error).toContain('forRoot() is imported 2 times. Import it once, in the root module');
});

test('the entities are not registered', async () => {
  const { error } = await see({ imports: [typeOrm({ autoLoadEntities: false }), IdempotencyModule.forRoot()] });
  expect(error).toContain('Set `autoLoadEntities: true` in TypeOrmModule.forRoot(), or add IDEMPOTENCY_ENTITIES');
  const mended = typeOrm({ autoLoadEntities: false, entities: [...IDEMPOTENCY_ENTITIES] });
  expect(await see({ imports: [mended, IdempotencyModule.forRoot()] })).toMatchObject({ error: '', status: 201 });
});

test.each<TestDialect>(['better-sqlite3', 'postgres', 'mariadb'])('the tables are missing, on %s', async (dialect) => {
  const empty = await createDatabase(dialect);
  try {
    const options = { ...empty.options, autoLoadEntities: true } as TypeOrmModuleOptions;
    const seen = await see({ imports: [TypeOrmModule.forRoot(options), IdempotencyModule.forRoot()] });
    expect(seen).toMatchObject({ error: '', status: 503, code: 'store-unavailable' });
    const toDo =
      /idempotency_record.*: the library's tables are missing .* Run the migrations of nestjs-idempotency\/migr/;
    // At boot, and of the request: as trouble of the store, and as an error of its route, whose stack follows.
    const lines = seen.log.split('\n').filter((line) => /^(ERROR|WARN) /.test(line));
    expect(lines.map((line) => line.split(' ')[0])).toEqual(['ERROR', 'WARN', 'ERROR']);
    for (const line of lines) expect(line).toMatch(toDo);

    const migrated = {
      ...options,
      migrations: [...IDEMPOTENCY_MIGRATIONS],
      migrationsRun: true,
    } as TypeOrmModuleOptions;
    const mended = await see({ imports: [TypeOrmModule.forRoot(migrated), IdempotencyModule.forRoot()] });
    expect(mended).toMatchObject({ error: '', log: '', status: 201 });
  } finally {
    await empty.drop();
  }
});

test('the factory of forRootAsync() returns nothing', async () => {
  const forgotten = IdempotencyModule.forRootAsync({ useFactory: () => undefined as never });
  const { error } = await see({ imports: [typeOrm(), forgotten] });
  expect(error).toBe('IdempotencyModule.forRootAsync(): the factory has to return the options, and returned none');
});

describe('one module for each request', () => {
  @Injectable({ scope: Scope.REQUEST })
  class RequestLogger {}

  @Module({ providers: [RequestLogger], exports: [RequestLogger] })
  class LoggerModule {}

  @Injectable()
  class Settings {
    constructor(readonly logger: RequestLogger) {}
  }

  @Module({ imports: [LoggerModule], providers: [Settings], exports: [Settings] })
  class SettingsModule {}

  test.each([
    ['a factory injects a provider of request scope', LoggerModule, RequestLogger],
    ['a factory injects a provider that does', SettingsModule, Settings],
  ])('%s', async (_, from, token) => {
    const options = { imports: [from], inject: [token], useFactory: () => ({}) };
    const { error } = await see({ imports: [typeOrm(), IdempotencyModule.forRootAsync(options)] });
    expect(error).toContain('its options or its data source depend on a provider of request scope');
  });

  test('the application has a data source for each request', async () => {
    @Global()
    @Module({
      providers: [
        {
          provide: getDataSourceToken('tenant'),
          scope: Scope.REQUEST,
          useFactory: () => new DataSource(database.options),
        },
      ],
      exports: [getDataSourceToken('tenant')],
    })
    class TenantsModule {}
    const { error } = await see({
      imports: [typeOrm(), TenantsModule, IdempotencyModule.forRoot({ dataSource: 'tenant' })],
    });
    expect(error).toContain('its options or its data source depend on a provider of request scope');
  });

  test('a provider that each of its users has for itself is none', async () => {
    @Injectable({ scope: Scope.TRANSIENT })
    class Log {
      constructor(@Inject(INQUIRER) readonly user: object) {}
    }
    @Module({ providers: [Log], exports: [Log] })
    class LogModule {}
    const options = { imports: [LogModule], inject: [Log], useFactory: () => ({}) };
    const seen = await see({ imports: [typeOrm(), IdempotencyModule.forRootAsync(options)] });
    expect(seen).toMatchObject({ error: '', status: 201 });
  });
});

describe('data sources', () => {
  test('there is none', async () => {
    const { error } = await see({ imports: [IdempotencyModule.forRoot()] });
    expect(error).toContain('there is no default data source. Import TypeOrmModule.forRoot() in the root module');
  });

  test('there is none by default', async () => {
    const { error } = await see({ imports: [typeOrm({ name: 'main' }), IdempotencyModule.forRoot()] });
    expect(error).toContain("or name yours: IdempotencyModule.forRoot({ dataSource: 'name' })");
    const mended = await see({
      imports: [typeOrm({ name: 'main' }), IdempotencyModule.forRoot({ dataSource: 'main' })],
    });
    expect(mended).toMatchObject({ error: '', status: 201 });
  });

  test('there is none by that name', async () => {
    const { error } = await see({ imports: [typeOrm(), IdempotencyModule.forRoot({ dataSource: 'main' })] });
    expect(error).toContain('there is no data source "main"');
  });

  test('its name is in what the factory returns', async () => {
    const imports = (beside: string | undefined) => [
      typeOrm(),
      typeOrm({ name: 'main' }),
      IdempotencyModule.forRootAsync({ dataSource: beside, useFactory: () => ({ dataSource: 'main' }) }),
    ];
    const { error } = await see({ imports: imports(undefined) });
    expect(error).toContain(
      'option `dataSource` stands beside `useFactory` in forRootAsync(), not in what the factory',
    );
    expect(await see({ imports: imports('main') })).toMatchObject({ error: '', status: 201 });
  });

  // As the recipe "SQL (TypeORM)" of Nest's documentation has it.
  test('the application makes it in a provider', async () => {
    let made!: DataSource;
    const provider = {
      provide: 'DATA_SOURCE',
      useFactory: () => {
        made = new DataSource({ ...database.options, entities: [...IDEMPOTENCY_ENTITIES], synchronize: true });
        return made.initialize();
      },
    };
    @Module({ providers: [provider, { provide: DataSource, useExisting: 'DATA_SOURCE' }], exports: [DataSource] })
    class DatabaseModule {}
    const options = { imports: [DatabaseModule], useFactory: () => ({}) };
    const seen = await see({ imports: [IdempotencyModule.forRootAsync(options)] });
    await made.destroy();
    expect(seen).toMatchObject({ error: '', log: '', status: 201 });
  });

  test('one that cannot be opened is reported as that, and not as a missing one', async () => {
    const unreachable = TypeOrmModule.forRoot({
      type: 'postgres',
      host: '127.0.0.1',
      port: await freePort(),
      autoLoadEntities: true,
      retryAttempts: 0,
    });
    const { error } = await see({ imports: [unreachable, IdempotencyModule.forRoot()] });
    expect(error).toContain('ECONNREFUSED');
  });
});

test('an even number of Redis nodes', () => {
  const nodes = [1, 2].map(() => new Redis({ lazyConnect: true }));
  expect(() => IdempotencyModule.forRoot({ redis: nodes })).toThrow(
    'option `redis` lists 2 nodes; Redlock needs an odd number of independent ones, such as 1, 3 or 5',
  );
});

describe('@Idempotent() where it has no effect', () => {
  const message = 'Safe methods such as GET change nothing and are never touched: remove @Idempotent() from';

  test('on a GET', async () => {
    const imports = (audit: 'warn' | 'error' | 'off') => [typeOrm(), IdempotencyModule.forRoot({ audit })];
    const controllers = [PaymentsController, MarkedGetController];
    const warned = await see({ imports: imports('warn'), controllers });
    expect(warned).toMatchObject({ error: '', log: `WARN ${message} MarkedGetController.list Idempotency` });
    const failed = await see({ imports: imports('error'), controllers });
    expect(failed.error).toBe(`IdempotencyModule: ${message} MarkedGetController.list`);
    expect(await see({ imports: imports('off'), controllers })).toMatchObject({ error: '', log: '' });
  });

  test('with @Sse()', async () => {
    const controllers = [PaymentsController, MarkedStreamController];
    const { error } = await see({ imports: [typeOrm(), IdempotencyModule.forRoot()], controllers });
    expect(error).toBe(
      '@Idempotent() on MarkedStreamController.events: server-sent events cannot be replayed, remove @Idempotent() or @Sse()',
    );
  });
});

test('a lease in seconds', async () => {
  const message = 'A lease below a second (numbers are milliseconds) is lost in any pause of that length:';
  const imports = (audit: 'warn' | 'error' | 'off', lease: number | string) => [
    typeOrm(),
    IdempotencyModule.forRoot({ audit, lease: lease as number }),
  ];
  const controllers = [PaymentsController];
  const warned = await see({ imports: imports('warn', 30), controllers });
  expect(warned.error).toBe('');
  expect(warned.log).toMatch(
    new RegExp(`^WARN ${message.replace(/[()]/g, '\\$&')} PaymentsController\\.\\w+ Idempotency$`),
  );
  const failed = await see({ imports: imports('error', 30), controllers });
  expect(failed.error).toContain(`IdempotencyModule: ${message} PaymentsController.`);
  expect(await see({ imports: imports('off', 30), controllers })).toMatchObject({ error: '', log: '' });
  expect(await see({ imports: imports('error', '30s'), controllers })).toMatchObject({ error: '', log: '' });
});

describe('@Idempotent() where nothing passes through it', () => {
  const message = (names: string) =>
    `@Idempotent() on ${names}: it covers handlers of controllers and mutations of resolvers alone. Put it there, or ` +
    'call IdempotencyService.run()';
  const imports = () => [typeOrm(), IdempotencyModule.forRoot({ audit: 'off' })];

  test('on a method of a service', async () => {
    const { error } = await see({ imports: imports(), providers: [MarkedService] });
    expect(error).toBe(message('MarkedService.pay'));
  });

  test('on a service', async () => {
    const { error } = await see({ imports: imports(), providers: [WhollyMarkedService] });
    expect(error).toBe(message('WhollyMarkedService.pay, WhollyMarkedService.refund'));
  });

  // Every retry ran. Under `audit: 'off'`, nothing said so.
  test('below a decorator that replaces the method', async () => {
    const { error } = await see({ imports: imports(), controllers: [RetriedController] });
    expect(error).toBe(
      '@Idempotent() on RetriedController.pay: a decorator above it has replaced the method, and with it what @Idempotent() has put there. ' +
        'Write @Idempotent() above that decorator',
    );
    const mended = await see({ imports: imports(), controllers: [OwnController] });
    expect(mended).toMatchObject({ error: '', status: 201 });
  });

  test("on a controller's helper", async () => {
    const { error } = await see({ imports: imports(), controllers: [PaymentsController, MarkedHelperController] });
    expect(error).toBe(message('MarkedHelperController.charge'));
  });

  test('a controller that is a provider too is one', async () => {
    expect(await see({ imports: imports(), providers: [PaymentsController] })).toMatchObject({
      error: '',
      status: 201,
    });
  });
});

describe('IdempotencyInterceptor where it covers nothing', () => {
  const imports = () => [typeOrm(), IdempotencyModule.forRoot({ audit: 'off' })];
  const message = (names: string) =>
    `IdempotencyInterceptor on ${names}: wired by hand, it covers HTTP routes and mutations alone. Put @Idempotent() on message ` +
    'handlers, and call IdempotencyService.run() in gateways and in handlers of other packages';
  /** `@SubscribeMessage('pay')`, whose handlers have interceptors. */
  const SubscribeMessage = () => SetMetadata('websockets:message_mapping', true);

  @UseInterceptors(IdempotencyInterceptor)
  @Injectable()
  class WiredGateway {
    @SubscribeMessage()
    pay() {}

    helper() {}
  }

  @Injectable()
  class GatewayWithWiredMethod {
    @UseInterceptors(IdempotencyInterceptor)
    @SubscribeMessage()
    pay() {}

    @SubscribeMessage()
    ping() {}
  }

  @Controller('orders')
  class WiredMessagesController {
    @UseInterceptors(IdempotencyInterceptor)
    @Post()
    place() {}

    @UseInterceptors(IdempotencyInterceptor)
    @MessagePattern('orders.place')
    placed() {}
  }

  test.each([
    ['a gateway', [WiredGateway], [], 'WiredGateway.pay'],
    ['a method of a gateway', [GatewayWithWiredMethod], [], 'GatewayWithWiredMethod.pay'],
    ['a message handler', [], [WiredMessagesController], 'WiredMessagesController.placed'],
  ])('on %s', async (_what, providers, controllers, names) => {
    const { error } = await see({ imports: imports(), providers, controllers: [PaymentsController, ...controllers] });
    expect(error).toBe(message(names));
  });

  test('on a class, it is there for its routes', async () => {
    @UseInterceptors(IdempotencyInterceptor)
    @Controller('orders')
    class WiredController {
      @Post()
      place() {}

      @MessagePattern('orders.place')
      placed() {}
    }
    const controllers = [PaymentsController, WiredController];
    expect(await see({ imports: imports(), controllers })).toMatchObject({ error: '', status: 201 });
  });
});

describe('two handlers of one event', () => {
  const imports = () => [typeOrm(), IdempotencyModule.forRoot({ audit: 'off' })];

  /** Two modules of an application may well have classes of one name, and minified ones are all called `e` or `t`. */
  function mailController(pattern: string | string[]) {
    @Controller()
    class MailController {
      @EventPattern<string | string[]>(pattern)
      @Idempotent({ onConflict: 'wait' })
      onOrder() {}
    }
    return MailController;
  }

  class OtherMailController extends mailController('order.placed') {}
  Controller()(OtherMailController);

  test.each([
    ['order.placed', ['order.paid', 'order.placed'], 'order.placed'],
    [['a', 'b'], ['b', 'a'], 'b'],
  ])('%j and %j, with classes of one name', async (one, other, shared) => {
    const { error } = await see({
      imports: imports(),
      controllers: [PaymentsController, mailController(one), mailController(other)],
    });
    expect(error).toBe(
      `@Idempotent() on two handlers that are both EVENT ${shared} MailController.onOrder: they would share their records, ` +
        'and only one would run for each event. Rename the class or the method of one; where a minifier has renamed them, ' +
        'have it keep names',
    );
  });

  test('those of other events, and those that a class inherits, are apart', async () => {
    const controllers = [
      PaymentsController,
      mailController('order.placed'),
      mailController('order.paid'),
      OtherMailController,
    ];
    expect(await see({ imports: imports(), controllers })).toMatchObject({ error: '', status: 201 });
  });
});

describe('guards that name no user, and no scope', () => {
  const warning =
    'WARN POST /payments: guards let a request in that has neither a principal (request.user) nor a credential: such ' +
    'callers share their keys. Name the header or cookie that identifies them in the option `credentials`; or set `scope`, ' +
    'to a constant if they are anonymous Idempotency';
  const imports = () => [typeOrm(), IdempotencyModule.forRoot()];

  test('guards of a controller', async () => {
    expect((await see({ imports: imports(), controllers: [GuardedController] })).log).toBe(warning);
  });

  test('guards of the application', async () => {
    const providers = [{ provide: APP_GUARD, useClass: SessionGuard }];
    expect((await see({ imports: imports(), providers })).log).toBe(warning);
  });

  test('a scope settles it', async () => {
    expect(await see({ imports: imports(), controllers: [ScopedController] })).toMatchObject({ log: '', status: 201 });
  });
});

test('an encryption key of the wrong size', () => {
  // A frequent one: a key in hexadecimal, read as if it were text.
  const key = Buffer.from('00'.repeat(32));
  expect(() => IdempotencyModule.forRoot({ encryption: { current: 'a', keys: { a: key } } })).toThrow(
    'option `encryption.keys.a` must be a Buffer of 32 bytes (AES-256), not 64 bytes: `openssl rand -base64 32` makes ' +
      "one, Buffer.from(text, 'base64') reads it",
  );
});
