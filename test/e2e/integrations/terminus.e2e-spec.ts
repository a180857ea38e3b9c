import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Controller, Get, type INestApplication, Module, Post } from '@nestjs/common';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import { Test } from '@nestjs/testing';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { Redis } from 'ioredis';
import { DataSource } from 'typeorm';
import { Idempotent, IdempotencyModule, type IdempotencyModuleOptions } from '../../../lib/index.js';
import {
  IdempotencyHealthIndicator,
  type IdempotencyHealthOptions,
  type LockHealth,
  type StoreHealth,
} from '../../../lib/integrations/terminus/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { TcpProxy } from '../../support/proxy.js';
import { type Server, startPostgres, startRedis } from '../../support/servers.mjs';

let options: IdempotencyHealthOptions = {};

@Controller()
class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly idempotency: IdempotencyHealthIndicator,
  ) {}

  @Get('health')
  @HealthCheck()
  check() {
    return this.health.check([() => this.idempotency.isHealthy('idempotency', options)]);
  }

  @Post('orders')
  @Idempotent()
  order() {
    return {};
  }
}

interface Health {
  readonly http: number;
  readonly status: string;
  readonly store: StoreHealth;
  readonly lock?: LockHealth;
  readonly body: string;
}

class HealthyApp {
  private constructor(
    readonly app: INestApplication,
    private readonly url: string,
  ) {}

  static async boot(database: object, module: IdempotencyModuleOptions = {}): Promise<HealthyApp> {
    @Module({
      imports: [
        TypeOrmModule.forRoot({
          ...database,
          autoLoadEntities: true,
          synchronize: true,
          retryAttempts: 0,
        } as TypeOrmModuleOptions),
        IdempotencyModule.forRoot({ audit: 'off', sweep: false, ...module }),
        TerminusModule.forRoot({ logger: false }),
      ],
      controllers: [HealthController],
      providers: [IdempotencyHealthIndicator],
    })
    class App {}
    const app = (await Test.createTestingModule({ imports: [App] }).compile()).createNestApplication({ logger: false });
    await app.listen(0, '127.0.0.1');
    return new HealthyApp(app, await app.getUrl());
  }

  async health(): Promise<Health> {
    const { status: http, body } = await call(`${this.url}/health`, { method: 'GET' });
    const { details } = JSON.parse(body) as { details: { idempotency: Omit<Health, 'http' | 'body'> } };
    return { http, body, ...details.idempotency };
  }

  async until(condition: (health: Health) => boolean): Promise<Health> {
    for (const giveUpAt = Date.now() + 20_000; ; await sleep(50)) {
      const health = await this.health();
      if (condition(health)) return health;
      if (Date.now() > giveUpAt) throw new Error(`not so: ${condition.toString()}: ${health.body}`);
    }
  }

  order() {
    return call(`${this.url}/orders`, { key: randomUUID() });
  }
}

/** The client of a stopped node is between two tries to connect, or in the middle of one. */
const OUT = /^(not connected|no answer)$/;
const STORE_UP = { status: 'up', responseTime: expect.any(Number) as number };

describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)('the tables, on %s', (dialect) => {
  let database: TestDatabase;
  let healthy: HealthyApp;

  beforeAll(async () => {
    database = await createDatabase(dialect);
    healthy = await HealthyApp.boot(database.options);
  });

  afterAll(async () => {
    await healthy?.app.close();
    await database?.drop();
  });

  test('up, without a lock: nothing is said of one, and nothing written', async () => {
    const health = await healthy.health();
    expect(health).toEqual({ http: 200, body: health.body, status: 'up', store: STORE_UP });
    const { responseTime } = health.store;
    expect(responseTime).toBeGreaterThan(0);
    const [row] = await healthy.app.get(DataSource).query('SELECT COUNT(*) AS count FROM idempotency_record');
    expect(Number((row as { count: unknown }).count)).toBe(0);
  });

  test.each([
    ['a column', 'ALTER TABLE idempotency_record RENAME COLUMN response_head TO gone'],
    ['the steps', 'ALTER TABLE idempotency_step RENAME TO gone'],
    ['the records', 'DROP TABLE idempotency_record'],
  ])('%s missing', async (_what, statement) => {
    const dataSource = healthy.app.get(DataSource);
    await dataSource.query(statement);
    const health = await healthy.health();
    expect(health).toMatchObject({ http: 503, status: 'down', store: { status: 'down', reason: 'table-missing' } });
    // An address, a statement or a name would be more than a health check should reveal.
    expect(health.body).not.toMatch(/idempotency_(record|step)|127\.0\.0\.1|SELECT|UPDATE/);
    await dataSource.synchronize(true);
    expect((await healthy.health()).status).toBe('up');
  });
});

