import { Logger } from '@nestjs/common';
import { randomBytes } from 'node:crypto';
import type { DataSource, EntityManager, EntitySubscriberInterface, QueryRunner } from 'typeorm';
import { current } from '../../engine/current-execution.js';
import { currentStep } from '../../engine/current-step.js';
import { TransactionControlError, TransactionUndoneError } from '../../engine/errors.js';
import { ShortLivedMap } from '../../engine/short-lived.js';
import { StepInTransactionError } from '../../engine/steps.js';
import type { Connector } from '../connectors/connector.js';
import { discardConnection, isPoisoned, noteError } from '../connectors/discard-connection.js';
import { isInTransactionAfter } from '../dialects/mysql.js';
import { isConflict, undoesTransaction } from '../driver-errors.js';
import { endsTransaction, isWrite } from './statements.js';

/** A driver's connection: those over a network report by an event that they are lost. */
interface RawConnection {
  on?(event: 'error', listener: (error: unknown) => void): void;
}

/** What a connection reported before it was lost: its server may have said why it closed it. */
interface LastWords {
  error?: unknown;
}

const lastWords = new WeakMap<RawConnection, LastWords>();

function lastWordsOf(connection: RawConnection): Readonly<LastWords> {
  const known = lastWords.get(connection);
  // What was reported during an earlier transaction did not end this one.
  if (known) return Object.assign(known, { error: undefined });
  const words: LastWords = {};
  lastWords.set(connection, words);
  // Once for each connection: a pool hands it out for many transactions.
  connection.on?.('error', (error) => (words.error ??= error));
  return words;
}

/** What every mark of this process begins with. */
const MARKS_OF_PROCESS = `nestjs_${randomBytes(8).toString('hex')}_`;
let marks = 0;

/**
 * The transaction of a transactional operation.
 *
 * - `open`: statements pass, except those that would end the transaction, and what a step writes.
 * - `undone`: the database has rolled it back, as MySQL does at a deadlock, or a statement has committed it. Every further
 *   statement is refused, as PostgreSQL does by itself: a handler that caught the error would go on in autocommit, and
 *   keep half of what it does.
 * - `ending`: the handler has ended. The code that began the transaction commits it or rolls it back.
 */
type Phase = 'open' | 'undone' | 'ending';

export class WatchedTransaction {
  phase: Phase = 'open';
  /** What the handler's statement met when the transaction was undone. */
  cause: unknown;
  /** The transaction ended, and it is not known that it was rolled back: what it wrote may be there. */
  mayBeCommitted = false;
  /** A savepoint or setting that lives as long as the transaction, and is new for each. */
  readonly mark = MARKS_OF_PROCESS + (++marks).toString(36);
  /** Where the store's statements go; absent until the transaction is marked. */
  on: unknown;
  /** Resolves once the transaction is marked; handled in any case. Absent where it was marked as it began. */
  marking: Promise<void> | undefined;
  /** It was committed by the completion. */
  isCommitted = false;
  /** The driver's connection. */
  client: RawConnection | undefined;
  lastWords: Readonly<LastWords> = {};
  /** How many operations share the transaction, where a transaction host joins them. */
  operations = 0;

  /** @param client the driver's connection */
  listenTo(client: RawConnection): void {
    this.client = client;
    this.lastWords = lastWordsOf(client);
  }
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

/** The events of a statement or a transaction that TypeORM broadcasts to subscribers. */
const EVENTS = [
  'beforeQuery',
  'afterQuery',
  'beforeTransactionStart',
  'afterTransactionStart',
  'beforeTransactionCommit',
  'afterTransactionCommit',
] as const satisfies (keyof EntitySubscriberInterface)[];

/** Returns whether the application listens to how its transactions begin and commit, or measures their statements. */
export function isObserved({ subscribers, options }: DataSource): boolean {
  if (options.maxQueryExecutionTime) return true;
  return subscribers.some((one) => !(one instanceof TransactionWatch) && EVENTS.some((event) => one[event]));
}

/**
 * Watches what handlers do with the transactions of their operations, as a subscriber of the data source: it refuses
 * statements that would lose an effect, and warns, once for each endpoint, of writes that are not part of the transaction.
 */
export class TransactionWatch implements EntitySubscriberInterface {
  private readonly logger = new Logger('Idempotency');
  /** Those that are open. Not a WeakMap: V8 takes the values of one for reachable until its next major collection. */
  private readonly transactions = new ShortLivedMap<QueryRunner, WatchedTransaction>();
  private readonly warnedOf = new Set<string>();

  constructor(private readonly connector: Connector) {}

  /**
   * Runs `work` in a transaction that has just begun, and watches it until `work` has ended.
   *
   * @param begun the transaction, where it is marked already
   */
  async during<T>(
    manager: EntityManager,
    begun: WatchedTransaction | undefined,
    work: (transaction: WatchedTransaction) => Promise<T>,
  ): Promise<T> {
    const runner = manager.queryRunner!;
    this.subscribe(manager);
    const transaction = begun ?? this.joined(runner) ?? this.mark(manager);
    this.transactions.set(runner, transaction);
    if (!transaction.client) transaction.listenTo((await runner.connect()) as RawConnection);
    transaction.operations++;
    this.connector.nesting?.enter();
    try {
      return await work(transaction);
    } catch (error) {
      // The code that began the transaction gives the connection back.
      if (isPoisoned(runner)) await discardConnection(runner);
      throw error;
    } finally {
      if (--transaction.operations === 0) {
        transaction.phase = 'ending';
        if (this.transactions.get(runner) === transaction) this.transactions.delete(runner);
        this.connector.nesting?.leave(manager);
      }
    }
  }

