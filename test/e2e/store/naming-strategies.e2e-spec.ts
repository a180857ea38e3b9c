import { Controller, type INestApplication, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { DataSource, DefaultNamingStrategy } from 'typeorm';
import {
  IDEMPOTENCY_ENTITIES,
  Idempotent,
  IdempotencyModule,
  IdempotencyRecord,
  IdempotencyService,
  IdempotencyStep,
  IdempotentExecution,
  type Execution,
} from '../../../lib/index.js';
import { IDEMPOTENCY_MIGRATIONS } from '../../../lib/store/migrations/index.js';
import { LogLines } from '../../conformance/support/app.js';
import { createDatabase, type TestDatabase, type TestDialect } from '../../support/database.js';
import { call } from '../../support/http-client.js';

@Controller()
class PaymentsController {
  @Idempotent()
  @Post('pay')
  async pay(@IdempotentExecution() execution: Execution) {
    return { charged: await execution.step('charge', async () => 12) };
  }
}

class RenamesTables extends DefaultNamingStrategy {
  override tableName(target: string, given: string) {
    return `tbl_${given ?? target}`;
  }
}

class RenamesColumns extends DefaultNamingStrategy {
  override columnName(property: string, given: string, prefixes: string[]) {
    return prefixes.join('') + `c_${given ?? property}`.toUpperCase();
  }
}

class RenamesBoth extends RenamesTables {
  override columnName(property: string, given: string) {
    return `${given ?? property}_`;
  }
}

const snake = (name: string) => name.replace(/([a-z])([A-Z])/g, '$1_$2').toLowerCase();

class SnakeCase extends DefaultNamingStrategy {
  override tableName(target: string, given: string) {
    return given || snake(target);
  }

  override columnName(property: string, given: string, prefixes: string[]) {
    return prefixes.join('') + (given || snake(property));
  }
}

const STRATEGIES = {
  'renames tables': RenamesTables,
  'renames columns': RenamesColumns,
  'renames both': RenamesBoth,
  'is in snake case': SnakeCase,
};

const HOW = ['migrations', 'migrations without the entities', 'synchronize'] as const;

describe.each<TestDialect>(['postgres', 'mariadb', 'better-sqlite3'])('A naming strategy, on %s', (dialect) => {
  const databases: TestDatabase[] = [];
  const open: (INestApplication | DataSource)[] = [];

  afterEach(async () => {
    for (const one of open.splice(0)) await (one instanceof DataSource ? one.destroy() : one.close());
    for (const database of databases.splice(0)) await database.drop();
  });

  async function boot(options: object) {
    @Module({
      imports: [
        TypeOrmModule.forRoot({ ...options, autoLoadEntities: true, retryAttempts: 0 } as TypeOrmModuleOptions),
        IdempotencyModule.forRoot(),
      ],
      controllers: [PaymentsController],
    })
    class App {}
    const log = new LogLines();
    const app = await NestFactory.create(App, { logger: log, abortOnError: false });
    open.push(app);
    await app.listen(0, '127.0.0.1');
    return { app, log, url: await app.getUrl() };
  }

  describe.each(HOW)('by %s', (how) => {
    test.each(Object.entries(STRATEGIES))('%s', async (_name, Strategy) => {
      const database = await createDatabase(dialect);
      databases.push(database);
      const naming = {
        ...database.options,
        namingStrategy: new Strategy(),
        entityPrefix: 'app_',
        migrations: [...IDEMPOTENCY_MIGRATIONS],
      };
      if (how === 'migrations without the entities') {
        const alone = await new DataSource(naming as never).initialize();
        open.push(alone);
        await alone.runMigrations();
      }
      const { app, log, url } = await boot({
        ...naming,
        synchronize: how === 'synchronize',
        migrationsRun: how === 'migrations',
      });
      const dataSource = app.get(DataSource);

      const first = await call(`${url}/pay`, { key: 'k' });
      const second = await call(`${url}/pay`, { key: 'k' });
      expect([first.status, first.body, second.body]).toEqual([201, '{"charged":12}', first.body]);
      expect(second.headers['idempotent-replayed']).toBe('true');

      const service = app.get(IdempotencyService);
      const [record] = await service.list({ status: 'done', operation: 'POST /pay' });
      expect(record).toMatchObject({ endpoint: 'POST /pay', responseCode: 201, holdOnCrash: false, attempt: 1 });
      expect(record.createdAt.getTime()).toBeGreaterThan(Date.now() - 60_000);
      expect(await service.find(record.id)).toEqual(record);
      expect(await dataSource.getRepository(IdempotencyRecord).findOneBy({ id: record.id })).toEqual(record);
      expect(await service.stats()).toMatchObject({ total: 1, byStatus: { done: 1 } });
      expect(await service.steps(record.id)).toMatchObject([{ name: 'charge', status: 'done' }]);
      // A repository writes where the statements read.
      const copy = dataSource.getRepository(IdempotencyRecord).create(record);
      copy.id = record.id.replace(/.$/, (last) => (last === '0' ? '1' : '0'));
      await dataSource.getRepository(IdempotencyRecord).insert(copy);
      expect(await service.forget(copy.id)).toBe(true);

      const { upQueries } = await dataSource.driver.createSchemaBuilder().log();
      expect(upQueries.map(({ query }) => query)).toEqual([]);
      const columns = dataSource.getMetadata(IdempotencyStep).columns.map(({ databaseName }) => databaseName);
      expect(columns).toEqual(['record_id', 'name', 'status', 'token', 'result', 'updated_at']);
      expect(log.toString()).toBe('');

      if (how === 'migrations') {
        for (const _ of IDEMPOTENCY_MIGRATIONS) await dataSource.undoLastMigration();
        const runner = dataSource.createQueryRunner();
        const left = IDEMPOTENCY_ENTITIES.map((entity) => runner.hasTable(dataSource.getMetadata(entity).tablePath));
        expect(await Promise.all(left)).toEqual([false, false]);
        await runner.release();
      }
    });
  });
});
