import { AsyncResource } from 'node:async_hooks';
import type { DataSource, EntityManager } from 'typeorm';
import { current } from '../engine/current-execution.js';
import { isTombstone, type StoredOutcome } from '../engine/outcome.js';
import type { CallRunner } from '../engine/handler-calls.js';
import type {
  Claim,
  Completion,
  FencedAnswer,
  Ownership,
  RecordStore,
  RecordState,
  StepStore,
  StoreTransaction,
} from '../engine/ports/record-store.js';
import {
  CommitUnknownError,
  StoreUnavailableError,
  TransactionEndedError,
  TransactionUndoneError,
  UnreadableRecordError,
} from '../engine/errors.js';
import type { Connector, RehearsalStep } from './connectors/connector.js';
import { SqliteConnector } from './connectors/sqlite-connector.js';
import { TimeLimit, withDeadline } from './deadline.js';
import {
  type CompletionRow,
  type ForgottenBatch,
  NOT_HELD,
  type RecordRow,
  type Unchanged,
} from './dialects/dialect.js';
import { GroupCommit } from './group-commit.js';
import { closedConnection, isRetryable, retryingConflicts } from './driver-errors.js';
import { explainStore } from './missing-tables.js';
import { onOpened } from './transactions/opened-data-sources.js';
import { OwnTransactions } from './transactions/own-transactions.js';
import { RolledBackCalls } from './transactions/rolled-back-calls.js';
import { fieldOfHead, noSealer, type Sealer } from './sealer.js';
import { SqlStepStore } from './sql-step-store.js';
import { ask, besideTransaction, nestedIn, patienceOf, type Work } from './statements.js';
import { SingleConnectionWrites } from './transactions/single-connection-writes.js';
import type { TransactionHost } from './transactions/transaction-host.js';
import { hasCodeAtBegin, isObserved, TransactionWatch } from './transactions/transaction-watch.js';
import type { WatchedTransaction } from './transactions/watched-transaction.js';

export interface SqlRecordStoreSettings {
  /** How long a statement may take, in milliseconds. After that, the store counts as unavailable. */
  readonly timeoutMs: number;
  readonly sealer: Sealer;
  /** Begins and commits the transactions of operations. Default: the store does. */
  readonly transactionHost?: TransactionHost;
}

/** The handler has had its say: its further transaction would have nothing to wait for, and stay open. */
const RUN_TWICE =
  'The option `transactionHost`: run() has run its work twice. Leave it to the client to try again, or to an interceptor';

/** While one batch is in flight, all that arrives joins the next: the fewest commits, each of which waits for the disk. */
const IN_FLIGHT = 1;
const MAX_CLAIMS = 128;
const MAX_COMPLETIONS = 64;

/**
 * Keeps records in a SQL database: batches, deadlines, encryption and transactions. The statements are the dialect's,
 * the connections the connector's.
 */
export class SqlRecordStore implements RecordStore {
  readonly steps: StepStore;
  private readonly claims: GroupCommit<Claim, RecordRow, RecordState>;
  private readonly completions: GroupCommit<CompletionRow, FencedAnswer>;
  /** For the statements of transactions: BEGIN, the completion, COMMIT and ROLLBACK. */
  private readonly timeLimit: TimeLimit;
  private readonly ownTransactions: OwnTransactions;
  private readonly watch: TransactionWatch;
  private readonly singleConnection: SingleConnectionWrites | undefined;
  private readonly rolledBackCalls = new RolledBackCalls();
  private watched: readonly DataSource[] = [];
  private stopWatching: (() => void) | undefined;
  /** How long an execution waits for a statement on its own record, in milliseconds. */
  private readonly patienceMs: number;

