import { randomBytes, randomUUID } from 'node:crypto';
import { Body, Controller, type INestApplication, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import {
  type Execution,
  IDEMPOTENCY_ENTITIES,
  Idempotent,
  IdempotencyModule,
  IdempotentExecution,
} from '../../../lib/index.js';
import { LogLines } from '../../conformance/support/app.js';
import { createDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { TcpProxy } from '../../support/proxy.js';

/** Each tenant has a schema, which a handler moves its connection to. */
const DIALECTS = {
  postgres: { create: 'CREATE SCHEMA', enter: 'SET search_path TO' },
  mariadb: { create: 'CREATE DATABASE', enter: 'USE' },
} as const;

@Controller('bookings')
class BookingsController {
  @Idempotent({ transactional: true })
  @Post()
  async book(@IdempotentExecution() { manager }: Execution, @Body('enter') enter: string) {
    await manager.query(enter);
    await manager.query('INSERT INTO bookings VALUES (1)');
    return { booked: true };
  }
}

const ends: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** Boots while the database is down, which the data source notices at once, or which only the boot check notices. */
async function bootWithoutDatabase(options: object, proxy: TcpProxy, initializesLater: boolean) {
  const disconnect = async () => {
    await proxy.refuse(true);
    proxy.cut();
  };
  @Module({
    imports: [
      TypeOrmModule.forRootAsync({
        useFactory: () =>
          ({ ...options, port: proxy.port, manualInitialization: initializesLater }) as TypeOrmModuleOptions,
        dataSourceFactory: async (given) => {
          const dataSource = new DataSource(given!);
          if (!initializesLater) await dataSource.initialize();
          await disconnect();
          return dataSource;
        },
      }),
      IdempotencyModule.forRoot({ sweep: false }),
    ],
    controllers: [BookingsController],
  })
  class App {}
  const log = new LogLines();
  const settings = { logger: log, abortOnError: false } as const;
  const app: INestApplication = initializesLater
    ? await NestFactory.create(App, new FastifyAdapter() as never, settings)
    : await NestFactory.create(App, settings);
  ends.push(() => app.close());
  await app.listen(0, '127.0.0.1');
  return { app, log };
}

// The statements named no schema until a restart, and looked for the record in the tenant's.
describe.each(['postgres', 'mariadb'] as const)('%s is down at boot, and a handler moves its connection', (dialect) => {
  test.each([
    ['the data source is initialized later', true, /^WARN The data source is not initialized/],
    ['the boot check fails', false, /^ERROR The boot check could not ask for the version/],
  ])('%s', async (_when, initializesLater, logged) => {
    const database = await createDatabase(dialect);
    ends.push(() => database.drop());
    const { create, enter } = DIALECTS[dialect];
    const tenant = `tenant_${randomBytes(4).toString('hex')}`;
    const options = { ...database.options, entities: [...IDEMPOTENCY_ENTITIES] };
    const admin = await new DataSource({ ...options, synchronize: true } as never).initialize();
    ends.push(() => admin.destroy());
    await admin.query(`${create} ${tenant}`);
    ends.push(() => (dialect === 'mariadb' ? admin.query(`DROP DATABASE ${tenant}`) : Promise.resolve()));
    await admin.query(`CREATE TABLE ${tenant}.bookings (id int)`);

    const proxy = await TcpProxy.listen(database.options.port!);
    ends.push(() => proxy.close());
    const { app, log } = await bootWithoutDatabase(options, proxy, initializesLater);
    expect(log.lines).toContainEqual(expect.stringMatching(logged));
    await proxy.refuse(false);
    if (initializesLater) await app.get(DataSource).initialize();

    const url = `${await app.getUrl()}/bookings`;
    const keys = [randomUUID(), randomUUID()];
    const before = log.lines.length;
    for (const key of keys) {
      const book = () => call(url, { key, body: { enter: `${enter} ${tenant}` } });
      expect(await book()).toMatchObject({ status: 201 });
      expect(await book()).toMatchObject({ status: 201, headers: { 'idempotent-replayed': 'true' } });
    }
    expect(await admin.query(`SELECT id FROM ${tenant}.bookings`)).toHaveLength(2);
    expect(log.lines.slice(before)).toEqual([]);
  });
});
