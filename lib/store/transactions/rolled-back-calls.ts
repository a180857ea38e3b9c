import type { EntitySubscriberInterface, QueryRunner } from 'typeorm';
import { current } from '../../engine/current-execution.js';
import { TransactionUndoneError } from '../../engine/errors.js';
import type { HandlerCalls } from '../../engine/handler-calls.js';
import { rolledBackAtCommit } from '../dialects/postgres.js';
import { isWrite } from './statements.js';

/** An event as TypeORM broadcasts it to subscribers. */
interface TransactionEvent {
  readonly queryRunner: QueryRunner;
}

interface StatementEvent extends TransactionEvent {
  readonly query: string;
}

/** The transactions of operations, which {@link RolledBackCalls} ignores: the store itself begins and ends them. */
export const ownRunners = new WeakSet<QueryRunner>();

/**
 * Notices that what a handler wrote was rolled back after it had returned, as by an interceptor that begins a transaction for each
 * request and whose COMMIT the database refuses. Such an operation has no effect. If it were recorded as done, no retry would run it.
 */
export class RolledBackCalls implements EntitySubscriberInterface {
  /** The handlers that wrote in a transaction that is still open. */
  private readonly writers = new WeakMap<QueryRunner, Set<HandlerCalls>>();
  /** Absent until a handler may write in a transaction that it has not begun, so that statements cost nothing where none does. */
  beforeQuery?: (statement: StatementEvent) => void;
  afterQuery?: (statement: StatementEvent & { readonly rawResults?: unknown }) => void;

  afterTransactionStart({ queryRunner }: TransactionEvent): void {
    if (!current()?.isCall && !ownRunners.has(queryRunner)) this.watchWrites();
  }

  /** Called where an operation begins within a handler, too: that handler may have begun a transaction in which the inner one writes. */
  watchWrites(): void {
    this.beforeQuery ??= (statement) => this.noteWrite(statement);
    this.afterQuery ??= (statement) => this.checkCommit(statement);
  }

  afterTransactionCommit({ queryRunner }: TransactionEvent): void {
    this.endOf(queryRunner);
  }

  afterTransactionRollback({ queryRunner }: TransactionEvent): void {
    for (const calls of this.endOf(queryRunner)) calls.noteRollback();
  }

  /** Returns the handlers that wrote in a transaction, if it has ended and not only a savepoint of it. */
  private endOf(runner: QueryRunner): Iterable<HandlerCalls> {
    const writers = this.writers.get(runner);
    if (!writers || runner.isTransactionActive) return [];
    this.writers.delete(runner);
    for (const calls of writers) calls.openTransactions--;
    return writers;
  }

  /**
   * A handler may have caught the error of a statement. PostgreSQL then rolls back at COMMIT, and reports no error.
   *
   * @throws TransactionUndoneError which rejects the COMMIT
   */
  private checkCommit({ query, queryRunner, rawResults }: StatementEvent & { readonly rawResults?: unknown }): void {
    if (this.writers.has(queryRunner) && rolledBackAtCommit(query, rawResults)) throw new TransactionUndoneError();
  }

  private noteWrite({ query, queryRunner }: StatementEvent): void {
    if (!queryRunner.isTransactionActive || ownRunners.has(queryRunner)) return;
    const call = current();
    if (!call?.isCall || !isWrite(query, queryRunner)) return;
    let writers = this.writers.get(queryRunner);
    if (!writers) this.writers.set(queryRunner, (writers = new Set()));
    if (writers.has(call.calls)) return;
    writers.add(call.calls);
    call.calls.openTransactions++;
  }
}