  constructor(
    private readonly dataSource: DataSource,
    private readonly connector: Connector,
    private readonly settings: SqlRecordStoreSettings,
  ) {
    const { dialect } = connector;
    this.patienceMs = patienceOf(connector, settings.timeoutMs);
    const groupSettings = (maxBatch: number, patienceMs: number) => ({
      ...(dialect.batches ? { maxBatch, inFlight: IN_FLIGHT } : { maxBatch: 1, inFlight: Infinity }),
      patienceMs,
      isCommon: isRetryable,
    });
    this.claims = new GroupCommit(
      (claims) => this.claimBatch(claims),
      groupSettings(MAX_CLAIMS, settings.timeoutMs),
      (row) => this.recordState(row),
    );
    this.completions = new GroupCommit(
      (rows) => this.completeBatch(rows),
      groupSettings(MAX_COMPLETIONS, this.patienceMs),
      (answer) => answer,
    );
    this.timeLimit = new TimeLimit(settings.timeoutMs);
    this.ownTransactions = new OwnTransactions(dataSource, connector, this.timeLimit);
    this.watch = new TransactionWatch(connector);
    if (connector instanceof SqliteConnector) this.singleConnection = new SingleConnectionWrites(connector, this.watch);
    this.steps = new SqlStepStore(connector, settings.sealer, this.patienceMs, this.singleConnection);
  }

  /** Watches what handlers write to data sources that the application opens from now on, as for a tenant. */
  watchOpened(): void {
    this.stopWatching ??= onOpened((dataSource) => void this.subscribeTo(dataSource));
  }

  /**
   * Watches what handlers write. Warns of what transactional ones write to other data sources, which never commits with the outcome.
   *
   * @param others the application's data sources besides the store's
   */
  watchWrites(others: readonly DataSource[]): void {
    this.watched = [this.dataSource, ...others];
    this.subscribe();
  }

  /**
   * @param duringRequest a request may have begun a transaction. Called for each one: a data source makes a new list of subscribers when it
   *   is initialized, after the boot or again.
   */
  private subscribe(duringRequest = false): void {
    for (const dataSource of this.watched) {
      if (this.subscribeTo(dataSource) && duringRequest) this.rolledBackCalls.watchWrites();
    }
  }

  /** Returns whether it was not subscribed before. */
  private subscribeTo({ subscribers }: DataSource): boolean {
    if (subscribers.includes(this.rolledBackCalls)) return false;
    // Transactional operations subscribe to the store's data source themselves.
    const isOther = subscribers !== this.dataSource.subscribers;
    if (isOther && !subscribers.includes(this.watch)) subscribers.push(this.watch);
    subscribers.push(this.rolledBackCalls);
    return true;
  }

  claim(claim: Claim, onLate?: (record: RecordState) => void): Promise<RecordState> {
    const { connector } = this;
    this.subscribe(true);
    const nested = nestedIn(connector, claim.endpoint);
    if (nested) return Promise.reject(nested);
    if (current()?.isCall) this.rolledBackCalls.watchWrites();
    const { recordId, request } = claim;
    const sealed = request && this.settings.sealer.seal(request, { recordId, field: 'request' });
    const item = sealed === request ? claim : { ...claim, request: sealed };
    if (!connector.sharesPool) return this.claims.add(item, onLate);
    return besideTransaction(connector, claim.endpoint, () => this.claims.add(item, onLate));
  }

  async read(recordId: string): Promise<RecordState | undefined> {
    const row = await this.ask((on) => this.connector.dialect.read(on, recordId));
    return row && this.recordState(row);
  }

  complete(ownership: Ownership, completion: Completion): Promise<FencedAnswer> {
    const row = this.completionRow(ownership, completion);
    if (!this.connector.sharesPool) return this.completions.add(row);
    return besideTransaction(this.connector, 'a completion', () => this.completions.add(row), undefined, true);
  }

  release(ownership: Ownership, retentionMs: number): Promise<FencedAnswer> {
    return this.ask((on) => this.connector.dialect.endLease(on, ownership, 'failed', retentionMs), this.patienceMs);
  }

  /** A retention of 0 does no harm: a held record never expires. */
  hold(ownership: Ownership): Promise<FencedAnswer> {
    return this.ask((on) => this.connector.dialect.endLease(on, ownership, 'held', 0), this.patienceMs);
  }

  discard(ownership: Ownership): Promise<FencedAnswer> {
    return this.ask((on) => this.connector.dialect.discard(on, ownership), this.patienceMs);
  }

  renew(
    ownership: Ownership,
    leaseMs: number,
    transactional = false,
    within?: StoreTransaction,
  ): Promise<FencedAnswer> {
    const { connector, patienceMs, singleConnection } = this;
    const renew: Work<FencedAnswer> = (on) => connector.dialect.renew(on, ownership, leaseMs, transactional);
    if (within && singleConnection)
      return withDeadline(singleConnection.run(within.manager as EntityManager, renew), patienceMs);
    // Not checked for nesting: no handler waits for a heartbeat, so a heartbeat may wait for a connection.
    return ask(connector, patienceMs, renew);
  }

