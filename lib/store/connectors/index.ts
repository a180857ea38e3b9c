import type { DataSource } from 'typeorm';
import { dialectNameOf } from '../dialects/dialect-name.js';
import type { TableNames } from '../dialects/dialect.js';
import { mysqlDialect } from '../dialects/mysql.js';
import { postgresDialect } from '../dialects/postgres.js';
import { sqliteDialect } from '../dialects/sqlite.js';
import { IdempotencyRecord, IdempotencyStep } from '../entities/index.js';
import type { Connector } from './connector.js';
import { MysqlConnector } from './mysql-connector.js';
import { PostgresConnector } from './postgres-connector.js';
import { sqliteConnectorOf } from './sqlite-connector.js';
import { assertEntities } from '../data-source.js';
import { tableLocationOf, tableOf } from '../table-path.js';

/**
 * Returns the connector and the dialect for a data source's driver.
 *
 * @param connections how many connections of its own it may open. 0, the default: it shares the data source's pool.
 * @throws Error for a driver that is not supported
 */
export function connectorFor(dataSource: DataSource, connections = 0): Connector {
  const dialect = dialectNameOf(dataSource);
  const tables = tableNames(dataSource);
  switch (dialect) {
    case 'postgres':
      return new PostgresConnector(dataSource, postgresDialect(tables), connections);
    case 'mysql':
      return new MysqlConnector(dataSource, mysqlDialect(tables), connections);
    case 'sqlite':
      return sqliteConnectorOf(dataSource, sqliteDialect(tables));
  }
}

/** The names are read at first use: the data source may be initialized, and even configured, after the store is made. */
function tableNames(dataSource: DataSource): TableNames {
  return {
    get record() {
      assertEntities(dataSource);
      return tableOf(dataSource, IdempotencyRecord);
    },
    get step() {
      return tableOf(dataSource, IdempotencyStep);
    },
    get role() {
      return tableLocationOf(dataSource)?.role;
    },
  };
}
