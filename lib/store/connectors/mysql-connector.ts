import type { DataSource, EntityManager } from 'typeorm';
import type { Dialect } from '../dialects/dialect.js';
import { isInTransactionAfter, isUncommitted, type MysqlAnswer, type MysqlConnection } from '../dialects/mysql.js';
import { causes, type DriverError, says } from '../driver-errors.js';
import { type Mysql2Connection, ownMysqlPool, sharedMysqlPool } from './mysql-pool.js';
import { nestingOf } from './nesting.js';
import { type Place, PooledConnector } from './pooled-connector.js';
import { notCommitted } from './poisoned-connections.js';
import { StorePools } from './pools.js';

/** The result of a statement without rows. */
interface ResultSetHeader {
  readonly affectedRows: number;
  readonly insertId: number | string;
}

/** A handler may have set the clock of its session: leases would be over before they begin, and records be swept that have not expired. */
const SERVER_CLOCK = 'SET timestamp = DEFAULT';

/** Changes the text of a statement so that variables of its session have other values for it alone. */
type ForOneStatement = (sql: string) => string;

function onMariadb(...variables: readonly string[]): ForOneStatement {
  const prefix = `SET STATEMENT ${variables.join(', ')} FOR `;
  return (sql) => prefix + sql;
}

/** MySQL takes few variables in a hint, and ignores the others with a warning. */
function onMysql(...variables: readonly string[]): ForOneStatement {
  const verbWithHint = `$& /*+ ${variables.map((one) => `SET_VAR(${one})`).join(' ')} */`;
  return (sql) => sql.replace(/^\w+/, verbWithHint);
}

/** As {@link SERVER_CLOCK}. */
const AT_PRESENT = 'timestamp = 0';

/** Limits the wait for a locked table, which ALTER TABLE or a backup may lock for minutes. One second is the shortest that servers take. */
const TABLE_TIMEOUT = 'lock_wait_timeout = 1';

/** Limits the wait for a locked row. MySQL does not take it for one statement. */
const ROW_TIMEOUT = 'innodb_lock_wait_timeout = 1';

/** Waits until a Galera node has applied all that was committed before, for any kind of statement. */
const SYNCED = 'wsrep_sync_wait = 7';

/** Lets a statement see and change what is committed: see `MysqlConnection.currentRead`. */
const WITHOUT_SNAPSHOT = 'innodb_snapshot_isolation = OFF';

const MARIADB_ALONE = onMariadb(AT_PRESENT, ROW_TIMEOUT, TABLE_TIMEOUT);
const MARIADB_SYNCED = onMariadb(AT_PRESENT, ROW_TIMEOUT, TABLE_TIMEOUT, SYNCED);
const MARIADB_WITHIN = onMariadb(AT_PRESENT);
const MARIADB_CURRENT = onMariadb(AT_PRESENT, WITHOUT_SNAPSHOT);
const MYSQL_ALONE = onMysql(AT_PRESENT, TABLE_TIMEOUT);
const MYSQL_WITHIN = onMysql(AT_PRESENT);

const VARIABLES = `SHOW VARIABLES WHERE Variable_name IN
  ('innodb_snapshot_isolation', 'innodb_rollback_on_timeout', 'wsrep_on', 'log_bin', 'binlog_format')`;

/** Returns what the server gets of bytes. */
const ECHO = 'SELECT HEX(?) AS bytes';
/** Not a text in any encoding that converts texts. */
const BYTES = Buffer.from([0x80, 0xff]);

/** The properties of the server that statements depend on. */
interface Server {
  readonly isMariadb: boolean;
  readonly hasSnapshotIsolation: boolean;
  readonly isGaleraNode: boolean;
  /** Whether it rolls back the whole transaction where a statement waits too long for a locked row, and not only the statement. */
  readonly rollsBackOnTimeout: boolean;
  /** Whether its binary log takes no writes of READ COMMITTED transactions. */
  readonly logsStatements: boolean;
}

export class MysqlConnector extends PooledConnector<Mysql2Connection, MysqlConnection> {
  private server: Server | undefined;

  protected get begin(): readonly string[] {
    const begin = 'START TRANSACTION';
    return this.server?.logsStatements ? [SERVER_CLOCK, begin] : [SERVER_CLOCK, READ_COMMITTED, begin];
  }

  /** @param connections how many of its own it may open; 0: it shares the data source's pool */
  constructor(dataSource: DataSource, dialect: Dialect<MysqlConnection>, connections: number) {
    const own = (limit: number) => ownMysqlPool(dataSource, limit);
    // MySQL has no timeout of a single statement for locked rows, and that of the application's connections must not change.
    const spills = () => this.server?.isMariadb === true || this.isSilent;
    const nesting = nestingOf(dataSource, sharedMysqlPool(dataSource));
    const shared = sharedMysqlPool(dataSource, nesting.obtain as () => Promise<Mysql2Connection>);
    super(dialect, new StorePools(shared, own, connections, spills), nesting);
  }

  async within(manager: EntityManager): Promise<MysqlConnection> {
    const connection = (await manager.queryRunner!.connect()) as Mysql2Connection;
    return wrap(connection, this.server ?? (await this.learn(connection)));
  }