  async markAwaited(recordId: string, transactional = false): Promise<RecordState | undefined> {
    await this.ask((on) => this.connector.dialect.markAwaited(on, recordId, transactional));
    return this.read(recordId);
  }

  async transaction<T>(
    work: (transaction: StoreTransaction) => Promise<T>,
    endpoint = 'a transactional operation',
  ): Promise<T> {
    const { transactionHost: host, timeoutMs } = this.settings;
    let workHasBegun = false;
    let workIsDone = false;
    let transaction: WatchedTransaction | undefined;
    const during = (manager: EntityManager, begun: WatchedTransaction | undefined) => {
      if (workHasBegun) return Promise.reject(new Error(RUN_TWICE));
      workHasBegun = true;
      return this.watch
        .during(manager, begun, (watched) => {
          transaction = watched;
          watched.endpoint ||= endpoint;
          this.singleConnection?.onBegun(watched, host !== undefined || hasCodeAtBegin(this.dataSource));
          return work(this.storeTransaction(manager, watched));
        })
        .then((answer) => {
          workIsDone = true;
          return answer;
        });
    };
    const run = () =>
      host ? host.run(this.dataSource, (manager) => during(manager, undefined)) : this.ownTransactions.run(during);
    try {
      const result = await this.connector.exclusively(run, endpoint, timeoutMs);
      if (!workIsDone) throw new Error('The option `transactionHost`: run() resolved without running its work');
      return result;
    } catch (error) {
      throw transactionError(error, workIsDone, transaction);
    } finally {
      const settled = transaction && this.watch.unwatch(transaction);
      if (settled) await settled;
    }
  }

  private storeTransaction(manager: EntityManager, transaction: WatchedTransaction): StoreTransaction {
    return {
      manager,
      inside: this.inside(),
      complete: (ownership, completion) => this.completeWithin(transaction, this.completionRow(ownership, completion)),
      completeLast: (ownership, completion) =>
        this.completeLast(manager, transaction, this.completionRow(ownership, completion)),
      settleAtEnd: this.settings.transactionHost && ((settle) => this.watch.settleAtEnd(transaction, settle)),
    };
  }

  closedConnection(error: unknown): boolean {
    return closedConnection(error);
  }

  isRetryable(error: unknown): boolean {
    return error instanceof StoreUnavailableError || error instanceof CommitUnknownError || isRetryable(error);
  }

  explain(error: unknown): string {
    return explainStore(error);
  }

  /** Closes the store's own connections. Later calls still work: they use the data source's pool. */
  async close(): Promise<void> {
    this.stopWatching?.();
    for (const { subscribers } of this.watched) {
      const index = subscribers.indexOf(this.rolledBackCalls);
      if (index >= 0) subscribers.splice(index, 1);
    }
    this.watch.stop([this.dataSource, ...this.watched]);
    this.watched = [];
    await this.connector.close?.();
  }

  /**
   * Resolves a held record with an outcome, or frees it for the next request (`null`). Returns whether it was held.
   *
   * @param retentionMs how long the record is kept from now. Default: the operation's own retention.
   * @param token the fencing token that the record must still have: an operator's finding about one attempt must not
   *   resolve a later one. Default: any.
   */
  async resolveHeld(
    recordId: string,
    outcome: StoredOutcome | null,
    retentionMs: number | null = null,
    token: number | null = null,
  ): Promise<boolean> {
    const record = outcome && this.isSealing ? await this.read(recordId) : undefined;
    const row = outcome && this.withBytes('seal', { recordId, binding: record?.binding }, outcome);
    return this.askAtomically('resolve()', (on) =>
      this.connector.dialect.resolveHeld(on, recordId, row, retentionMs, token),
    );
  }

  /** Deletes a record that is still as `unchanged` says. Returns whether a record was deleted. */
  async forget(recordId: string, unchanged: Unchanged = {}): Promise<boolean> {
    return this.askAtomically('forget()', (on) => this.connector.dialect.forget(on, recordId, unchanged));
  }

