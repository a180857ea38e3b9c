import type { DataSource } from 'typeorm';
import { dialectNameOf } from '../dialects/dialect-name.js';
import type { TableNames } from '../dialects/dialect.js';
import { MysqlDialect } from '../dialects/mysql.js';
import { PostgresDialect } from '../dialects/postgres.js';
import { SqliteDialect } from '../dialects/sqlite.js';
import { IdempotencyRecord, IdempotencyStep } from '../entities/index.js';
import type { Connector } from './connector.js';
import { MysqlConnector } from './mysql-connector.js';
import { PostgresConnector } from './postgres-connector.js';
import { SqliteConnector } from './sqlite-connector.js';
import { assertEntities } from '../data-source.js';
import { tableOf } from '../table-path.js';

/**
 * Chooses the statements and the way to run them by the data source's driver.
 *
 * @param connections how many of its own it may open, on a database that allows more than one
 */
export function connectorFor(dataSource: DataSource, connections = 0): Connector {
  const dialect = dialectNameOf(dataSource);
  const tables = tableNames(dataSource);
  switch (dialect) {
    case 'postgres':
      return new PostgresConnector(dataSource, new PostgresDialect(tables), connections);
    case 'mysql':
      return new MysqlConnector(dataSource, new MysqlDialect(tables), connections);
    case 'sqlite':
      return new SqliteConnector(dataSource, new SqliteDialect(tables));
  }
}

/** Names that are read at first use: the data source may be initialized, and even configured, later than the store is made. */
function tableNames(dataSource: DataSource): TableNames {
  const quoted = (entity: typeof IdempotencyRecord | typeof IdempotencyStep) => {
    assertEntities(dataSource);
    return tableOf(dataSource, entity);
  };
  return {
    get record() {
      return quoted(IdempotencyRecord);
    },
    get step() {
      return quoted(IdempotencyStep);
    },
  };
}
