import { createHash } from 'node:crypto';
import { Logger } from '@nestjs/common';
import type { DataSource, EntityManager } from 'typeorm';
import type { WakeUp } from '../../engine/ports/wake-up.js';
import type { Dialect } from '../dialects/dialect.js';
import { markStatement, type PgConnection } from '../dialects/postgres.js';
import { ArrayParameter } from '../dialects/postgres-arrays.js';
import type { DirectTransactions } from './connector.js';
import { PostgresWakeUp } from '../postgres-wake-up.js';
import { locateTables, tableLocationOf } from '../table-path.js';
import { IN_TRANSACTION, isNative, type PgSession, sessionOf } from '../../private-names/pg.js';
import { nestingOf } from './nesting.js';
import { type Place, PooledConnector } from './pooled-connector.js';
import { notCommitted } from './poisoned-connections.js';
import { type Pool, StorePools } from './pools.js';
import {
  destroyPostgres,
  ownPostgresPool,
  type PgClient,
  releasePostgres,
  sharedPostgresPool,
} from './postgres-pool.js';
import { type PgDone, PreparedQuery, takesQueryObjects } from './postgres-query.js';
import { beginDirectly, commitDirectly, LastStatement } from './postgres-transactions.js';

/**
 * The severities of errors with which the server ends a session. Servers translate the word for any other error (`lc_messages`), and in few
 * languages these: the pool then drops the connection when it finds it closed.
 */
const ENDED = new Set(['FATAL', 'PANIC']);

/** PostgreSQL's errors for a prepared statement that is on another connection than the client assumes. */
const MISPLACED = new Set<unknown>(['26000', '42P05']);

/** The types of columns whose text the store does not take as it is, by PostgreSQL's ids. Numbers are converted by `Number()`. */
const PARSERS: Readonly<Record<number, (text: string) => unknown>> = {
  16: (text) => text === 't',
  17: (text) => (text.startsWith('\\x') ? Buffer.from(text.slice(2), 'hex') : unescaped(text)),
};

/** How the store reads rows. Applications replace the parsers of `pg`, as for bytes, for numbers or for dates. */
const TYPES = { getTypeParser: (type: number) => PARSERS[type] ?? String };

/** Reads bytes of a database with `bytea_output = 'escape'`. */
function unescaped(text: string): Buffer {
  const byteOf = (_: string, byte: string) => (byte === '\\' ? byte : String.fromCharCode(Number.parseInt(byte, 8)));
  return Buffer.from(text.replace(/\\(\\|[0-7]{3})/g, byteOf), 'latin1');
}

export class PostgresConnector extends PooledConnector<PgClient, PgConnection> {
  protected readonly begin = ['BEGIN ISOLATION LEVEL READ COMMITTED'];
  private readonly names = new Map<string, string>();
  private prepares = true;
  private isLocated = false;
  private readonly shared: Pool<PgClient>;
  private readonly directTransactions: DirectTransactions<PgConnection> = {
    on: (client) => this.wrap(client as PgClient),
    begin: (runner, client, mark) => beginDirectly(runner, client, markStatement(mark)),
    commit: commitDirectly,
    last: (runner, client) => {
      const last = LastStatement.of(runner, client);
      return last && { on: this.wrap(last), isRefused: () => last.isRefused };
    },
  };

  /** @param connections how many of its own it may open; 0: it shares the data source's pool */
  constructor(
    private readonly dataSource: DataSource,
    dialect: Dialect<PgConnection>,
    connections: number,
  ) {
    const own = (limit: number) => ownPostgresPool(dataSource, limit);
    const shared = sharedPostgresPool(dataSource);
    super(dialect, new StorePools(shared, own, connections), nestingOf(dataSource, shared));
    this.shared = shared;
  }

  /** Absent for what only resembles a pool of `pg`, such as a database in memory: it may refuse two statements in a message. */
  get direct(): DirectTransactions<PgConnection> | undefined {
    return this.shared.limit < Infinity ? this.directTransactions : undefined;
  }

  wakeUp(): WakeUp {
    return new PostgresWakeUp(this.dataSource, this);
  }

  async within(manager: EntityManager): Promise<PgConnection> {
    return this.wrap((await manager.queryRunner!.connect()) as PgClient);
  }

  /** The first statement has to find the tables. It may come long after the boot, when the database was down then. */
  protected on(client: PgClient, place: Place): PgConnection | Promise<PgConnection> {
    const isShared = place === 'alone' && this.pools.sharesConnection(client);
    const on = this.wrap(client, isShared ? sessionOf(client) : undefined);
    this.isLocated ||= !this.direct || tableLocationOf(this.dataSource) !== undefined;
    return this.isLocated ? on : locateTables(this.dataSource, on).then(() => on);
  }

  protected execute(on: PgConnection, statement: string): Promise<unknown> {
    return on.query({ text: statement });
  }

  protected release(client: PgClient, broken: unknown): void {
    releasePostgres(client, broken);
  }

  protected destroy(client: PgClient): void {
    destroyPostgres(this.dataSource, client);
  }

  protected isIntactAfter(error: unknown): boolean {
    const { severity } = (error ?? {}) as { severity?: string };
    return severity !== undefined && !ENDED.has(severity);
  }

  /** A misplaced statement had no effect. From now on, statements are sent without a name. */
  protected override isRepairedAfter(error: unknown): boolean {
    return isMisplaced(error);
  }

  /**
   * Prepares statements by name, until a pooler in transaction mode turns out not to track prepared statements (PgBouncer
   * before 1.21, or with `max_prepared_statements` at 0). Such a pooler's connections outlive ours. The name includes a hash
   * of the text: an older version of a statement must never run instead.
   *
   * @param session of a statement that runs alone on a handler's connection, and is uncommitted where it is in a transaction
   */
  private wrap(client: Pick<PgClient, 'query'>, session?: PgSession): PgConnection {
    const parameter = parametersOf(client);
    return {
      query: ({ name, text, values: given, columns }) =>
        new Promise((resolve, reject) => {
          const values = given?.map(parameter);
          const prepared = name && this.prepares ? this.nameOf(name, text) : undefined;
          const statement = { name: prepared, text, values, columns };
          // By callback: with promises, `pg` would create a second one for each statement.
          const done: PgDone = (error, answer) => {
            if (session?.status === IN_TRANSACTION) return reject(notCommitted());
            if (!error) return resolve(answer);
            if (isMisplaced(error)) this.stopPreparing();
            reject(error);
          };
          if (columns && takesQueryObjects(client)) client.query(new PreparedQuery(statement, done));
          else client.query({ ...statement, types: TYPES }, done);
        }),
    };
  }

  private nameOf(name: string, text: string): string {
    let full = this.names.get(text);
    if (!full) {
      full = `${name}_${createHash('sha256').update(text).digest('hex').slice(0, 12)}`;
      this.names.set(text, full);
    }
    return full;
  }

  private stopPreparing(): void {
    if (!this.prepares) return;
    this.prepares = false;
    new Logger('Idempotency').warn(
      'A pooler in front of PostgreSQL does not keep prepared statements: going on without, so that the server plans each statement again',
    );
  }
}

/** Returns how a client takes a parameter: `pg-native` as text, which it makes of arrays itself. */
function parametersOf(client: object): (value: unknown) => unknown {
  const native = isNative(client);
  return (value) => {
    if (value instanceof ArrayParameter) return native ? value.toArray() : value.toBuffer();
    return native && Buffer.isBuffer(value) ? `\\x${value.toString('hex')}` : value;
  };
}

function isMisplaced(error: unknown): boolean {
  return MISPLACED.has((error as { code?: unknown } | undefined)?.code);
}