  /** Deletes up to `limit` records of the scopes with these digests, except those that an execution holds a lease on. */
  async forgetScope(digests: readonly Buffer[], limit: number): Promise<ForgottenBatch> {
    return this.askAtomically('forget()', (on) => this.connector.dialect.forgetScope(on, digests, limit));
  }

  /** Deletes up to `limit` expired records. Returns how many. */
  async sweep(limit: number): Promise<number> {
    return this.askAtomically('purgeExpired()', (on) => this.connector.dialect.sweep(on, limit));
  }

  /**
   * Claims a record, records a step and deletes both, in a transaction that is rolled back. Rejects with the database's
   * error where tables, columns or rights are missing, and where the record cannot be found.
   *
   * @param reached called before each statement, with what it tries to do
   */
  rehearse(claim: Claim, reached: (what: string) => void): Promise<void> {
    const { connector } = this;
    const { dialect } = connector;
    const owner = { ...claim, token: 1 };
    const steps: RehearsalStep<unknown>[] = [
      ['claim a record', (on) => dialect.claim(on, [claim])],
      [
        'record a step',
        (on) => dialect.putStep(on, owner, { name: 'boot check', status: 'begun', result: null }).then(assertFound),
      ],
      ['delete a record', (on) => dialect.discard(on, owner).then(assertFound)],
    ];
    return withDeadline(connector.rehearse(steps, reached), this.settings.timeoutMs);
  }

  /**
   * Returns what runs the handler within the async context of the transaction. A transaction host's context replaces the
   * caller's, because injected repositories find the transaction there. Without a host, the caller's context stays.
   */
  private inside(): CallRunner {
    if (!this.settings.transactionHost) return this.connector.inside?.() ?? ((work) => work());
    return AsyncResource.bind((work: () => unknown) => work()) as CallRunner;
  }

  /** @throws TransactionEndedError when the transaction that was begun is over, and its writes may be undone */
  private async completeWithin(transaction: WatchedTransaction, row: CompletionRow): Promise<FencedAnswer> {
    const { phase, cause } = transaction;
    if (phase === 'undone' && cause !== undefined) throw new TransactionUndoneError({ cause });
    let isWanted = true;
    try {
      const completing = this.completeMarked(transaction, row, () => isWanted);
      const answer = await this.timeLimit.wait(completing);
      if (answer === 'ended') throw new TransactionEndedError();
      return answer;
    } finally {
      isWanted = false;
    }
  }

  private async completeLast(
    { queryRunner }: EntityManager,
    transaction: WatchedTransaction,
    row: CompletionRow,
  ): Promise<FencedAnswer> {
    const { dialect, direct } = this.connector;
    const isDirect = !transaction.marking && !transaction.hasOtherRole && !isObserved(this.dataSource);
    const last = isDirect ? direct?.last(queryRunner!, transaction.client) : undefined;
    if (!last) return this.completeWithin(transaction, row);
    transaction.phase = 'committing';
    let answer: FencedAnswer | 'ended';
    try {
      answer = await this.timeLimit.wait(dialect.completeLast!(last.on, transaction.mark, row));
    } catch (error) {
      throw last.isRefused() ? error : new CommitUnknownError({ cause: error });
    }
    if (answer === 'ended') throw new TransactionEndedError();
    transaction.isCommitted = answer.held;
    return answer;
  }

  private async completeMarked(
    transaction: WatchedTransaction,
    row: CompletionRow,
    isWanted: () => boolean,
  ): Promise<FencedAnswer | 'ended'> {
    const { dialect } = this.connector;
    const { mark, marking, hasOtherRole } = transaction;
    if (marking) await marking;
    if (hasOtherRole) await dialect.leaveRole?.(transaction.on);
    const completed = await dialect.completeWithin(transaction.on, mark, row, isWanted);
    if (hasOtherRole) await dialect.returnToRole?.(transaction.on);
    // To check the mark may remove it (RELEASE SAVEPOINT), and another operation in the same transaction needs one.
    if (transaction.operations > 1 && completed !== 'ended') await dialect.markTransaction(transaction.on, mark);
    return completed;
  }

