import 'reflect-metadata';
import {
  All,
  Catch,
  Controller,
  type ExceptionFilter,
  Get,
  Header,
  Injectable,
  Next,
  RequestMethod,
  Res,
  SerializeOptions,
  SetMetadata,
  Sse,
  UseGuards,
  UseInterceptors,
  Version,
} from '@nestjs/common';
import { isRejectedByPipes } from '@nestjs/core/internal.js';
import { Mutation, ObjectType, ResolveField } from '@nestjs/graphql';
import multipart from '@fastify/multipart';
import { EventPattern, MessagePattern } from '@nestjs/microservices';
import { FastifyAdapter, RouteConstraints } from '@nestjs/platform-fastify';
import { ServerResponse } from 'node:http';
import { DataSource } from 'typeorm';
import * as nest from '../../../lib/private-names/nest.js';
import type { MultipartFileInternals } from '../../../lib/private-names/fastify-multipart.js';
import type {
  Mysql2ConnectionInternals,
  Mysql2PoolInternals,
  Mysql2ResultInternals,
} from '../../../lib/private-names/mysql2.js';
import type {
  PgCancelInternals,
  PgClientInternals,
  PgPoolInternals,
  PgSocketInternals,
} from '../../../lib/private-names/pg.js';
import {
  connectingDriverOf,
  leaveToItsOwner,
  mysqlDriverOf,
  postgresPoolOf,
  setTransactionState,
  sqliteConnectionOf,
} from '../../../lib/private-names/typeorm.js';
import { createDatabase, type TestDatabase, type TestDialect } from '../../support/database.js';

class Guard {
  canActivate() {
    return true;
  }
}

class Interceptor {
  intercept() {}
}

@ObjectType('KnownByItsName')
class NamedType {}

@Controller({ path: 'all', host: 'one.localhost', version: '1' })
@UseGuards(Guard as never)
@UseInterceptors(Interceptor as never)
class Handlers {
  @All('any')
  @Version('2')
  @Header('X-One', 'one')
  @Header('X-Two', () => 'two')
  @RouteConstraints({ host: 'two.localhost', tenant: 'a', brand: 'b' })
  any() {}

  @Sse('events')
  @SerializeOptions({ type: Guard })
  events() {}

  @Get('native')
  native(@Res() _response: unknown) {}

  @Get('next')
  next(@Next() _next: unknown) {}

  @Get('passed')
  passed(@Res({ passthrough: true }) _response: unknown) {}

  @MessagePattern('orders.create')
  create(_data: unknown) {}

  @EventPattern('orders.created')
  created(_data: unknown) {}

  @Mutation(() => String)
  pay() {}

  @ResolveField(() => String)
  payer() {}
}

@Injectable()
class Injected {}

@Catch(TypeError)
class Filter implements ExceptionFilter {
  catch() {}
}

function handlers(...names: (keyof Handlers)[]): object[] {
  return names.map((name) => Handlers.prototype[name]);
}

