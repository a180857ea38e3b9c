import { Logger } from '@nestjs/common';
import type { DataSource, EntityManager, EntitySubscriberInterface, QueryRunner } from 'typeorm';
import { current, type CurrentExecution } from '../../engine/current-execution.js';
import { currentStep } from '../../engine/current-step.js';
import {
  OuterTransactionError,
  TransactionControlError,
  TransactionOverError,
  TransactionUndoneError,
} from '../../engine/errors.js';
import { ShortLivedMap } from '../../engine/short-lived.js';
import { StepInTransactionError } from '../../engine/steps.js';
import { leaveToItsOwner } from '../../private-names/typeorm.js';
import type { Connector } from '../connectors/connector.js';
import { discardConnection, isPoisoned, noteError } from '../connectors/discard-connection.js';
import { hasLeftWrites, isInTransactionAfter } from '../dialects/mysql.js';
import { rolledBackAtCommit } from '../dialects/postgres.js';
import { kindOf, lacksSavepoint, says } from '../driver-errors.js';
import { JoinedOperation, settle, settleAtRelease } from './joined-operations.js';
import { ownRunners, RolledBackCalls } from './rolled-back-calls.js';
import {
  changesRole,
  endsSavepoint,
  endsTransaction,
  isWrite,
  onlyReads,
  resetsSettings,
  rollsBack,
} from './statements.js';
import { markAgain, type RawConnection, WatchedTransaction } from './watched-transaction.js';

/**
 * Makes `release()` have no effect until the returned function is called. A handler that treats the query runner as one of its own would
 * return the connection to its pool in the open transaction: another request would commit what it wrote. A data source that is destroyed
 * waits for the transaction.
 */
function keepConnection(runner: QueryRunner): () => void {
  const { release } = runner as { release: unknown };
  const keep = () => Promise.resolve(leaveToItsOwner(runner));
  Object.assign(runner, { release: keep });
  return () => void Object.assign(runner, { release });
}

/** A statement, as TypeORM reports it to subscribers. */
interface Statement {
  readonly query: string;
  readonly queryRunner: QueryRunner;
}

interface StatementResult extends Statement {
  readonly success: boolean;
  readonly rawResults?: unknown;
  readonly error?: unknown;
}

/** The events of statements and transactions that TypeORM broadcasts to subscribers. */
const EVENTS = [
  'beforeQuery',
  'afterQuery',
  'beforeTransactionStart',
  'afterTransactionStart',
  'beforeTransactionCommit',
  'afterTransactionCommit',
] as const satisfies (keyof EntitySubscriberInterface)[];

const AT_BEGIN: readonly (typeof EVENTS)[number][] = ['beforeTransactionStart', 'afterTransactionStart'];

/** Returns whether the application observes transactions or statements, so that TypeORM must begin and commit. */
export function isObserved(dataSource: DataSource): boolean {
  return Boolean(dataSource.options.maxQueryExecutionTime) || observesAny(dataSource, EVENTS);
}

/** Returns whether the application has code that runs when a transaction begins. */
export function hasCodeAtBegin(dataSource: DataSource): boolean {
  return observesAny(dataSource, AT_BEGIN);
}

function observesAny({ subscribers }: DataSource, events: readonly (typeof EVENTS)[number][]): boolean {
  return subscribers.some((one) => !isOwn(one) && events.some((event) => one[event]));
}

function isOwn(subscriber: EntitySubscriberInterface): boolean {
  return subscriber instanceof TransactionWatch || subscriber instanceof RolledBackCalls;
}

/**
 * Watches the statements of handlers in their operations' transactions, as a subscriber of the data source. It refuses
 * statements that would lose an effect. It warns, once for each endpoint, of writes outside of the transaction.
 */
export class TransactionWatch implements EntitySubscriberInterface {
  private readonly logger = new Logger('Idempotency');
  /** The watched ones. Not a WeakMap: V8 keeps the values of one until its next major garbage collection. */
  private readonly transactions = new ShortLivedMap<QueryRunner, WatchedTransaction>();
  private readonly warnedOf = new Set<string>();
  /** Ends {@link watchSingleConnection}. */
  private leaveSingleConnection: (() => void) | undefined;
  private readonly leftWritesOf = new Set<string>();

  constructor(private readonly connector: Connector) {}

