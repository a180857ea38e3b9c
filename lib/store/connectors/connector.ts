import type { EntityManager, QueryRunner } from 'typeorm';
import type { CallRunner } from '../../engine/handler-calls.js';
import type { Dialect } from '../dialects/dialect.js';
import type { Nesting } from './nesting.js';

/** A step of a rehearsal, and what it tries to do. */
export type RehearsalStep = readonly [what: string, run: () => Promise<unknown>];

/**
 * Begins and commits as TypeORM's query runner does, for transactions that no subscriber observes, at less cost. `client` is the
 * query runner's.
 */
export interface DirectTransactions<Connection> {
  /** The connection that {@link Connector.within} returns. */
  on(client: unknown): Connection;
  /** Begins a transaction that is marked. */
  begin(runner: QueryRunner, client: unknown, mark: string): Promise<void>;
  commit(runner: QueryRunner, client: unknown): Promise<void>;
  /** Returns what {@link Dialect.completeLast} runs on, and commits by; `undefined` where the client cannot. */
  last(runner: QueryRunner, client: unknown): LastConnection<Connection> | undefined;
}

export interface LastConnection<Connection> {
  readonly on: Connection;
  /** Returns whether the database refused the statement, once it has failed. Otherwise its transaction may be committed. */
  isRefused(): boolean;
}

/**
 * Gives statements a connection: to themselves, or a transaction's. The hot path asks the driver directly, as TypeORM's
 * query runner can neither prepare a statement by name nor answer with a row count.
 */
export interface Connector<Connection = unknown> {
  readonly dialect: Dialect<Connection>;
  /**
   * Runs `work` outside of any transaction.
   *
   * @param lockPatienceMs how long it waits for a row that others have locked, in milliseconds, holding no connection most of
   *   that time. By default only as long as a statement does.
   */
  alone<T>(work: (on: Connection) => Promise<T>, lockPatienceMs?: number): Promise<T>;
  /**
   * Runs `work` in a short transaction of its own, in which each statement sees what was committed before it.
   *
   * @param lockPatienceMs as for {@link alone}
   */
  atomically<T>(work: (on: Connection) => Promise<T>, lockPatienceMs?: number): Promise<T>;
  /**
   * Runs what `steps` returns one after the other, in a transaction of its own that is rolled back.
   *
   * @param reached called before each step, and again where the whole is tried on another connection
   */
  rehearse(steps: (on: Connection) => readonly RehearsalStep[], reached: (what: string) => void): Promise<void>;
  /** The connection of a TypeORM transaction. */
  within(manager: EntityManager): Promise<Connection>;
  /** Absent where TypeORM has to begin and commit. */
  readonly direct?: DirectTransactions<Connection>;
  /**
   * Runs `work`, a transaction, while it leaves a connection to the statements of others.
   *
   * @param what the operation that begins it, as errors name it
   * @throws StoreUnavailableError where its turn does not come within `patienceMs` milliseconds. On a single connection it
   *   waits for as long as the others take.
   */
  exclusively<T>(work: () => Promise<T>, what: string, patienceMs: number): Promise<T>;
  /** Whether statements inside a transaction have to go through its connection, because there is only one. */
  readonly singleConnection: boolean;
  /** Returns whether the caller runs inside a transaction on the only connection: what it asks for would wait for itself. */
  waitsForItself?(): boolean;
  /** Returns what runs other code within the caller's transaction, where an async context carries it. */
  inside?(): CallRunner;
  /** Detects handlers that need more connections than the pool has. */
  readonly nesting?: Nesting;
  /** Whether the store's own statements go through the data source's pool at present. */
  readonly sharesPool?: boolean;
  /** Calls `listener` when the connections that were opened until now turn out to be stale, as after a failover. */
  onStale?(listener: () => void): void;
  /** Closes connections that are not the data source's. */
  close?(): Promise<void>;
}
