import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource, EntityManager } from 'typeorm';
import type { CallRunner } from '../../engine/handler-calls.js';
import { sqliteConnectionOf } from '../../private-names/typeorm.js';
import type { Dialect } from '../dialects/dialect.js';
import type { SqliteConnection } from '../dialects/sqlite.js';
import { initialized } from '../data-source.js';
import type { Connector, RehearsalStep } from './connector.js';

/** How often to check whether the application's transaction has ended: better-sqlite3 has no event for it. */
const POLL_EVERY_MS = 2;

/** The transaction that the running code is part of, on a data source's only connection. */
interface OpenTransaction {
  readonly dataSource: DataSource;
  isOpen: boolean;
}

const transactions = new AsyncLocalStorage<OpenTransaction>();

const byDataSource = new WeakMap<DataSource, SqliteConnector>();

/** Returns the one instance for a data source, whose manager it patches, and whose transactions take turns in it. */
export function sqliteConnectorOf(dataSource: DataSource, dialect: Dialect<SqliteConnection>): SqliteConnector {
  let connector = byDataSource.get(dataSource);
  if (!connector) byDataSource.set(dataSource, (connector = new SqliteConnector(dataSource, dialect)));
  return connector;
}

/**
 * TypeORM keeps a single SQLite connection. A statement of the store that ran while the application's transaction is open
 * would become part of it, and be rolled back with it. So it waits until the transaction has ended, and then runs
 * synchronously: no other transaction can begin in between.
 */
export class SqliteConnector implements Connector<SqliteConnection> {
  readonly singleConnection = true;
  private lastTransaction: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly dataSource: DataSource,
    readonly dialect: Dialect<SqliteConnection>,
  ) {
    const { manager } = dataSource;
    const transaction = manager.transaction.bind(manager) as (...args: unknown[]) => Promise<unknown>;
    Object.assign(manager, { transaction: (...args: unknown[]) => this.inTransaction(() => transaction(...args)) });
  }

  /** Covers the application's own `dataSource.transaction()`, but not query runners that it creates itself. */
  waitsForItself(): boolean {
    const transaction = transactions.getStore();
    return transaction?.isOpen === true && transaction.dataSource === this.dataSource;
  }

  inside(): CallRunner {
    const transaction = transactions.getStore()!;
    return (work) => transactions.run(transaction, work);
  }

  async alone<T>(work: (on: SqliteConnection) => Promise<T>): Promise<T> {
    do await this.untilFree();
    while (this.connection.inTransaction);
    return work(this.connection);
  }

  /** Each method of the dialect is a transaction already. */
  atomically<T>(work: (on: SqliteConnection) => Promise<T>): Promise<T> {
    return this.alone(work);
  }

  /** Runs all steps synchronously: no statement of the application can become part of the transaction. */
  async rehearse(steps: readonly RehearsalStep<SqliteConnection>[], reached: (what: string) => void): Promise<void> {
    await this.untilFree();
    const on = this.connection;
    reached(steps[0][0]);
    on.exec('BEGIN IMMEDIATE');
    const results = steps.map(([what, run]) => ({ what, result: run(on) }));
    if (on.inTransaction) on.exec('ROLLBACK');
    void Promise.allSettled(results.map(({ result }) => result));
    for (const { what, result } of results) {
      reached(what);
      await result;
    }
  }

  async within(_manager: EntityManager): Promise<SqliteConnection> {
    return this.connection;
  }

  /** Whether nothing that is committed outlives the process. */
  get isInMemory(): boolean {
    return this.connection.memory;
  }

  get isInTransaction(): boolean {
    return this.connection.inTransaction;
  }

  /** How many rows were written so far, also by code that uses the driver's connection beside TypeORM. */
  get changes(): unknown {
    return this.connection.prepare('SELECT total_changes() AS changes').get()!.changes;
  }

  /**
   * Runs `work`, which is synchronous, outside of the open transaction: commits that, and begins it again. It must have written nothing.
   *
   * @param mark the transaction's
   * @param hasRead whether the transaction has read
   * @returns the promise of `work`, and whether another connection has written since the transaction has read
   */
  outside<T>(
    mark: string,
    hasRead: boolean,
    work: (on: SqliteConnection) => Promise<T>,
  ): { readonly result: Promise<T>; readonly isStale: boolean } {
    const on = this.connection;
    // Changes when another connection commits, and is read only where it matters: to read it locks the database until the transaction ends.
    const version = () => (hasRead ? on.prepare('PRAGMA data_version').get()!.data_version : undefined);
    const before = version();
    on.exec('COMMIT');
    let result: Promise<T>;
    try {
      result = work(on);
    } finally {
      on.exec(`BEGIN; SAVEPOINT ${mark}`);
    }
    let isStale = true;
    try {
      isStale = version() !== before;
    } catch {
      // Locked: another connection writes.
    }
    return { result, isStale };
  }

  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.lastTransaction.then(async () => {
      await this.untilFree();
      return this.inTransaction(work);
    });
    this.lastTransaction = turn.catch(() => undefined);
    return turn;
  }

  private async inTransaction<T>(work: () => Promise<T>): Promise<T> {
    const transaction: OpenTransaction = { dataSource: this.dataSource, isOpen: true };
    try {
      return await transactions.run(transaction, work);
    } finally {
      // Code that `work` left running without awaiting it is outside of the transaction from now on.
      transaction.isOpen = false;
    }
  }

  private async untilFree(): Promise<void> {
    while (this.connection.inTransaction) await sleep(POLL_EVERY_MS);
  }

  private get connection(): SqliteConnection {
    return sqliteConnectionOf(initialized(this.dataSource));
  }
}
