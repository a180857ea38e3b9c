import { Module } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule, type IdempotencyModuleOptions, IdempotencyService } from '../../../lib/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';

let database: TestDatabase;
const open: (() => Promise<void>)[] = [];

beforeEach(async () => {
  database = await createDatabase('better-sqlite3');
});
afterEach(async () => {
  for (const close of open.splice(0)) await close();
  await database.drop();
});

async function serviceWith(options: IdempotencyModuleOptions): Promise<IdempotencyService> {
  @Module({
    imports: [
      TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, synchronize: true } as never),
      IdempotencyModule.forRoot({ sweep: false, ...options }),
    ],
  })
  class App {}
  const app = await (await Test.createTestingModule({ imports: [App] }).compile()).init();
  open.push(() => app.close());
  return app.get(IdempotencyService);
}

describe('what run() keeps of its input', () => {
  const kept = async (service: IdempotencyService, input: unknown) => {
    const { key, operation } = { key: JSON.stringify(input), operation: 'charge' };
    await service.run({ key, operation, input }, () => 1);
    return (await service.find({ key, operation }))!.request?.toString() ?? null;
  };

  test('is without what request.redact points to, and that still counts', async () => {
    const service = await serviceWith({ request: { redact: ['/card/number'] } });
    const input = { card: { number: '4111111111111111' }, amount: 5 };
    expect(await kept(service, input)).toBe('{"amount":5,"card":{"number":"[redacted]"}}');
    const other = { ...input, card: { number: '4222222222222222' } };
    const again = service.run({ key: JSON.stringify(input), operation: 'charge', input: other }, () => 2);
    await expect(again).rejects.toMatchObject({ code: 'key-reused' });
  });

  test('is at most request.maxBytes bytes', async () => {
    const service = await serviceWith({ request: { maxBytes: 10 } });
    expect(await kept(service, 'üüüü')).toBe('"üüüü"');
    expect(await kept(service, 'üüüüü')).toBeNull();
  });

  test('is nothing with request.store: false', async () => {
    expect(await kept(await serviceWith({ request: { store: false } }), { amount: 5 })).toBeNull();
  });
});
