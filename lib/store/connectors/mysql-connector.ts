import type { DataSource, EntityManager } from 'typeorm';
import type { Dialect } from '../dialects/dialect.js';
import type { MysqlAnswer, MysqlConnection } from '../dialects/mysql.js';
import type { Connector } from './connector.js';

/** What TypeORM hands out: a `mysql2` connection with callbacks. */
interface Mysql2Connection {
  execute(sql: string, values: readonly unknown[], done: Mysql2Callback): void;
  query(sql: string, values: readonly unknown[], done: Mysql2Callback): void;
  release(): void;
}

type Mysql2Callback = (error: Error | null, result: unknown) => void;

export class MysqlConnector implements Connector<MysqlConnection> {
  readonly singleConnection = false;
  private returning: boolean | undefined;

  constructor(
    private readonly dataSource: DataSource,
    readonly dialect: Dialect<MysqlConnection>,
  ) {}

  async alone<T>(work: (on: MysqlConnection) => Promise<T>): Promise<T> {
    const driver = this.dataSource.driver as unknown as { obtainMasterConnection(): Promise<Mysql2Connection> };
    const connection = await driver.obtainMasterConnection();
    try {
      return await work(await this.wrap(connection));
    } finally {
      connection.release();
    }
  }

  async within(manager: EntityManager): Promise<MysqlConnection> {
    return this.wrap((await manager.queryRunner!.connect()) as Mysql2Connection);
  }

  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }

  private async wrap(connection: Mysql2Connection): Promise<MysqlConnection> {
    this.returning ??= await isMariadb(connection);
    return {
      returning: this.returning,
      execute: (sql, values) => ask(connection, 'execute', sql, values),
      query: (sql, values) => ask(connection, 'query', sql, values),
    };
  }
}

async function isMariadb(connection: Mysql2Connection): Promise<boolean> {
  const { rows } = await ask(connection, 'query', 'SELECT VERSION() AS version', []);
  return String(rows[0].version).includes('MariaDB');
}

function ask(
  connection: Mysql2Connection,
  method: 'execute' | 'query',
  sql: string,
  values: readonly unknown[],
): Promise<MysqlAnswer> {
  return new Promise((resolve, reject) =>
    connection[method](sql, values, (error, result) => {
      if (error) return reject(error);
      if (Array.isArray(result)) return resolve({ rows: result, affectedRows: 0, insertId: 0 });
      const { affectedRows, insertId } = result as { affectedRows: number; insertId: number | string };
      resolve({ rows: [], affectedRows, insertId: Number(insertId) });
    }),
  );
}
