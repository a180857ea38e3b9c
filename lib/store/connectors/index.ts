import { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { clockOf } from '../dialects/clock.js';
import { dialectNameOf } from '../dialects/dialect-name.js';
import type { TableNames } from '../dialects/dialect.js';
import { MysqlDialect } from '../dialects/mysql.js';
import { PortableDialect } from '../dialects/portable.js';
import { PostgresDialect } from '../dialects/postgres.js';
import { SqliteDialect } from '../dialects/sqlite.js';
import { IdempotencyRecord, IdempotencyStep } from '../entities/index.js';
import type { Connector } from './connector.js';
import { MysqlConnector } from './mysql-connector.js';
import { hasSingleConnection, PortableConnector } from './portable-connector.js';
import { PostgresConnector } from './postgres-connector.js';
import { SqliteConnector } from './sqlite-connector.js';

/**
 * Chooses the statements and the way to run them by the data source's driver.
 *
 * @param connections how many of its own it may open, where the database is one that gains by them
 */
export function connectorFor(dataSource: DataSource, connections = 0): Connector {
  const tables = tableNames(dataSource);
  switch (dialectNameOf(dataSource)) {
    case 'postgres':
      return new PostgresConnector(dataSource, new PostgresDialect(tables), connections);
    case 'mysql':
      return new MysqlConnector(dataSource, new MysqlDialect(tables));
    case 'sqlite':
      return new SqliteConnector(dataSource, new SqliteDialect(tables));
    case 'portable':
      return portable(dataSource);
  }
}

function portable(dataSource: DataSource): Connector {
  const { driver, options } = dataSource;
  const dialect = new PortableDialect({
    now: clockOf(dataSource),
    no: driver.normalizeType({ type: Boolean }).startsWith('bool') ? 'false' : '0',
    transactions: !hasSingleConnection(dataSource),
    escape: (name) => driver.escape(name),
  });
  new Logger('Idempotency').warn(
    `There are no statements made for the "${options.type}" driver: portable ones are used, which take more round trips`,
  );
  return new PortableConnector(dataSource, dialect);
}

function tableNames(dataSource: DataSource): TableNames {
  const quoted = (entity: typeof IdempotencyRecord | typeof IdempotencyStep) =>
    dataSource
      .getMetadata(entity)
      .tablePath.split('.')
      .map((part) => dataSource.driver.escape(part))
      .join('.');
  return { record: quoted(IdempotencyRecord), step: quoted(IdempotencyStep) };
}
