import { randomUUID } from 'node:crypto';
import { Controller, type INestApplication, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { IDEMPOTENCY_ENTITIES, Idempotent, IdempotencyModule, IdempotencyService } from '../../../lib/index.js';
import { LogLines } from '../../conformance/support/app.js';
import { createDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { TcpProxy } from '../../support/proxy.js';
import { until } from '../../support/until.js';

const handlers = { running: 0, end: Promise.resolve() as Promise<void> };

@Controller()
class PaymentsController {
  @Idempotent()
  @Post('plain')
  async plain() {
    handlers.running++;
    await handlers.end;
    return 'paid';
  }

  @Idempotent({ transactional: true })
  @Post('transactional')
  transactional() {
    return 'paid';
  }
}

const ends: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function boot(options: object, log: LogLines): Promise<INestApplication> {
  const entities = [...IDEMPOTENCY_ENTITIES];
  @Module({
    imports: [
      TypeOrmModule.forRoot({ ...options, entities } as never),
      IdempotencyModule.forRoot({ storeTimeout: '1s', lease: '2s', audit: 'off', sweep: false }),
    ],
    controllers: [PaymentsController],
  })
  class App {}
  const app = await NestFactory.create(App, { logger: log, abortOnError: false });
  ends.push(() => app.close());
  await app.listen(0, '127.0.0.1');
  return app;
}

// With tables missing, each request logged an error with its stack.
test.each(['postgres', 'better-sqlite3'] as const)(
  '%s refuses every claim: a line for many requests',
  async (dialect) => {
    const database = await createDatabase(dialect);
    ends.push(() => database.drop());
    const log = new LogLines();
    const app = await boot(database.options, log);
    const before = log.lines.length;
    const url = await app.getUrl();
    const paths = Array.from({ length: 20 }, (_, i) => (i % 2 ? 'plain' : 'transactional'));
    const answers = await Promise.all(paths.map((path) => call(`${url}/${path}`, { key: randomUUID() })));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]));
    await expect(app.get(IdempotencyService).run({ key: 'k', operation: 'job' }, () => 1)).rejects.toThrow();
    expect(log.lines.slice(before)).toEqual([
      expect.stringMatching(
        /^WARN The database cannot be asked: .*idempotency_record.*the library's tables are missing/,
      ),
      expect.stringMatching(/^ERROR POST \/\w+: .*idempotency_record.*the library's tables are missing[^]+\n +at /),
    ]);
  },
);

// The lines were all alike: what may have happened without an outcome could not be looked up.
test('operations whose outcome is lost are named, each by its record', async () => {
  const database = await createDatabase('postgres');
  ends.push(() => database.drop());
  const entities = [...IDEMPOTENCY_ENTITIES];
  const admin = await new DataSource({ ...database.options, entities, synchronize: true }).initialize();
  ends.push(() => admin.destroy());
  const proxy = await TcpProxy.listen(database.options.port!);
  ends.push(() => proxy.close());
  const log = new LogLines();
  const app = await boot({ ...database.options, port: proxy.port }, log);
  const url = await app.getUrl();
  let end = (): void => undefined;
  handlers.end = new Promise((resolve) => (end = resolve));
  const keys = [randomUUID(), randomUUID()];
  const asked = keys.map((key) => call(`${url}/plain`, { key }));
  await until(() => handlers.running === keys.length);
  await proxy.refuse(true);
  proxy.cut();
  end();
  expect((await Promise.all(asked)).map(({ status }) => status)).toEqual([503, 503]);
  const ids = await admin.query<{ id: string }[]>('SELECT id FROM idempotency_record');
  for (const { id } of ids)
    expect(log.lines).toContainEqual(
      expect.stringMatching(new RegExp(`^WARN POST /plain: The operation ran, .* Record ${id}: connect ECONNREFUSED`)),
    );
  await proxy.refuse(false);
});