test('a database that takes no writes', async () => {
  const database = await createDatabase('postgres');
  // What is set for its one connection has to be that of the store.
  const healthy = await HealthyApp.boot({ ...database.options, poolSize: 1 }, { storeConnections: 0 });
  const dataSource = healthy.app.get(DataSource);
  const { database: name } = database.options;
  // For its one connection, and for the one that is opened in its place.
  await dataSource.query(`ALTER DATABASE ${name} SET default_transaction_read_only = on`);
  await dataSource.query('SET default_transaction_read_only = on');
  expect((await healthy.health()).store).toMatchObject({ status: 'down', reason: 'read-only', code: '25006' });
  await dataSource.query('SET default_transaction_read_only = off');
  await dataSource.query(`ALTER DATABASE ${name} RESET default_transaction_read_only`);
  expect((await healthy.health()).store).toEqual(STORE_UP);
  await healthy.app.close();
  await database.drop();
});

describe('the database goes away', () => {
  let server: Server;
  let proxy: TcpProxy;
  let healthy: HealthyApp;

  beforeAll(async () => {
    server = await startPostgres();
    proxy = await TcpProxy.listen(server.port);
    healthy = await HealthyApp.boot(
      { type: 'postgres', host: '127.0.0.1', port: proxy.port, username: 'postgres', database: 'test' },
      { storeTimeout: 500 },
    );
  });

  afterEach(() => (options = {}));

  afterAll(async () => {
    await healthy?.app.close();
    await proxy?.close();
    await server?.dispose();
  });

  test('stopped: down, unreachable; started again: up', async () => {
    expect((await healthy.health()).status).toBe('up');
    await server.stop();
    const health = await healthy.until(({ status }) => status === 'down');
    expect(health).toMatchObject({ http: 503, store: { reason: 'unreachable' } });
    expect((await healthy.order()).status).toBe(503);
    await server.start();
    await healthy.until(({ status }) => status === 'up');
    expect((await healthy.order()).status).toBe(201);
  });

  test('refusing connections: unreachable, with its code', async () => {
    await proxy.refuse(true);
    proxy.cut();
    await healthy.until(({ store }) => store.status === 'down' && store.code === 'ECONNREFUSED');
    expect((await healthy.health()).store).toMatchObject({ reason: 'unreachable' });
    await proxy.refuse(false);
    await healthy.until(({ status }) => status === 'up');
  });

  test('silent: no answer, within the time limit, and without a connection for every probe', async () => {
    options = { timeout: 300 };
    await healthy.health();
    proxy.blackhole(true);
    const before = proxy.connections;
    const startedAt = performance.now();
    const probes = await Promise.all(Array.from({ length: 8 }, () => healthy.health()));
    expect(performance.now() - startedAt).toBeLessThan(3_000);
    for (const { http, store } of probes) {
      expect(http).toBe(503);
      expect(store).toMatchObject({ status: 'down', reason: 'no-answer' });
      expect(store.responseTime).toBeGreaterThanOrEqual(250);
    }
    expect(proxy.connections).toBeLessThanOrEqual(before + 1);
    proxy.blackhole(false);
    await healthy.until(({ status }) => status === 'up');
  });
});

