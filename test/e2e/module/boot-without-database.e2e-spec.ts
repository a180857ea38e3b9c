import { Controller, type INestApplication, Module, type ModuleMetadata, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { DocumentBuilder } from '@nestjs/swagger';
import { getDataSourceToken, TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { DataSource, EntitySchema } from 'typeorm';
import {
  IDEMPOTENCY_ENTITIES,
  Idempotent,
  IdempotencyModule,
  IdempotencyRecord,
  IdempotencyService,
} from '../../../lib/index.js';
import { createDocument } from '../../../lib/integrations/swagger/index.js';
import { LogLines } from '../../conformance/support/app.js';
import { createDatabase, type TestDatabase, type TestDialect } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';
import { call } from '../../support/http-client.js';

const DIALECTS: TestDialect[] = ['postgres', 'mariadb', 'better-sqlite3'];

const NOT_INITIALIZED =
  'WARN The data source is not initialized: requests get 503 until its initialize() has been called';

/** One class for each application: OpenAPI's decorators describe a handler once. */
function paymentsController() {
  @Controller('pay')
  class PaymentsController {
    @Idempotent()
    @Post()
    pay() {
      return { paid: true };
    }
  }
  return PaymentsController;
}

const databases: TestDatabase[] = [];
const apps: INestApplication[] = [];
const dataSources: DataSource[] = [];

afterEach(async () => {
  for (const app of apps.splice(0)) await app.close();
  for (const dataSource of dataSources.splice(0)) if (dataSource.isInitialized) await dataSource.destroy();
  for (const database of databases.splice(0)) await database.drop();
});

async function newDatabase(dialect: TestDialect): Promise<TestDatabase> {
  const database = await createDatabase(dialect);
  databases.push(database);
  return database;
}

const typeOrm = (options: object) =>
  TypeOrmModule.forRoot({
    autoLoadEntities: true,
    synchronize: true,
    retryAttempts: 0,
    manualInitialization: true,
    ...options,
  } as TypeOrmModuleOptions);

async function create(metadata: ModuleMetadata, { preview = false } = {}) {
  @Module({ controllers: [paymentsController()], ...metadata })
  class App {}
  const log = new LogLines();
  const app = await NestFactory.create(App, { logger: log, abortOnError: false, preview });
  apps.push(app);
  return { app, log };
}

async function pay(app: INestApplication) {
  const { status, headers, body } = await call(`${await app.getUrl()}/pay`, { key: 'k' });
  return {
    status,
    replayed: headers['idempotent-replayed'] === 'true',
    code: (JSON.parse(body) as { code?: string }).code,
  };
}

async function expectReplay(app: INestApplication): Promise<void> {
  expect(await pay(app)).toEqual({ status: 201, replayed: false, code: undefined });
  expect(await pay(app)).toEqual({ status: 201, replayed: true, code: undefined });
}

const described = (app: INestApplication) => {
  const { parameters, responses } = createDocument(app, new DocumentBuilder().build()).paths['/pay'].post!;
  return { header: (parameters as { name: string }[])[0].name, statuses: Object.keys(responses) };
};

describe('manualInitialization', () => {
  test.each(['of autoLoadEntities', 'by hand'])(
    'an OpenAPI document with no server to be reached, entities %s',
    async (how) => {
      const entities = how === 'by hand' ? { autoLoadEntities: false, entities: [...IDEMPOTENCY_ENTITIES] } : {};
      const nowhere = { type: 'postgres', host: '127.0.0.1', port: await freePort(), ...entities };
      const { app, log } = await create({
        imports: [typeOrm(nowhere), IdempotencyModule.forRootAsync({ useFactory: () => ({ header: 'X-Key' }) })],
      });
      expect(described(app)).toEqual({ header: 'X-Key', statuses: ['201', '400', '409', '422', '503'] });
      await app.close();
      expect(log.toString()).toBe('');
    },
  );

  test.each(DIALECTS)('initialized between create() and listen(), on %s', async (dialect) => {
    const { options } = await newDatabase(dialect);
    const { app, log } = await create({ imports: [typeOrm(options), IdempotencyModule.forRoot()] });
    await app.get(DataSource).initialize();
    await app.listen(0, '127.0.0.1');
    await expectReplay(app);
    expect(log.toString()).toBe('');
  });

  test.each(DIALECTS)('initialized after listen(): 503 until then, on %s', async (dialect) => {
    const { options } = await newDatabase(dialect);
    const { app, log } = await create({ imports: [typeOrm(options), IdempotencyModule.forRoot()] });
    await app.listen(0, '127.0.0.1');
    expect(log.lines).toEqual([expect.stringContaining(NOT_INITIALIZED)]);
    expect(await pay(app)).toEqual({ status: 503, replayed: false, code: 'store-unavailable' });
    expect(log.lines.at(-1)).toContain(
      'WARN The database cannot be asked: the data source is not initialized: call its initialize() (ENOTCONN)',
    );
    await expect(app.get(IdempotencyService).list()).rejects.toThrow('the data source is not initialized');
    await expect(app.get(IdempotencyService).steps('x')).rejects.toThrow('the data source is not initialized');

    await app.get(DataSource).initialize();
    await expectReplay(app);
    expect(await app.get(IdempotencyService).list()).toHaveLength(1);
  });

  test('configured between create() and initialize()', async () => {
    const { options } = await newDatabase('postgres');
    const { app } = await create({ imports: [typeOrm(options), IdempotencyModule.forRoot()] });
    const dataSource = app.get(DataSource);
    dataSource.setOptions({ entityPrefix: 'late_' });
    await dataSource.initialize();
    await app.listen(0, '127.0.0.1');
    await expectReplay(app);
    expect(await dataSource.query('SELECT status FROM late_idempotency_record')).toEqual([{ status: 'done' }]);
  });

  test('initialized after listen(), without the entities', async () => {
    const { options } = await newDatabase('better-sqlite3');
    const { app, log } = await create({
      imports: [typeOrm({ ...options, autoLoadEntities: false }), IdempotencyModule.forRoot()],
    });
    await app.listen(0, '127.0.0.1');
    await app.get(DataSource).initialize();
    expect((await pay(app)).status).toBe(503);
    expect(log.lines.at(-1)).toContain('the data source does not know the entity IdempotencyRecord');
  });

  test('never initialized', async () => {
    const nowhere = { type: 'postgres', host: '127.0.0.1', port: await freePort() };
    const { app, log } = await create({ imports: [typeOrm(nowhere), IdempotencyModule.forRoot()] });
    await app.listen(0, '127.0.0.1');
    await app.close();
    expect(log.lines).toEqual([expect.stringContaining(NOT_INITIALIZED)]);
  });
});

describe('preview: true', () => {
  const nowhere = { type: 'postgres', host: '127.0.0.1', port: 1 };
  const warning = 'the factory of forRootAsync() is not run: the OpenAPI document shows the default options';

  test('the options of forRoot() are in the OpenAPI document', async () => {
    const imports = [typeOrm(nowhere), IdempotencyModule.forRoot({ header: 'X-Key' })];
    const { app, log } = await create({ imports }, { preview: true });
    expect(described(app)).toEqual({ header: 'X-Key', statuses: ['201', '400', '409', '422', '503'] });
    expect(log.toString()).not.toContain(warning);
  });

  test('those of a factory are not known', async () => {
    const imports = [typeOrm(nowhere), IdempotencyModule.forRootAsync({ useFactory: () => ({ header: 'X-Key' }) })];
    const { app, log } = await create({ imports }, { preview: true });
    expect(described(app).header).toBe('Idempotency-Key');
    expect(log.toString()).toContain(warning);
  });
});

describe('a DataSource as the option `dataSource`', () => {
  async function newDataSource(dialect: TestDialect, more: object = {}): Promise<DataSource> {
    const { options } = await newDatabase(dialect);
    const entities = [...IDEMPOTENCY_ENTITIES];
    const dataSource = new DataSource({ ...options, entities, synchronize: true, ...more } as never);
    dataSources.push(dataSource);
    return dataSource;
  }

  test.each(DIALECTS)('that @nestjs/typeorm does not know, on %s', async (dialect) => {
    const dataSource = await newDataSource(dialect);
    const { app } = await create({ imports: [IdempotencyModule.forRoot({ dataSource })] });
    await dataSource.initialize();
    await app.listen(0, '127.0.0.1');
    await expectReplay(app);
    expect(await dataSource.getRepository(IdempotencyRecord).count()).toBe(1);
  });

  test('beside the default one, and the factory of the options', async () => {
    const dataSource = await newDataSource('better-sqlite3');
    await dataSource.initialize();
    const other = await newDatabase('better-sqlite3');
    const { app, log } = await create({
      imports: [
        typeOrm({ ...other.options, autoLoadEntities: false, manualInitialization: false }),
        IdempotencyModule.forRootAsync({ dataSource, useFactory: () => ({ audit: 'error' as const }) }),
      ],
    });
    await app.listen(0, '127.0.0.1');
    await expectReplay(app);
    expect(await dataSource.getRepository(IdempotencyRecord).count()).toBe(1);
    expect(log.toString()).toBe('');
  });

  test('that @nestjs/typeorm initializes under a name', async () => {
    const dataSource = await newDataSource('better-sqlite3');
    const { app } = await create({
      imports: [
        TypeOrmModule.forRootAsync({
          name: 'second',
          useFactory: () => ({ ...dataSource.options, retryAttempts: 0 }) as TypeOrmModuleOptions,
          dataSourceFactory: async () => dataSource,
        }),
        IdempotencyModule.forRoot({ dataSource }),
      ],
    });
    await app.listen(0, '127.0.0.1');
    expect(app.get<DataSource>(getDataSourceToken('second'))).toBe(dataSource);
    await expectReplay(app);
  });

  test('that does not know the entities fails the boot', async () => {
    const dataSource = await newDataSource('better-sqlite3', { entities: [IDEMPOTENCY_ENTITIES[0]] });
    await dataSource.initialize();
    const { app } = await create({ imports: [IdempotencyModule.forRoot({ dataSource })] });
    await expect(app.init()).rejects.toThrow('the data source does not know the entity IdempotencyStep');
  });

  test('that knows the entities of another copy of the package fails the boot', async () => {
    const columns = { id: { type: 'varchar', primary: true } } as const;
    const ofAnotherCopy = new EntitySchema({ name: 'IdempotencyRecord', tableName: 'idempotency_record', columns });
    const dataSource = await newDataSource('better-sqlite3', { entities: [ofAnotherCopy] });
    await dataSource.initialize();
    const { app } = await create({ imports: [IdempotencyModule.forRoot({ dataSource })] });
    await expect(app.init()).rejects.toThrow(
      'the IdempotencyRecord that the data source knows is not the entity of this package. Two copies of the package are installed',
    );
  });

  test('options of a data source are refused', () => {
    const dataSource = { type: 'better-sqlite3', database: ':memory:' } as never;
    const message = 'option `dataSource` must be a DataSource, or the `name` that TypeOrmModule.forRoot() has, as text';
    expect(() => IdempotencyModule.forRoot({ dataSource })).toThrow(message);
    expect(() => IdempotencyModule.forRootAsync({ dataSource, useFactory: () => ({}) })).toThrow(message);
  });
});