  /**
   * Runs `work` in a transaction that has just begun, and watches it until {@link unwatch}.
   *
   * @param begun the transaction, if BEGIN has marked it
   */
  async during<T>(
    manager: EntityManager,
    begun: WatchedTransaction | undefined,
    work: (transaction: WatchedTransaction) => Promise<T>,
  ): Promise<T> {
    const runner = manager.queryRunner!;
    this.subscribe(manager);
    const joined = begun ? undefined : this.joined(runner);
    const transaction = begun ?? joined ?? this.mark(manager);
    transaction.runner = runner;
    this.transactions.set(runner, transaction);
    ownRunners.add(runner);
    if (!transaction.client) transaction.listenTo((await runner.connect()) as RawConnection);
    // Not by a later operation that joins: the code that began the transaction releases the connection after the first one.
    const allowRelease = transaction.operations++ === 0 ? keepConnection(runner) : undefined;
    this.connector.nesting?.enter();
    let operation: JoinedOperation | undefined;
    try {
      if (joined) operation = await JoinedOperation.begin(joined, this.connector);
      const result = await work(transaction);
      if (operation) await operation.end();
      return result;
    } catch (error) {
      // Its caller rolls a transaction back that it has begun.
      if (!joined) transaction.phase = 'failed';
      else if (operation) await operation.undo(error);
      // The code that began the transaction releases the connection, and its pool then drops it.
      if (isPoisoned(runner)) await discardConnection(runner);
      throw error;
    } finally {
      allowRelease?.();
      if (--transaction.operations === 0) {
        if (transaction.phase === 'open' || transaction.phase === 'undone') transaction.phase = 'ending';
        ownRunners.delete(runner);
        this.connector.nesting?.leave(manager);
      }
    }
  }

  /**
   * Called once a transaction is committed or rolled back. Has no effect while an outer operation shares the transaction.
   *
   * @returns a promise where operations had joined it, once they know of its end
   */
  unwatch(transaction: WatchedTransaction): Promise<unknown> | undefined {
    const { operations, runner, settlements } = transaction;
    if (operations > 0) return undefined;
    if (this.transactions.get(runner!) === transaction) this.transactions.delete(runner!);
    if (settlements.length === 0) return undefined;
    if (!transaction.isOfCaller) return settle(transaction);
    settleAtRelease(transaction);
    return undefined;
  }

  /**
   * Calls `settlement` at the end of a transaction that goes on behind an operation. Returns whether it goes on. On a single connection,
   * no operation joins another transaction, and the state of its only query runner may already be that of the next one.
   */
  settleAtEnd(transaction: WatchedTransaction, settlement: () => Promise<unknown>): boolean {
    const { operations, settlements } = transaction;
    if (this.connector.singleConnection || (operations === 0 && !transaction.isOfCaller)) return false;
    settlements.push(settlement);
    if (operations === 0 && settlements.length === 1) settleAtRelease(transaction);
    return true;
  }

  /**
   * Unsubscribes when the application closes: another one may use the data sources, and would call the watches of all before it. Transactions
   * that go on stay watched.
   */
  stop(dataSources: readonly DataSource[]): void {
    if (this.transactions.size > 0) return;
    for (const { subscribers } of dataSources)
      if (subscribers.includes(this)) subscribers.splice(subscribers.indexOf(this), 1);
    this.leaveSingleConnection?.();
  }

  /** Returns the transaction of another operation, if a transaction host joined this one to it. */
  private joined(runner: QueryRunner): WatchedTransaction | undefined {
    const transaction = this.transactions.get(runner);
    return transaction?.operations === 0 ? undefined : transaction;
  }

  /** Returns the transaction that a manager is in, if it is watched. */
  transactionOf({ queryRunner }: EntityManager): WatchedTransaction | undefined {
    return this.transactions.get(queryRunner!);
  }

  private mark(manager: EntityManager): WatchedTransaction {
    const transaction = new WatchedTransaction();
    const mark = async () => {
      const on = await this.connector.within(manager);
      await this.connector.dialect.markTransaction(on, transaction.mark);
      transaction.on = on;
    };
    // Not awaited here: the driver sends it before the handler's first statement, without waiting for its answer.
    transaction.marking = mark();
    transaction.marking.catch(() => undefined);
    return transaction;
  }

