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

test('an option that cannot be used is that of the method, and not of forRoot()', async () => {
  const service = await serviceWith({});
  const run = service.run({ key: 'k', operation: 'charge', retention: '7 days' as never }, () => 1);
  await expect(run).rejects.toThrow('IdempotencyService.run(): option `retention` must be milliseconds above zero');
  const options = { key: 'k', operation: 'charge', leese: 5_000 };
  await expect(service.run(options, () => 1)).rejects.toThrow(
    'IdempotencyService.run(): option `leese` does not exist; there are',
  );
  const resolving = service.resolve('7d0f3c1e-8a53-1c9b-6a0e-2f6f5b7d9c11', 'release', {
    retention: '7 days' as never,
  });
  await expect(resolving).rejects.toThrow(
    'IdempotencyService.resolve(): option `retention` must be milliseconds above',
  );
});

describe('namespace', () => {
  const record = { key: 'k', scope: 'ada', operation: 'charge' };

  test('two applications on one database do not meet', async () => {
    const services: IdempotencyService[] = [];
    for (const namespace of ['billing', 'warehouse', undefined]) services.push(await serviceWith({ namespace }));
    const [billing, warehouse, none] = services;
    for (const service of services) expect(await service.find(record)).toBeNull();
    const run = (service: IdempotencyService, value: string) => service.run(record, () => value);
    expect([await run(billing, 'b'), await run(warehouse, 'w'), await run(none, 'n')]).toEqual(['b', 'w', 'n']);
    expect([await run(billing, '-'), await run(warehouse, '-'), await run(none, '-')]).toEqual(['b', 'w', 'n']);
    const ids = await Promise.all(services.map(async (service) => (await service.find(record))!.id));
    expect(new Set(ids).size).toBe(3);

    expect(await billing.forget(ids[0])).toBe(true);
    expect(await billing.find(record)).toBeNull();
    expect(await run(billing, 'again')).toBe('again');
    expect(await run(warehouse, '-')).toBe('w');
    // A record does not say whose it is: the list is of the table.
    expect(await warehouse.list({ operation: 'charge' })).toHaveLength(3);
  });

  test('two instances of one application meet', async () => {
    const [one, other] = [await serviceWith({ namespace: 'billing' }), await serviceWith({ namespace: 'billing' })];
    expect(await one.run(record, () => 1)).toBe(1);
    expect(await other.run(record, () => 2)).toBe(1);
  });
});
