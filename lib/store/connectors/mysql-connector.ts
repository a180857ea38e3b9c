import type { DataSource, EntityManager } from 'typeorm';
import type { Dialect } from '../dialects/dialect.js';
import type { MysqlAnswer, MysqlConnection } from '../dialects/mysql.js';
import { initialized } from '../data-source.js';
import type { Connector } from './connector.js';

/** What TypeORM hands out: a `mysql2` connection with callbacks. */
interface Mysql2Connection {
  execute(sql: string, values: readonly unknown[], done: Mysql2Callback): void;
  query(sql: string, values: readonly unknown[], done: Mysql2Callback): void;
  /** Back to the pool. */
  release(): void;
  /** Closes the connection, and takes it out of the pool. */
  destroy(): void;
}

/** What `mysql2` answers to a statement without rows. */
interface ResultSetHeader {
  readonly affectedRows: number;
  readonly insertId: number | string;
  readonly serverStatus: number;
}

/** SERVER_STATUS_IN_TRANS. */
const IN_TRANSACTION = 1;

type Mysql2Callback = (error: Error | null, result: unknown) => void;

/** A connection that has not answered for so many milliseconds is closed, so that it is not missing from the pool. */
const GIVE_UP_AFTER = 30_000;

export class MysqlConnector implements Connector<MysqlConnection> {
  readonly singleConnection = false;
  private returning: boolean | undefined;

  constructor(
    private readonly dataSource: DataSource,
    readonly dialect: Dialect<MysqlConnection>,
  ) {}

  async alone<T>(work: (on: MysqlConnection) => Promise<T>): Promise<T> {
    const driver = initialized(this.dataSource).driver as unknown as {
      obtainMasterConnection(): Promise<Mysql2Connection>;
    };
    const connection = await driver.obtainMasterConnection();
    let broken = false;
    // Not mysql2's own timeout: its timer outlives a connection that is lost, and keeps the process from ending.
    const timer = setTimeout(() => connection.destroy(), GIVE_UP_AFTER);
    timer.unref();
    try {
      return await work(await this.wrap(connection));
    } catch (error) {
      broken = !leavesConnection(error);
      throw error;
    } finally {
      clearTimeout(timer);
      if (broken) connection.destroy();
      else connection.release();
    }
  }

  atomically<T>(work: (on: MysqlConnection) => Promise<T>): Promise<T> {
    return this.alone(async (on) => {
      await on.query('SET TRANSACTION ISOLATION LEVEL READ COMMITTED', []);
      await on.query('START TRANSACTION', []);
      try {
        const result = await work(on);
        await on.query('COMMIT', []);
        return result;
      } catch (error) {
        if (leavesConnection(error)) await on.query('ROLLBACK', []);
        throw error;
      }
    });
  }

  async within(manager: EntityManager): Promise<MysqlConnection> {
    return this.wrap((await manager.queryRunner!.connect()) as Mysql2Connection);
  }

  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }

  private async wrap(connection: Mysql2Connection): Promise<MysqlConnection> {
    const ask = (method: 'execute' | 'query') => (sql: string, values: readonly unknown[]) =>
      answerOf(connection, method, sql, values);
    this.returning ??= await isMariadb(ask('query'));
    return { returning: this.returning, execute: ask('execute'), query: ask('query') };
  }
}

/** Whether the connection is as good as before: the server itself reported the error. */
function leavesConnection(error: unknown): boolean {
  return (error as { sqlState?: unknown } | undefined)?.sqlState !== undefined;
}

async function isMariadb(query: MysqlConnection['query']): Promise<boolean> {
  const { rows } = await query('SELECT VERSION() AS version', []);
  return String(rows[0].version).includes('MariaDB');
}

function answerOf(
  connection: Mysql2Connection,
  method: 'execute' | 'query',
  sql: string,
  values: readonly unknown[],
): Promise<MysqlAnswer> {
  return new Promise((resolve, reject) =>
    connection[method](sql, values, (error, result) => {
      if (error) return reject(error);
      if (Array.isArray(result)) return resolve({ rows: result, affectedRows: 0, insertId: 0, inTransaction: false });
      const { affectedRows, insertId, serverStatus } = result as ResultSetHeader;
      resolve({
        rows: [],
        affectedRows,
        insertId: Number(insertId),
        inTransaction: (serverStatus & IN_TRANSACTION) !== 0,
      });
    }),
  );
}