  /** Called by TypeORM before each statement of the data source. An error that it throws rejects the statement. */
  beforeQuery({ query, queryRunner }: Statement): void {
    const transaction = this.transactions.get(queryRunner);
    if (!transaction) return this.warnOfForeignWrite(query, queryRunner);
    if (transaction.phase === 'ending') {
      if (query === 'COMMIT') {
        // It would succeed, and the response be sent, though nothing is left to commit.
        if (transaction.isRolledBack) throw new TransactionUndoneError({ cause: transaction.cause });
        transaction.phase = 'committing';
      }
      return this.warnOfForeignWrite(query, queryRunner);
    }
    if (transaction.phase === 'undone') throw new TransactionUndoneError({ cause: transaction.cause });
    if (transaction.phase !== 'open') return refuseLeftRunning(queryRunner);
    if (endsTransaction(query, this.connector.dialect)) throw new TransactionControlError(query);
    if (changesRole(query)) transaction.hasOtherRole = true;
    const step = currentStep();
    const isOfStep = step && (step.transaction.manager as EntityManager).queryRunner === queryRunner;
    if (isOfStep && isWrite(query, queryRunner)) throw new StepInTransactionError(step.name);
    refuseOfInner(queryRunner, query);
    if (!this.connector.singleConnection) return;
    if (onlyReads(query)) transaction.hasRead = true;
    else transaction.mayHaveWritten = true;
  }

  /** Called by TypeORM after each statement of the data source, and awaited before the statement resolves. */
  afterQuery({ query, queryRunner, success, rawResults, error }: StatementResult): Promise<void> | undefined {
    const transaction = this.transactions.get(queryRunner);
    if (transaction?.phase === 'ending' || transaction?.phase === 'committing') {
      return this.checkEnding(transaction, query, { success, rawResults, error });
    }
    if (transaction && hasLeftWrites(rawResults) && rollsBack(query)) this.warnOfLeftWrites(transaction);
    if (transaction?.phase !== 'open') return undefined;
    if (success) {
      if (resetsSettings(query)) return markAgain(this.connector, transaction);
      if (isInTransactionAfter(rawResults) !== false) return undefined;
      transaction.phase = 'undone';
      transaction.mayBeCommitted = true;
      return undefined;
    }
    if (endsSavepoint(query) && lacksSavepoint(error)) {
      transaction.phase = 'undone';
      transaction.cause ??= new Error(
        'Transactions within this one have overlapped, and TypeORM has taken the savepoint of one for that of another: have the handler ' +
          'wait for each before it begins the next',
        { cause: error },
      );
      return undefined;
    }
    return this.checkAfter(error, transaction);
  }

  /**
   * Subscribers of the application write before COMMIT, and may catch what fails there, or roll back. The transaction is undone then, the
   * completion with it. COMMIT would succeed all the same, and the response be sent.
   *
   * @throws TransactionUndoneError which rejects the COMMIT
   */
  private checkEnding(
    transaction: WatchedTransaction,
    query: string,
    { success, rawResults, error }: Pick<StatementResult, 'success' | 'rawResults' | 'error'>,
  ): Promise<void> | undefined {
    if (success && rollsBack(query)) transaction.isRolledBack = true;
    if (!transaction.runner!.isTransactionActive) return undefined;
    if (rolledBackAtCommit(query, rawResults)) throw new TransactionUndoneError({ cause: transaction.cause });
    if (success || query === 'COMMIT') return undefined;
    transaction.cause ??= error;
    return this.checkAfter(error, transaction);
  }

  private checkAfter(error: unknown, transaction: WatchedTransaction): Promise<void> | undefined {
    if (says(error, 'closesConnection')) transaction.lost.error = error;
    noteError(this.connector, transaction.runner!, error);
    if (!this.connector.endsTransaction?.(error)) return this.checkTransaction(transaction, error);
    // Synchronously, because TypeORM before 1.0 does not await this method.
    transaction.phase = 'undone';
    transaction.cause = error;
    return undefined;
  }

