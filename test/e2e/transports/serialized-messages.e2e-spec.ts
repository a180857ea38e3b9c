import {
  ClassSerializerInterceptor,
  Controller,
  type ExecutionContext,
  type INestMicroservice,
  SerializeOptions,
} from '@nestjs/common';
import { NestFactory, Reflector } from '@nestjs/core';
import { type ClientProxy, ClientProxyFactory, MessagePattern, Transport } from '@nestjs/microservices';
import { Exclude, Expose, Transform } from 'class-transformer';
import { lastValueFrom, of } from 'rxjs';
import { Idempotent, IdempotencyService } from '../../../lib/index.js';
import { appModule } from '../../support/app-module.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';

class User {
  readonly name = 'Ada';
  @Exclude() readonly secret = 'hidden';
  @Transform(({ value }) => (value as Date).toISOString(), { toPlainOnly: true }) readonly since = new Date(0);

  @Expose() get title(): string {
    return `Ms ${this.name}`;
  }
}

const key = (context: ExecutionContext) => context.switchToRpc().getData<string>();

@Controller()
class UsersController {
  @MessagePattern('create')
  @Idempotent({ key })
  create() {
    return { user: new User() };
  }

  @MessagePattern('create-several')
  @Idempotent({ key })
  several() {
    return of([new User()], [new User(), new User()]);
  }

  @MessagePattern('create-typed')
  @SerializeOptions({ type: User })
  @Idempotent({ key })
  typed() {
    return new User();
  }
}

/** A replay of the stored members had what `@Exclude()` hides. */
describe('messages that ClassSerializerInterceptor serializes', () => {
  let database: TestDatabase;
  let app: INestMicroservice;
  let client: ClientProxy;

  beforeAll(async () => {
    database = await createDatabase('better-sqlite3');
    const options = { host: '127.0.0.1', port: await freePort() };
    app = await NestFactory.createMicroservice(appModule(database, [UsersController]), {
      transport: Transport.TCP,
      options,
      logger: false,
    });
    app.useGlobalInterceptors(new ClassSerializerInterceptor(app.get(Reflector)));
    await app.listen();
    client = ClientProxyFactory.create({ transport: Transport.TCP, options });
  });
  afterAll(async () => {
    await client?.close();
    await app?.close();
    await database?.drop();
  });

  const send = (pattern: string) => lastValueFrom(client.send<unknown>(pattern, pattern));
  const user = { name: 'Ada', since: new Date(0).toISOString(), title: 'Ms Ada' };

  test.each([
    ['create', { user }],
    ['create-several', [user, user]],
    ['create-typed', user],
  ])('%s: a replay is the same', async (pattern, value) => {
    expect([await send(pattern), await send(pattern)]).toEqual([value, value]);
  });

  test('the record does not have what is excluded', async () => {
    const record = await app.get(IdempotencyService).find({ key: 'create', operation: 'RPC create' });
    expect(record!.responseBody!.toString()).toBe(JSON.stringify({ user }));
  });
});
