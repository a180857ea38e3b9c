import type { EntityManager, QueryRunner } from 'typeorm';
import type { CallRunner } from '../../engine/handler-calls.js';
import type { WakeUp } from '../../engine/ports/wake-up.js';
import type { Dialect } from '../dialects/dialect.js';
import type { Nesting } from './nesting.js';

/** A step of a rehearsal, and what it tries to do, as an error names it. */
export type RehearsalStep<Connection> = readonly [what: string, run: (on: Connection) => Promise<unknown>];

/**
 * Begins and commits like TypeORM's query runner, in fewer round trips, for transactions that no subscriber observes.
 * `client` is the query runner's.
 */
export interface DirectTransactions<Connection> {
  /** Returns the same as {@link Connector.within}. */
  on(client: unknown): Connection;
  begin(runner: QueryRunner, client: unknown, mark: string): Promise<void>;
  commit(runner: QueryRunner, client: unknown): Promise<void>;
  /** Returns a connection for {@link Dialect.completeLast} that sends COMMIT with it, or `undefined` where none can. */
  last(runner: QueryRunner, client: unknown): LastConnection<Connection> | undefined;
}

export interface LastConnection<Connection> {
  readonly on: Connection;
  /** Returns whether the database refused a statement that failed. Otherwise its transaction may be committed. */
  isRefused(): boolean;
}

/**
 * Gives statements a connection: one of their own, or a transaction's. It calls the driver directly, because TypeORM's query
 * runner can neither prepare a statement by name nor return a row count.
 */
export interface Connector<Connection = unknown> {
  readonly dialect: Dialect<Connection>;
  /**
   * Runs `work` outside of any transaction.
   *
   * @param lockPatienceMs how long to wait for a row that another transaction has locked, in milliseconds. The wait holds no
   *   connection most of the time. Default: as long as one statement waits.
   */
  alone<T>(work: (on: Connection) => Promise<T>, lockPatienceMs?: number): Promise<T>;
  /**
   * Runs `work` in a short READ COMMITTED transaction of its own.
   *
   * @param lockPatienceMs as for {@link alone}
   */
  atomically<T>(work: (on: Connection) => Promise<T>, lockPatienceMs?: number): Promise<T>;
  /**
   * Runs the steps in order, in a transaction of their own that is rolled back.
   *
   * @param reached called before each step, and before what the first one needs: a connection and a transaction
   */
  rehearse(steps: readonly RehearsalStep<Connection>[], reached: (what: string) => void): Promise<void>;
  /** Returns the connection of a TypeORM transaction. */
  within(manager: EntityManager): Promise<Connection>;
  /**
   * Returns whether an error says that the database has rolled back the whole transaction: the connection is in autocommit then. Absent
   * where no error does.
   */
  endsTransaction?(error: unknown): boolean;
  /** Absent where TypeORM must begin and commit. */
  readonly direct?: DirectTransactions<Connection>;
  /**
   * Runs `work`, a transaction. Limits how many run at once, so that statements outside of them always find a connection.
   *
   * @param what the operation, as errors name it
   * @throws StoreUnavailableError when `work` cannot start within `patienceMs` milliseconds. A single connection waits for as
   *   long as the transactions of others take.
   */
  exclusively<T>(work: () => Promise<T>, what: string, patienceMs: number): Promise<T>;
  /** Whether statements within a transaction must use its connection, because there is only one. */
  readonly singleConnection: boolean;
  /** Returns whether the caller runs in a transaction on the only connection: a statement would wait for itself. */
  waitsForItself?(): boolean;
  /** Returns what runs other code within the caller's transaction, where an async context carries it. */
  inside?(): CallRunner;
  /** Detects handlers that need more connections than the pool has. */
  readonly nesting?: Nesting;
  /** Whether the store's own statements use the data source's pool at present. */
  readonly sharesPool?: boolean;
  /** Closes idle connections, after an error which says that all of those opened so far are stale. */
  dropIdle?(): void;
  /** Calls `listener` when all connections opened so far turn out to be stale, as after a failover. */
  onStale?(listener: () => void): void;
  /** Returns what wakes waiters of all processes. Absent where the database has no channel for it. */
  wakeUp?(): WakeUp;
  /** Closes the store's own connections. */
  close?(): Promise<void>;
}
