import { type DynamicModule, Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { getDataSourceToken } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { IDEMPOTENCY_ENTITIES, IdempotencyModule, IdempotencyRecord } from '../../../lib/index.js';
import { LogLines } from '../../conformance/support/app.js';

/** Data sources that are not connected: the boot must not get so far as to ask a database. */
const entities = [...IDEMPOTENCY_ENTITIES];
const DATA_SOURCES = [
  new DataSource({ type: 'sqljs', driver: {}, entities }),
  new DataSource({ type: 'cockroachdb', timeTravelQueries: false, entities }),
];

@Module({})
class DataSourceModule {
  static with(dataSource: DataSource, name?: string): DynamicModule {
    const token = getDataSourceToken(name);
    return {
      module: DataSourceModule,
      global: true,
      providers: [{ provide: token, useValue: dataSource }],
      exports: [token],
    };
  }
}

test.each([{}, { options: { type: 'postgres' } }, { options: { type: () => undefined }, driver: {} }])(
  'a mock of a data source, %j, fails the boot',
  async (mock) => {
    const dataSource = mock as unknown as DataSource;
    @Module({ imports: [DataSourceModule.with(dataSource), IdempotencyModule.forRoot()] })
    class App {}
    await expect(NestFactory.create(App, { logger: false, abortOnError: false })).rejects.toThrow(
      'IdempotencyModule: the data source is not one of TypeORM, but a mock. Give the test a DataSource on SQLite in memory',
    );
  },
);

describe.each(DATA_SOURCES)('TypeORM\'s driver "$options.type"', (dataSource) => {
  test.each([undefined, 'records'])('fails the boot, as the data source %p', async (name) => {
    @Module({ imports: [DataSourceModule.with(dataSource, name), IdempotencyModule.forRoot({ dataSource: name })] })
    class App {}
    const log = new LogLines();
    await expect(NestFactory.create(App, { logger: log, abortOnError: false })).rejects.toThrow(
      `IdempotencyModule: TypeORM's driver "${dataSource.options.type}" is not supported. Supported are postgres, mysql, ` +
        'mariadb, better-sqlite3: use one of them, or name another data source in the option `dataSource`.',
    );
    expect(log.toString()).not.toContain('WARN');
  });

  test('fails no data source by itself, as @nestjs/typeorm would connect ten times before it says why', async () => {
    await dataSource['buildMetadatas']();
    expect(dataSource.hasMetadata(IdempotencyRecord)).toBe(true);
  });
});