  endsTransaction(error: unknown): boolean {
    return (
      says(error, 'endsTransaction') || (this.server?.rollsBackOnTimeout === true && causes(error).some(isTimeout))
    );
  }

  protected on(connection: Mysql2Connection, place: Place): MysqlConnection | Promise<MysqlConnection> {
    const { server } = this;
    if (!server) return this.learn(connection).then(() => this.on(connection, place));
    const isShared = this.pools.sharesConnection(connection);
    const settings = { prepare: server.isMariadb ? MARIADB_ALONE : MYSQL_ALONE, place, isShared };
    const on = wrap(connection, server, settings);
    if (!server.isGaleraNode) return on;
    return { ...on, synced: wrap(connection, server, { ...settings, prepare: MARIADB_SYNCED }) };
  }

  protected execute(on: MysqlConnection, statement: string): Promise<unknown> {
    return on.query(statement, []);
  }

  protected release(connection: Mysql2Connection, broken: unknown): void {
    if (broken) connection.destroy();
    else connection.release();
  }

  protected destroy(connection: Mysql2Connection): void {
    connection.destroy();
  }

  protected isIntactAfter(error: unknown): boolean {
    return (error as { sqlState?: unknown } | undefined)?.sqlState !== undefined;
  }

  /** @throws Error where the session would change the bytes of responses, and of what is compared */
  private async learn(connection: Mysql2Connection): Promise<Server> {
    const [version, variables, echo] = await Promise.all([
      answerOf(connection, 'query', 'SELECT VERSION() AS version', []),
      answerOf(connection, 'query', VARIABLES, []),
      answerOf(connection, 'execute', ECHO, [BYTES]),
    ]);
    if (Buffer.from(String(echo.rows[0].bytes), 'hex').compare(BYTES) !== 0) {
      throw new Error(
        'this version of mysql2 sends bytes as text, and the session converts them: update mysql2, or leave ' +
          'collation_connection in the encoding of character_set_client',
      );
    }
    const isMariadb = String(version.rows[0].version).includes('MariaDB');
    const values = new Map(variables.rows.map((row) => [row.Variable_name, row.Value]));
    return (this.server = {
      isMariadb,
      hasSnapshotIsolation: isMariadb && values.has('innodb_snapshot_isolation'),
      isGaleraNode: isMariadb && values.get('wsrep_on') === 'ON',
      rollsBackOnTimeout: values.get('innodb_rollback_on_timeout') === 'ON',
      logsStatements: values.get('log_bin') === 'ON' && values.get('binlog_format') === 'STATEMENT',
    });
  }
}

/** Waited too long for a locked row. Not MySQL's error of NOWAIT, which undoes its statement alone. */
function isTimeout({ errno }: DriverError): boolean {
  return errno === 1205;
}

/** Reads a value as `mysql2` does by itself. */
const byDriver = (_field: unknown, next: () => unknown) => next();

/**
 * For the one transaction, or statement, that follows. A session that is in a transaction refuses it, which shows a transaction that a
 * handler has left open: the result of a read does not say so.
 */
const READ_COMMITTED = 'SET TRANSACTION ISOLATION LEVEL READ COMMITTED';

interface WrapSettings {
  /** Changes each prepared statement. */
  readonly prepare?: ForOneStatement;
  readonly place?: Place;
  /** Whether handlers use the connection, and may have left a transaction open, in which a read sees old rows. */
  readonly isShared?: boolean;
}

function wrap(
  connection: Mysql2Connection,
  server: Server,
  { prepare = (sql) => sql, place = 'within', isShared = false }: WrapSettings = {},
): MysqlConnection {
  const execute: MysqlConnection['execute'] = (sql, values) =>
    answerOf(connection, 'execute', prepare(sql), values, place);
  return {
    returning: server.isMariadb,
    currentRead: server.hasSnapshotIsolation ? MARIADB_CURRENT : server.isMariadb ? MARIADB_WITHIN : MYSQL_WITHIN,
    execute,
    query: (sql, values) => answerOf(connection, 'query', sql, values, place),
    read:
      place === 'alone' && isShared
        ? (sql, values) => answerOf(connection, 'query', READ_COMMITTED, [], place).then(() => execute(sql, values))
        : execute,
  };
}

function answerOf(
  connection: Mysql2Connection,
  method: 'execute' | 'query',
  sql: string,
  values: readonly unknown[],
  place: Place = 'within',
): Promise<MysqlAnswer> {
  // The application's `typeCast` is for its own statements.
  const statement = typeof connection.config?.typeCast === 'function' ? { sql, typeCast: byDriver } : sql;
  return new Promise((resolve, reject) =>
    connection[method](statement, values, (error, result) => {
      if (error) return reject(error);
      if (place === 'alone' && isUncommitted(result)) return reject(notCommitted());
      if (Array.isArray(result)) return resolve({ rows: result, affectedRows: 0, insertId: 0, inTransaction: false });
      const { affectedRows, insertId } = result as ResultSetHeader;
      resolve({
        rows: [],
        affectedRows,
        insertId: Number(insertId),
        inTransaction: isInTransactionAfter(result) === true,
      });
    }),
  );
}
