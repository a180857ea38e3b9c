import { randomBytes, randomUUID } from 'node:crypto';
import { Body, Controller, Post } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution } from '../../lib/index.js';
import { isReplay } from './support/cases.js';
import { type RunningApp, startApp } from './support/app.js';
import { send } from './support/raw-http.js';

/** Each tenant has a schema: a connection is moved there, and names the tenant's tables without a schema. */
const DIALECTS = {
  postgres: {
    platform: 'express',
    leave: (tenant: string) => `SET search_path TO ${tenant}`,
    enter: (tenant: string) => `SET LOCAL search_path TO ${tenant}`,
    create: (tenant: string) => [`CREATE SCHEMA ${tenant}`, `CREATE TABLE ${tenant}.bookings (id int)`],
    remove: (tenant: string) => `DROP SCHEMA ${tenant} CASCADE`,
  },
  mariadb: {
    platform: 'fastify',
    leave: (tenant: string) => `USE ${tenant}`,
    enter: (tenant: string) => `USE ${tenant}`,
    create: (tenant: string) => [`CREATE DATABASE ${tenant}`, `CREATE TABLE ${tenant}.bookings (id int)`],
    remove: (tenant: string) => `DROP DATABASE ${tenant}`,
  },
} as const;

type Dialect = keyof typeof DIALECTS;

const tenant = `tenant_${randomBytes(4).toString('hex')}`;
const INSERT = 'INSERT INTO bookings VALUES (1)';

@Controller('bookings')
class BookingsController {
  constructor(private readonly dataSource: DataSource) {}

  @Idempotent({ transactional: true })
  @Post('transactional')
  async book(@IdempotentExecution() { manager }: Execution, @Body('enter') enter: string) {
    await manager.query(enter);
    await manager.query(INSERT);
    return { booked: true };
  }

  /** Leaves the connection in the schema, as a pool that belongs to one tenant at a time does. */
  @Idempotent()
  @Post('plain')
  async plain(@Body('leave') leave: string) {
    await this.dataSource.transaction(async (manager) => {
      await manager.query(leave);
      await manager.query(INSERT);
    });
    return { booked: true };
  }
}

describe.each(['postgres', 'mariadb'] as const)('a schema for each tenant on %s', (dialect: Dialect) => {
  const { platform, enter, leave, create, remove } = DIALECTS[dialect];
  let app: RunningApp;

  beforeAll(async () => {
    // The store shares the pool, and so the connections that handlers leave in a schema.
    app = await startApp(platform, {
      dialect,
      options: { storeConnections: 0 },
      controllers: [BookingsController],
    });
    for (const statement of create(tenant)) await app.dataSource.query(statement);
  });

  afterAll(async () => {
    await app?.dataSource.query(remove(tenant)).catch(() => undefined);
    await app?.close();
  });

  const bookings = async () => ((await app.dataSource.query(`SELECT id FROM ${tenant}.bookings`)) as unknown[]).length;

  test.each(['transactional', 'plain'])('a %s operation writes in it, and its outcome is recorded', async (kind) => {
    const before = await bookings();
    const request = () => ({
      path: `/bookings/${kind}`,
      key: randomUUID(),
      body: { enter: enter(tenant), leave: leave(tenant) },
    });
    const sent = [request(), request(), request()];
    for (const one of sent) expect(await send(app.port, one)).toMatchObject({ status: 201 });
    for (const one of sent) {
      const retried = await send(app.port, one);
      expect([retried.status, isReplay(retried)]).toEqual([201, true]);
    }
    expect((await bookings()) - before).toBe(3);
    expect(app.log.lines).toEqual([]);
  });
});
