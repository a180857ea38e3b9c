import { randomUUID } from 'node:crypto';
import { Controller, type INestApplication, Module, Post } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule, Idempotent } from '../../../lib/index.js';
import { IdempotencyFaults, IdempotencyFaultsModule } from '../../../lib/testing/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { until } from '../../support/until.js';

@Controller()
class PaymentsController {
  @Post('payments')
  @Idempotent({ afterCrash: 'hold' })
  pay() {
    return 'paid';
  }
}

describe('a record that is held', () => {
  let database: TestDatabase;
  let app: INestApplication;
  const errors: string[] = [];

  beforeAll(async () => {
    database = await createDatabase('better-sqlite3');
    @Module({
      imports: [
        TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, synchronize: true }),
        IdempotencyModule.forRoot({ lease: 300, audit: 'off' }),
        IdempotencyFaultsModule,
      ],
      controllers: [PaymentsController],
    })
    class App {}
    const module = await Test.createTestingModule({ imports: [App] }).compile();
    const ignore = () => undefined;
    app = module.createNestApplication({
      logger: { log: ignore, warn: ignore, error: (message: string) => errors.push(message) },
    });
    await app.listen(0, '127.0.0.1');
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  it('is an error in the log, once, as a person has to settle it', async () => {
    const [key, url] = [randomUUID(), `${await app.getUrl()}/payments`];
    app.get(IdempotencyFaults).crashAt('before complete');
    await expect(call(url, { key })).rejects.toThrow();
    const isHeld = async () => (await call(url, { key })).body.includes('outcome-unknown');
    await until(isHeld);
    expect(await isHeld()).toBe(true);
    expect(errors.map((error) => error.replace(/[0-9a-f-]{36}/, '<id>'))).toEqual([
      'POST /payments: record <id> is held, as its outcome is unknown: find out whether the operation happened, and resolve the record',
    ]);
  });
});