describe('private names of other packages', () => {
  const databases: TestDatabase[] = [];
  const dataSources: DataSource[] = [];

  afterAll(async () => {
    await Promise.all(dataSources.map((dataSource) => dataSource.destroy()));
    await Promise.all(databases.map((database) => database.drop()));
  });

  async function connect(dialect: TestDialect): Promise<DataSource> {
    const database = await createDatabase(dialect);
    databases.push(database);
    const dataSource = await new DataSource(database.options).initialize();
    dataSources.push(dataSource);
    return dataSource;
  }

  it('are what Nest calls the metadata of its decorators', () => {
    const [any, events] = handlers('any', 'events');
    expect({
      http: handlers('any', 'create').map(nest.isHttpHandler),
      method: nest.requestMethodOf(any),
      hosts: [
        nest.isLimitedToHosts(Handlers, events),
        nest.isLimitedToHosts(Injected, any),
        nest.isLimitedToHosts(Injected, events),
      ],
      versions: [nest.versionOf(Handlers, events), nest.versionOf(Handlers, any)],
      sse: [events, any].map(nest.isEventStream),
      headers: nest.computedHeadersOf(any),
      injectable: [Injected, Guard].map(nest.isInjectable),
      guards: [nest.hasGuards(Handlers, any), nest.hasGuards(Injected, any)],
      interceptors: nest.interceptorsOf(Handlers),
      serialized: [events, any].map((handler) => nest.namesSerializedType(Handlers, handler)),
      catches: nest.caughtBy(new Filter()),
      patterns: handlers('create', 'created').map(nest.messagePatternsOf),
      messages: handlers('create', 'created', 'any').map(nest.isMessageHandler),
      listeners: handlers('create', 'created').map(nest.isEventHandler),
      mutations: handlers('pay', 'payer').map(nest.isMutation),
      fields: handlers('pay', 'payer').map(nest.isResolvedField),
    }).toEqual({
      http: [true, false],
      method: RequestMethod.ALL,
      hosts: [true, true, false],
      versions: ['1', '2,brand=b,tenant=a'],
      sse: [true, false],
      headers: ['x-two'],
      injectable: [true, false],
      guards: [true, false],
      interceptors: [Interceptor],
      serialized: [true, false],
      catches: [TypeError],
      patterns: [['orders.create'], ['orders.created']],
      messages: [true, true, false],
      listeners: [false, true],
      mutations: [true, false],
      fields: [false, true],
    });
  });

  it('are where @nestjs/graphql keeps the classes of object types', () => {
    const named = expect.objectContaining({ name: 'KnownByItsName', target: NamedType }) as object;
    expect(nest.graphqlObjectTypes()).toContainEqual(named);
  });

  it('are what Nest calls the parameters of a handler, and a request that its pipes rejected', () => {
    const native = handlers('native', 'next', 'passed', 'any').map((one) => nest.isNative(Handlers, one));
    expect(native).toEqual([true, true, false, false]);
    expect(isRejectedByPipes({ [nest.REJECTED_BY_PIPES]: true })).toBe(true);
    expect(typeof nest.RouterExceptionFilters.prototype.create).toBe('function');
  });

  it('mark methods that no other package has made a handler', () => {
    class Service {
      @UseGuards(Guard as never)
      @Header('X-One', 'one')
      plain() {}

      @SetMetadata('queue', 'mails')
      foreign() {}
    }
    const methods = (['plain', 'foreign'] as const).map((name) => Service.prototype[name]);
    expect(methods.map(nest.isForeignHandler)).toEqual([false, true]);
  });

  it('are what @fastify/multipart calls the content of a file that it keeps', async () => {
    const fastify = new FastifyAdapter().getInstance();
    await fastify.register(multipart as never, { attachFieldsToBody: true });
    fastify.post('/', (request, reply) => {
      const { file } = request.body as { file: MultipartFileInternals };
      return reply.send(String(file._buf));
    });
    const body = new FormData();
    body.append('file', new Blob(['content']), 'file.txt');
    try {
      const response = await fetch(await fastify.listen({ host: '127.0.0.1', port: 0 }), { method: 'POST', body });
      expect(await response.text()).toBe('content');
    } finally {
      await fastify.close();
    }
  });

  it('are what node calls the method by which express-session writes a head', () => {
    expect('_implicitHeader' in ServerResponse.prototype).toBe(true);
  });

  it("are what TypeORM calls its pools, and pg what the store's own pool and COMMIT need", async () => {
    const dataSource = await connect('postgres');
    const pool = postgresPoolOf<PgPoolInternals<unknown> & { totalCount: number; idleCount: number }>(dataSource);
    expect(pool.options).toMatchObject({ max: expect.any(Number) });
    expect(pool.options!.password).toBe((dataSource.options as { password: string }).password);
    expect(typeof pool.Client).toBe('function');
    expect([pool.totalCount, pool.idleCount]).toEqual([expect.any(Number), expect.any(Number)]);
    expect(typeof connectingDriverOf(dataSource).obtainMasterConnection).toBe('function');

    const runner = dataSource.createQueryRunner('master');
    try {
      const client = (await runner.connect()) as PgClientInternals;
      const { connection, pipeline } = client;
      expect(pipeline ?? false).toBe(false);
      expect(connection!.parsedStatements).toEqual({});
      for (const name of ['parse', 'bind', 'execute', 'sync'] as const) {
        expect(typeof connection![name]).toBe('function');
      }
      expect(typeof connection!.stream!.cork).toBe('function');
      expect(typeof (client as PgSocketInternals).connection!.stream!.destroy).toBe('function');
      // Of what cancels a statement.
      const { processID, secretKey, host, port, connection: canceller } = client as PgCancelInternals;
      expect([processID, secretKey, port]).toEqual([expect.any(Number), expect.anything(), expect.any(Number)]);
      expect(host).toBe((dataSource.options as { host: string }).host);
      expect([typeof canceller!.connect, typeof canceller!.cancel]).toEqual(['function', 'function']);
      // Of what destroy() releases.
      const { connectedQueryRunners } = dataSource.driver as unknown as { connectedQueryRunners: unknown[] };
      expect(connectedQueryRunners).toContain(runner);
      leaveToItsOwner(runner);
      expect(connectedQueryRunners).not.toContain(runner);
    } finally {
      await runner.release();
    }
  });

  it('are what TypeORM calls the state of a transaction', async () => {
    const dataSource = await connect('postgres');
    const runner = dataSource.createQueryRunner('master');
    const queries: string[] = [];
    runner.connection.setOptions({ logger: { ...silent, logQuery: (query) => void queries.push(query) } });
    try {
      // Where one is open, TypeORM begins a savepoint.
      await runner.query('START TRANSACTION');
      setTransactionState(runner, true);
      await runner.startTransaction();
      expect(queries.at(-1)).toMatch(/^SAVEPOINT/);
      await runner.commitTransaction();
      await runner.query('COMMIT');
      setTransactionState(runner, false);
      await runner.startTransaction();
      expect(queries.at(-1)).toMatch(/^START TRANSACTION/);
      await runner.rollbackTransaction();
    } finally {
      await runner.release();
    }
  });

  it('are what TypeORM and mysql2 call a pool, its connections and the state of a session', async () => {
    const dataSource = await connect('mariadb');
    const driver = mysqlDriverOf<Mysql2PoolInternals>(dataSource);
    expect(typeof driver.mysql.createPool).toBe('function');
    expect(driver.createConnectionOptions!(dataSource.options, dataSource.options)).toHaveProperty('connectionLimit');
    expect(typeof connectingDriverOf(dataSource).obtainMasterConnection).toBe('function');
    const { pool } = driver;
    expect(pool!.config!.connectionLimit).toEqual(expect.any(Number));
    expect(pool!._allConnections!.length).toBeGreaterThan(0);
    expect(pool!._freeConnections!.length).toBeGreaterThan(0);
    const result = (await dataSource.query('SET @a = 1')) as Mysql2ResultInternals;
    expect(result.serverStatus).toEqual(expect.any(Number));
    const runner = dataSource.createQueryRunner();
    expect(((await runner.connect()) as Mysql2ConnectionInternals).config).toHaveProperty('typeCast');
    await runner.release();

    const { options } = dataSource;
    const replicating = new DataSource({ ...options, replication: { master: options, slaves: [options] } } as never);
    dataSources.push(await replicating.initialize());
    const { poolCluster } = mysqlDriverOf<Mysql2PoolInternals>(replicating);
    await replicating.query('SELECT 1');
    expect(poolCluster!._nodes!.MASTER!.pool._allConnections).toBeDefined();
  });

  it('are what TypeORM calls the connection of SQLite', async () => {
    const connection = sqliteConnectionOf<{ inTransaction: boolean }>(await connect('better-sqlite3'));
    expect(connection.inTransaction).toBe(false);
  });
});

const silent = {
  logQuery() {},
  logQueryError() {},
  logQuerySlow() {},
  logSchemaBuild() {},
  logMigration() {},
  log() {},
};