  /** The transaction of another operation, which a transaction host joins this one to. */
  private joined(runner: QueryRunner): WatchedTransaction | undefined {
    const transaction = this.transactions.get(runner);
    return transaction?.phase === 'ending' ? undefined : transaction;
  }

  private mark(manager: EntityManager): WatchedTransaction {
    const transaction = new WatchedTransaction();
    const mark = async () => {
      const on = await this.connector.within(manager);
      await this.connector.dialect.markTransaction(on, transaction.mark);
      transaction.on = on;
    };
    // Not awaited here: it takes its place before the handler's first statement, and costs no round trip of its own.
    transaction.marking = mark();
    transaction.marking.catch(() => undefined);
    return transaction;
  }

  /** Called by TypeORM before each statement of the data source; what it throws, the statement's caller gets. */
  beforeQuery({ query, queryRunner }: Statement): void {
    const transaction = this.transactions.get(queryRunner);
    if (!transaction || transaction.phase === 'ending') return this.noteForeignWrite(query);
    if (transaction.phase === 'undone') throw new TransactionUndoneError({ cause: transaction.cause });
    if (endsTransaction(query, this.connector.dialect.name)) throw new TransactionControlError(query);
    const step = currentStep();
    const isOfStep = step && (step.transaction.manager as EntityManager).queryRunner === queryRunner;
    if (isOfStep && isWrite(query)) throw new StepInTransactionError(step.name);
  }

  /** Called by TypeORM after each statement of the data source, and awaited before the statement's caller goes on. */
  afterQuery({ queryRunner, success, rawResults, error }: StatementResult): Promise<void> | undefined {
    const transaction = this.transactions.get(queryRunner);
    if (transaction?.phase !== 'open') return undefined;
    if (success) {
      if (isInTransactionAfter(rawResults) !== false) return undefined;
      transaction.phase = 'undone';
      transaction.mayBeCommitted = true;
      return undefined;
    }
    noteError(queryRunner, error);
    if (!undoesTransaction(error)) return this.lookForTransaction(queryRunner, transaction, error);
    // At once, as TypeORM before 1.0 does not wait for this method.
    transaction.phase = 'undone';
    transaction.cause = error;
    return undefined;
  }

  private async lookForTransaction(
    runner: QueryRunner,
    transaction: WatchedTransaction,
    error: unknown,
  ): Promise<void> {
    const on = await this.connector.within(runner.manager);
    // A connection that is lost has lost its transaction: the statement's error says so.
    const isThere = await this.connector.dialect.isInTransaction(on).catch(() => true);
    if (isThere) return;
    transaction.phase = 'undone';
    transaction.cause = error;
    // SQLite rolls back at some errors; MySQL commits before a statement such as DDL, though that then fails.
    transaction.mayBeCommitted = this.connector.dialect.name === 'mysql' && !isConflict(error);
  }

  /** A write that the transaction does not undo: where the operation is rolled back and tried again, it is made twice. */
  private noteForeignWrite(query: string): void {
    const execution = current()?.execution;
    const manager = execution?.openTransaction as EntityManager | undefined;
    if (!manager || currentStep() || !isWrite(query)) return;
    if (this.transactions.get(manager.queryRunner!)?.phase !== 'open') return;
    const { endpoint } = execution!;
    if (this.warnedOf.has(endpoint)) return;
    this.warnedOf.add(endpoint);
    this.logger.warn(
      `${endpoint}: the handler of this transactional operation writes through another connection than execution.manager. ` +
        'What it writes there stays when the operation is rolled back, and a retry writes it again. Write through ' +
        'execution.manager (execution.manager.getRepository(Entity)), or give the option `transactionHost`',
    );
  }

  /** A data source that is initialized again has a new list of subscribers. */
  private subscribe({ queryRunner }: EntityManager): void {
    const { subscribers } = queryRunner!.connection;
    if (subscribers.includes(this)) return;
    // First, as what an application adds and takes away again is the last.
    subscribers.unshift(this);
    if (this.connector.singleConnection) this.watchSingleConnection(queryRunner!);
  }

  /**
   * SQLite's driver has one query runner for all. A manager that asks for it during an operation is not the operation's own, which has
   * it already.
   */
  private watchSingleConnection({ connection: dataSource }: QueryRunner): void {
    const createQueryRunner = dataSource.createQueryRunner.bind(dataSource);
    dataSource.createQueryRunner = (mode) => {
      const runner = createQueryRunner(mode);
      if (!current()?.execution.openTransaction) return runner;
      const query = (text: string, ...rest: [parameters?: unknown[]]): Promise<unknown> => {
        this.noteForeignWrite(text);
        return runner.query(text, ...rest);
      };
      return new Proxy(runner, {
        get: (target, name) => (name === 'query' ? query : Reflect.get(target, name, target)),
      });
    };
  }
}
