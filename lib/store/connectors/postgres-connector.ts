import type { DataSource, EntityManager } from 'typeorm';
import type { Dialect } from '../dialects/dialect.js';
import type { PgConnection } from '../dialects/postgres.js';
import type { Connector } from './connector.js';

export class PostgresConnector implements Connector<PgConnection> {
  readonly singleConnection = false;

  constructor(
    private readonly dataSource: DataSource,
    readonly dialect: Dialect<PgConnection>,
  ) {}

  /** Through the pool of the primary: a replica may not have heard of the record yet. */
  alone<T>(work: (on: PgConnection) => Promise<T>): Promise<T> {
    return work((this.dataSource.driver as unknown as { master: PgConnection }).master);
  }

  async within(manager: EntityManager): Promise<PgConnection> {
    return (await manager.queryRunner!.connect()) as PgConnection;
  }

  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }
}