  private claimBatch(claims: readonly Claim[]): Promise<readonly RecordRow[]> {
    const { connector } = this;
    return retryingConflicts(() => connector.alone((on) => connector.dialect.claim(on, claims))).then((rows) => {
      // The common case: every record was claimed, or must be left alone. No map is built.
      const isEnd = rows.every(({ recordId, isFree }, i) => recordId === claims[i].recordId && !isFree);
      return isEnd ? rows : this.takeOverFree(claims, rows);
    });
  }

  private async takeOverFree(claims: readonly Claim[], rows: readonly RecordRow[]): Promise<readonly RecordRow[]> {
    const byId = new Map(rows.map((row) => [row.recordId, row]));
    const free = claims.filter(({ recordId }) => byId.get(recordId)!.isFree);
    for (const row of free.length > 0 ? await this.takeOver(free) : []) byId.set(row.recordId, row);
    return claims.map((claim) => byId.get(claim.recordId)!);
  }

  private takeOver(claims: readonly Claim[]): Promise<readonly RecordRow[]> {
    return retryingConflicts(() => this.connector.atomically((on) => this.connector.dialect.takeOver!(on, claims)));
  }

  private completeBatch(rows: readonly CompletionRow[]): Promise<readonly FencedAnswer[]> {
    const { connector } = this;
    return retryingConflicts(() => connector.alone((on) => connector.dialect.complete(on, rows))).then((answers) =>
      rows.map((row) => answers.get(row.recordId) ?? NOT_HELD),
    );
  }

  private ask<T>(work: Work<T>, patienceMs = this.settings.timeoutMs): Promise<T> {
    return besideTransaction(this.connector, 'a statement of the store', () => ask(this.connector, patienceMs, work));
  }

  /** @param what the operation, as errors name it */
  private async askAtomically<T>(what: string, work: Work<T>): Promise<T> {
    const nested = nestedIn(this.connector, what);
    if (nested) throw nested;
    const { timeoutMs } = this.settings;
    return besideTransaction(this.connector, what, () => ask(this.connector, timeoutMs, work, 'atomically'));
  }

  private completionRow(ownership: Ownership, { outcome, retentionMs, fingerprint }: Completion): CompletionRow {
    const { recordId, owner, token } = ownership;
    const { code, head, body } = this.withBytes('seal', ownership, outcome);
    return { recordId, owner, token, code, head, body, retentionMs, fingerprint: fingerprint ?? null };
  }

  private recordState(row: RecordRow): RecordState {
    return row.outcome && this.isSealing ? { ...row, outcome: this.withBytes('open', row, row.outcome) } : row;
  }

  private get isSealing(): boolean {
    return this.settings.sealer !== noSealer;
  }

  /** Returns the outcome with its bytes sealed, or opened. */
  private withBytes(
    how: keyof Sealer,
    { recordId, binding }: Pick<Ownership, 'recordId' | 'binding'>,
    outcome: StoredOutcome,
  ): StoredOutcome {
    if (!this.isSealing) return outcome;
    const { sealer } = this.settings;
    const { code, head, body } = outcome;
    // A head that was taken away cannot be opened, and the rest would be a response with the status that someone else has written.
    if (how === 'open' && !head && !isTombstone(outcome)) throw new UnreadableRecordError();
    return {
      code,
      head: head && sealer[how](head, { recordId, field: fieldOfHead({ code, body, binding }) }),
      body: body && sealer[how](body, { recordId, field: 'body' }),
    };
  }
}

/** @throws Error where a record that has just been claimed was not found: no outcome could be recorded */
function assertFound({ held }: FencedAnswer): void {
  if (held) return;
  throw new Error(
    'the record that was just claimed is not found. Row-level security needs policies for SELECT, INSERT, UPDATE and DELETE, and a ' +
      'trigger may not return NULL',
  );
}

/**
 * Returns the error to report for a transaction that failed.
 *
 * @param workIsDone whether its work had resolved, so that only COMMIT can have failed
 */
function transactionError(error: unknown, workIsDone: boolean, transaction: WatchedTransaction | undefined): unknown {
  // A connection that is lost says why before its statement fails.
  const cause = transaction?.lost.error ?? error;
  if (workIsDone) return new CommitUnknownError({ cause });
  if (error instanceof CommitUnknownError) return cause === error ? error : new CommitUnknownError({ cause });
  return transaction?.mayBeCommitted ? new TransactionEndedError({ cause }) : cause;
}