  private async checkTransaction(transaction: WatchedTransaction, error: unknown): Promise<void> {
    const on = await this.connector.within(transaction.runner!.manager);
    // A lost connection has lost its transaction too, and the statement's own error reports that.
    const isThere = await this.connector.dialect.isInTransaction(on).catch(() => true);
    if (isThere) return;
    transaction.phase = 'undone';
    transaction.cause = error;
    // SQLite rolls back at some errors, and every database at a conflict.
    transaction.mayBeCommitted = this.connector.dialect.commitsImplicitly && kindOf(error) !== 'conflict';
  }

  private warnOfLeftWrites({ endpoint }: WatchedTransaction): void {
    if (this.leftWritesOf.has(endpoint)) return;
    this.leftWritesOf.add(endpoint);
    this.logger.error(
      `${endpoint}: a ROLLBACK has not undone all that the handler wrote: a table has an engine without transactions, such as MyISAM. ` +
        'What is there stays, and a retry writes it again. Convert the table: ALTER TABLE <name> ENGINE = InnoDB',
    );
  }

  /** Warns of a write outside of the transaction: after a rollback and a retry, it is there twice. */
  private warnOfForeignWrite(query: string, on: QueryRunner): void {
    const execution = current()?.execution;
    const manager = execution?.openTransaction as EntityManager | undefined;
    if (!manager || currentStep() || !isWrite(query, on)) return;
    if (this.transactionOf(manager)?.phase !== 'open') return;
    const { endpoint } = execution!;
    if (this.warnedOf.has(endpoint)) return;
    this.warnedOf.add(endpoint);
    this.logger.warn(
      `${endpoint}: the handler of this transactional operation writes through another connection than execution.manager. ` +
        'What it writes there stays when the operation is rolled back, and a retry writes it again. Write through ' +
        'execution.manager (execution.manager.getRepository(Entity)), or through the transaction of a `transactionHost`',
    );
  }

  /** Subscribes each time: a data source that is initialized again has a new list of subscribers. */
  private subscribe({ queryRunner }: EntityManager): void {
    const { subscribers } = queryRunner!.connection;
    if (subscribers.includes(this)) return;
    // As the first one: an application may add a subscriber, and remove the last one again.
    subscribers.unshift(this);
    if (this.connector.singleConnection) this.leaveSingleConnection ??= this.watchSingleConnection(queryRunner!);
  }

  /**
   * SQLite's driver has one query runner for all. A manager that requests it during an operation is not the operation's own,
   * which has it already.
   *
   * @returns what ends it
   */
  private watchSingleConnection({ connection: dataSource }: QueryRunner): () => void {
    const createQueryRunner = dataSource.createQueryRunner.bind(dataSource);
    const property = () => Object.getOwnPropertyDescriptor(dataSource, 'createQueryRunner');
    const before = property();
    const watched: typeof createQueryRunner = (mode) => {
      const runner = createQueryRunner(mode);
      if (!current()?.execution.openTransaction) return runner;
      const query = (text: string, ...rest: [parameters?: unknown[]]): Promise<unknown> => {
        this.warnOfForeignWrite(text, runner);
        return runner.query(text, ...rest);
      };
      return new Proxy(runner, {
        get: (target, name) => (name === 'query' ? query : Reflect.get(target, name, target)),
      });
    };
    dataSource.createQueryRunner = watched;
    return () => {
      if (property()?.value !== watched) return;
      if (before) Object.defineProperty(dataSource, 'createQueryRunner', before);
      else Reflect.deleteProperty(dataSource, 'createQueryRunner');
    };
  }
}

function runnerOf({ execution }: CurrentExecution): QueryRunner | undefined {
  return (execution.openTransaction as EntityManager | undefined)?.queryRunner;
}

/** Refuses what the handler has left running. COMMIT and ROLLBACK are sent from outside of the execution, and so are statements of subscribers. */
function refuseLeftRunning(runner: QueryRunner): void {
  for (let at = current(); at; at = at.outer) if (runnerOf(at) === runner) throw new TransactionOverError();
}

/** Refuses writes of an inner operation in the transaction of an outer one, unless a transaction host joined the inner one to it. */
function refuseOfInner(runner: QueryRunner, query: string): void {
  const inner = current();
  if (!inner?.outer || runnerOf(inner) === runner) return;
  for (let at: CurrentExecution | undefined = inner.outer; at; at = at.outer) {
    if (runnerOf(at) !== runner || !isWrite(query, runner)) continue;
    throw new OuterTransactionError(inner.execution.endpoint, at.execution.endpoint);
  }
}