describe('the lock', () => {
  let database: TestDatabase;
  let nodes: Server[];
  let clients: Redis[];
  let proxies: TcpProxy[];
  let healthy: HealthyApp;
  let strict: HealthyApp;

  beforeAll(async () => {
    database = await createDatabase('better-sqlite3');
    nodes = await Promise.all([startRedis(), startRedis(), startRedis()]);
    proxies = await Promise.all(nodes.map(({ port }) => TcpProxy.listen(port)));
    clients = proxies.map(({ port }) => {
      // ioredis's own defaults: an offline queue, and no time limit for commands.
      const client = new Redis({ host: '127.0.0.1', port, disconnectTimeout: 50, retryStrategy: () => 50 });
      return client.on('error', () => undefined);
    });
    const redlock = { attemptTimeout: 1_000, retryAfter: 50 };
    healthy = await HealthyApp.boot(database.options, { redis: clients, redlock });
    strict = await HealthyApp.boot(database.options, { redis: clients, redlock, onLockUnavailable: 'reject' });
    await healthy.until(({ lock }) => lock?.answering === 3);
  });

  afterEach(() => (options = {}));

  afterAll(async () => {
    await healthy?.app.close();
    await strict?.app.close();
    for (const client of clients ?? []) client.disconnect();
    for (const proxy of proxies ?? []) await proxy.close();
    await Promise.all((nodes ?? []).map((node) => node.dispose()));
    await database?.drop();
  });

  test('all answer', async () => {
    const health = await healthy.health();
    expect(health).toMatchObject({ http: 200, status: 'up', store: STORE_UP });
    expect(health.lock).toEqual({
      status: 'up',
      nodes: 3,
      answering: 3,
      quorum: 2,
      responseTime: expect.any(Number) as number,
    });
  });

  test('one stopped: up, and counted', async () => {
    await nodes[0].stop();
    const { lock, status } = await healthy.until((health) => health.lock?.answering === 2);
    expect(status).toBe('up');
    expect(lock).toMatchObject({ status: 'up', quorum: 2, failures: [expect.stringMatching(OUT)] });
  });

  test('two out, one stopped and one silent: degraded, and no failure unless that is asked for', async () => {
    proxies[1].blackhole(true);
    const health = await healthy.until(({ lock }) => lock?.answering === 1);
    expect(health).toMatchObject({ http: 200, status: 'degraded', store: STORE_UP, lock: { status: 'degraded' } });
    expect(JSON.parse(health.body)).toMatchObject({ status: 'degraded' });
    expect(health.lock!.failures).toEqual([expect.stringMatching(OUT), 'no answer']);
    expect(health.body).not.toContain('127.0.0.1');
    expect((await healthy.order()).status).toBe(201);

    options = { withoutLock: 'down' };
    expect(await healthy.health()).toMatchObject({ http: 503, status: 'down', lock: { status: 'down' } });
  });

  test('down where requests are refused without the lock', async () => {
    expect(await strict.until(({ lock }) => lock?.answering === 1)).toMatchObject({ http: 503, status: 'down' });
    expect((await strict.order()).status).toBe(503);
    options = { withoutLock: 'degraded' };
    expect(await strict.health()).toMatchObject({ http: 200, status: 'degraded' });
  });

  test('back again', async () => {
    proxies[1].blackhole(false);
    await nodes[0].start();
    await healthy.until(({ lock }) => lock?.answering === 3);
    expect(await healthy.until(({ status }) => status === 'up')).toMatchObject({ http: 200 });
  });

  test('a node that answers, and takes no writes', async () => {
    const direct = new Redis({ host: '127.0.0.1', port: nodes[2].port });
    await direct.replicaof('127.0.0.1', 1);
    const { lock } = await healthy.until((health) => health.lock?.answering === 2);
    expect(lock!.failures).toEqual(['refused: READONLY']);
    await direct.replicaof('NO', 'ONE');
    await healthy.until((health) => health.lock?.answering === 3);
    direct.disconnect();
  });
});
