import { AsyncResource } from 'node:async_hooks';
import type { DataSource, EntityManager } from 'typeorm';
import { current } from '../engine/current-execution.js';
import type { StoredOutcome } from '../engine/outcome.js';
import type { CallRunner } from '../engine/handler-calls.js';
import type {
  Claim,
  Completion,
  FencedAnswer,
  Ownership,
  RecordedStep,
  RecordStore,
  RecordState,
  StepEnd,
  StepStore,
  StoreTransaction,
} from '../engine/ports/record-store.js';
import {
  CommitUnknownError,
  NestedOperationError,
  StoreUnavailableError,
  TransactionEndedError,
  TransactionUndoneError,
} from '../engine/errors.js';
import type { Connector, RehearsalStep } from './connectors/connector.js';
import { TimeLimit, withDeadline } from './deadline.js';
import {
  type CompletionRow,
  type ForgottenBatch,
  NOT_HELD,
  type OutcomeRow,
  type RecordRow,
  type Unchanged,
} from './dialects/dialect.js';
import { GroupCommit } from './group-commit.js';
import { closedConnection, isRetryable, retryingConflicts } from './driver-errors.js';
import { explainStore } from './missing-tables.js';
import { OwnTransactions } from './transactions/own-transactions.js';
import { noSealer, type Sealer } from './sealer.js';
import type { TransactionHost } from './transactions/transaction-host.js';
import { isObserved, TransactionWatch, type WatchedTransaction } from './transactions/transaction-watch.js';

export interface SqlRecordStoreSettings {
  /** How long a statement may take before the store counts as lost, in milliseconds. */
  readonly timeoutMs: number;
  readonly sealer: Sealer;
  /** Begins and commits the transactions of operations instead of the store. */
  readonly transactionHost?: TransactionHost;
}

/** One batch under way gathers the most into the next, and so takes the fewest commits. */
const IN_FLIGHT = 1;
const MAX_CLAIMS = 128;
const MAX_COMPLETIONS = 64;

/** Keeps records in a SQL database, through the statements of its dialect. */
export class SqlRecordStore implements RecordStore {
  readonly steps: StepStore;
  private readonly claims: GroupCommit<Claim, RecordRow, RecordState>;
  private readonly completions: GroupCommit<CompletionRow, FencedAnswer>;
  /** Those of what a transaction asks. */
  private readonly timeLimit: TimeLimit;
  private readonly ownTransactions: OwnTransactions;
  private readonly watch: TransactionWatch;
  /** How long what an execution asks of its own record may take, in milliseconds. */
  private readonly patienceMs: number;

  constructor(
    private readonly dataSource: DataSource,
    private readonly connector: Connector,
    private readonly settings: SqlRecordStoreSettings,
  ) {
    const { dialect } = connector;
    this.patienceMs = patienceOf(connector, settings);
    const places = (maxBatch: number, patienceMs: number) => ({
      ...(dialect.batches ? { maxBatch, inFlight: IN_FLIGHT } : { maxBatch: 1, inFlight: Infinity }),
      patienceMs,
      isCommon: isRetryable,
    });
    this.claims = new GroupCommit(
      async (claims) => {
        const rows = await retryingConflicts(() => connector.alone((on) => dialect.claim(on, claims)));
        // As a rule, all were won, or found done.
        if (rows.every(({ recordId, isFree }, i) => recordId === claims[i].recordId && !isFree)) return rows;
        const byId = new Map(rows.map((row) => [row.recordId, row]));
        const free = claims.filter(({ recordId }) => byId.get(recordId)!.isFree);
        for (const row of free.length > 0 ? await this.takeOver(free) : []) byId.set(row.recordId, row);
        return claims.map((claim) => byId.get(claim.recordId)!);
      },
      places(MAX_CLAIMS, settings.timeoutMs),
      (row) => this.recordState(row),
    );
    this.completions = new GroupCommit(
      async (rows) => {
        const answers = await retryingConflicts(() => connector.alone((on) => dialect.complete(on, rows)));
        return rows.map((row) => answers.get(row.recordId) ?? NOT_HELD);
      },
      places(MAX_COMPLETIONS, this.patienceMs),
      (answer) => answer,
    );
    this.steps = new SqlStepStore(connector, settings);
    this.timeLimit = new TimeLimit(settings.timeoutMs);
    this.ownTransactions = new OwnTransactions(dataSource, connector, this.timeLimit);
    this.watch = new TransactionWatch(connector);
  }

  /** Warns of what transactional handlers write to data sources whose writes never commit with the outcome. */
  watchWrites(others: readonly DataSource[]): void {
    for (const { subscribers } of others) if (!subscribers.includes(this.watch)) subscribers.push(this.watch);
  }

  claim(claim: Claim, onLate?: (record: RecordState) => void): Promise<RecordState> {
    const { connector } = this;
    if (waitsForItself(connector)) return Promise.reject(nested(claim.endpoint));
    const { recordId, request } = claim;
    const sealed = request && this.settings.sealer.seal(request, { recordId, field: 'request' });
    const item = sealed === request ? claim : { ...claim, request: sealed };
    if (!connector.sharesPool) return this.claims.add(item, onLate);
    return besides(connector, claim.endpoint, () => this.claims.add(item, onLate));
  }

  async read(recordId: string): Promise<RecordState | undefined> {
    const row = await this.ask((on) => this.connector.dialect.read(on, recordId));
    return row && this.recordState(row);
  }

  complete(ownership: Ownership, completion: Completion): Promise<FencedAnswer> {
    const row = this.completionRow(ownership, completion);
    if (!this.connector.sharesPool) return this.completions.add(row);
    return besides(this.connector, 'a completion', () => this.completions.add(row));
  }

  release(ownership: Ownership, retentionMs: number): Promise<FencedAnswer> {
    return this.ask((on) => this.connector.dialect.letGo(on, ownership, 'failed', retentionMs), this.patienceMs);
  }

  /** What is held does not expire, whatever its date. */
  hold(ownership: Ownership): Promise<FencedAnswer> {
    return this.ask((on) => this.connector.dialect.letGo(on, ownership, 'held', 0), this.patienceMs);
  }

  discard(ownership: Ownership): Promise<FencedAnswer> {
    return this.ask((on) => this.connector.dialect.discard(on, ownership), this.patienceMs);
  }

  renew(ownership: Ownership, leaseMs: number, transactional = false): Promise<FencedAnswer> {
    // No handler waits for a heartbeat, so it may wait for a connection.
    return ask(this.connector, this.patienceMs, (on) =>
      this.connector.dialect.renew(on, ownership, leaseMs, transactional),
    );
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
    let worked = false;
    let watched: WatchedTransaction | undefined;
    const during = (manager: EntityManager, begun: WatchedTransaction | undefined) =>
      this.watch
        .during(manager, begun, (transaction) => {
          watched = transaction;
          return work({
            manager,
            inside: this.inside(),
            complete: (ownership, completion) =>
              this.completeWithin(transaction, this.completionRow(ownership, completion)),
            completeLast: (ownership, completion) =>
              this.completeLast(manager, transaction, this.completionRow(ownership, completion)),
          });
        })
        .then((answer) => {
          worked = true;
          return answer;
        });
    const run = () =>
      host ? host.run(this.dataSource, (manager) => during(manager, undefined)) : this.ownTransactions.run(during);
    try {
      const result = await this.connector.exclusively(run, endpoint, timeoutMs);
      if (!worked) throw new Error('The option `transactionHost`: run() resolved without running its work');
      return result;
    } catch (error) {
      const cause = watched?.lastWords.error ?? error;
      if (worked) throw new CommitUnknownError({ cause });
      if (error instanceof CommitUnknownError) throw cause === error ? error : new CommitUnknownError({ cause });
      throw watched?.mayBeCommitted ? new TransactionEndedError({ cause }) : cause;
    }
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

  /** Closes what is not the data source's. What is asked for after all is still answered. */
  async close(): Promise<void> {
    await this.connector.close?.();
  }

  /**
   * Settles a held record, with an outcome, or free for the next request (`null`), and returns whether it was held.
   *
   * @param retentionMs how long it is kept from now; by default as long as the operation's own retention says
   * @param token the fencing token that it still has to have: what was found out about one attempt settles no other
   */
  async resolveHeld(
    recordId: string,
    outcome: StoredOutcome | null,
    retentionMs: number | null = null,
    token: number | null = null,
  ): Promise<boolean> {
    const row = outcome && this.sealed(recordId, outcome);
    return this.askAtomically('resolve()', (on) =>
      this.connector.dialect.resolveHeld(on, recordId, row, retentionMs, token),
    );
  }

  /** Deletes a record, whatever its state unless `unchanged` says more, and returns whether there was one. */
  async forget(recordId: string, unchanged: Unchanged = {}): Promise<boolean> {
    return this.askAtomically('forget()', (on) => this.connector.dialect.forget(on, recordId, unchanged));
  }

  /** Deletes up to `limit` records that have one of these digests of a scope, but those that are being executed. */
  async forgetScope(digests: readonly Buffer[], limit: number): Promise<ForgottenBatch> {
    return this.askAtomically('forget()', (on) => this.connector.dialect.forgetScope(on, digests, limit));
  }

  /** Deletes up to `limit` expired records. How many. */
  async sweep(limit: number): Promise<number> {
    return this.askAtomically('purgeExpired()', (on) => this.connector.dialect.sweep(on, limit));
  }

  /**
   * Claims a record, records a step and deletes both, in a transaction that is rolled back: what the tables and the rights of
   * the database's user do not allow, the database says.
   *
   * @param reached called with what is about to be tried
   */
  rehearse(claim: Claim, reached: (what: string) => void): Promise<void> {
    const { connector } = this;
    const { dialect } = connector;
    const owner = { ...claim, token: 1 };
    const steps = (on: unknown): RehearsalStep[] => [
      ['claim a record', () => dialect.claim(on, [claim])],
      ['record a step', () => dialect.putStep(on, owner, { name: 'boot check', status: 'begun', result: null })],
      ['delete a record', () => dialect.discard(on, owner)],
    ];
    return withDeadline(connector.rehearse(steps, reached), this.settings.timeoutMs);
  }

  /**
   * The context of a transaction host takes the place of the caller's, which has what interceptors around the handler have put
   * into theirs. Without such a host, the caller's stays.
   */
  private inside(): CallRunner {
    if (!this.settings.transactionHost) return this.connector.inside?.() ?? ((work) => work());
    return AsyncResource.bind((work: () => unknown) => work()) as CallRunner;
  }

  /** @throws TransactionEndedError where the transaction is not the one that was begun */
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
    const isDirect = !transaction.marking && !isObserved(this.dataSource);
    const last = isDirect ? direct?.last(queryRunner!, transaction.client) : undefined;
    if (!last) return this.completeWithin(transaction, row);
    transaction.phase = 'ending';
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
    const { mark, marking } = transaction;
    if (marking) await marking;
    const completed = await dialect.completeWithin(transaction.on, mark, row, isWanted);
    // The proof may take the mark away, and another operation that a transaction host has joined needs one.
    if (transaction.operations > 1 && completed !== 'ended') await dialect.markTransaction(transaction.on, mark);
    return completed;
  }

  private takeOver(claims: readonly Claim[]): Promise<readonly RecordRow[]> {
    return retryingConflicts(() => this.connector.atomically((on) => this.connector.dialect.takeOver!(on, claims)));
  }

  private ask<T>(work: Work<T>, patienceMs = this.settings.timeoutMs): Promise<T> {
    return besides(this.connector, 'a statement of the store', () => ask(this.connector, patienceMs, work));
  }

  /** @param what as errors name it */
  private async askAtomically<T>(what: string, work: Work<T>): Promise<T> {
    assertNotNested(this.connector, what);
    const { timeoutMs } = this.settings;
    return besides(this.connector, what, () => ask(this.connector, timeoutMs, work, 'atomically'));
  }

  private completionRow(ownership: Ownership, { outcome, retentionMs, fingerprint }: Completion): CompletionRow {
    const { recordId, owner, token } = ownership;
    const { code, head, body } = this.sealed(recordId, outcome);
    return { recordId, owner, token, code, head, body, retentionMs, fingerprint: fingerprint ?? null };
  }

  private sealed(recordId: string, outcome: StoredOutcome): OutcomeRow {
    return this.through('seal', recordId, outcome);
  }

  private recordState(row: RecordRow): RecordState {
    return row.outcome && this.isSealing ? { ...row, outcome: this.through('open', row.recordId, row.outcome) } : row;
  }

  private get isSealing(): boolean {
    return this.settings.sealer !== noSealer;
  }

  private through(how: keyof Sealer, recordId: string, outcome: StoredOutcome): StoredOutcome {
    if (!this.isSealing) return outcome;
    const { sealer } = this.settings;
    const { code, head, body } = outcome;
    // With the status, which is not sealed itself: it cannot be changed unnoticed.
    return {
      code,
      head: head && sealer[how](head, { recordId, field: `head of ${code}` }),
      body: body && sealer[how](body, { recordId, field: 'body' }),
    };
  }
}

class SqlStepStore implements StepStore {
  readonly joinsTransaction: boolean;

  constructor(
    private readonly connector: Connector,
    private readonly settings: SqlRecordStoreSettings,
  ) {
    this.joinsTransaction = connector.singleConnection;
  }

  async load(recordId: string, within?: StoreTransaction): Promise<readonly RecordedStep[]> {
    const rows = await this.ask('a step', within, (on) => this.connector.dialect.loadSteps(on, recordId));
    return rows.map(({ name, status, result }) => ({
      name,
      status,
      result: result && this.settings.sealer.open(result, { recordId, field: `step:${name}` }).toString(),
    }));
  }

  begin(ownership: Ownership, name: string, within?: StoreTransaction): Promise<FencedAnswer> {
    return this.put(ownership, { name, status: 'begun', result: null }, within);
  }

  end(ownership: Ownership, name: string, end: StepEnd, within?: StoreTransaction): Promise<FencedAnswer> {
    const text = end.status === 'done' ? end.result : null;
    const place = { recordId: ownership.recordId, field: `step:${name}` };
    const result = text === null ? null : this.settings.sealer.seal(Buffer.from(text), place);
    return this.put(ownership, { name, status: end.status, result }, within);
  }

  private put(
    ownership: Ownership,
    step: { name: string; status: RecordedStep['status']; result: Buffer | null },
    within: StoreTransaction | undefined,
  ): Promise<FencedAnswer> {
    return this.ask(`step "${step.name}"`, within, (on) => this.connector.dialect.putStep(on, ownership, step));
  }

  /** Progress outlives the handler's transaction, except where the database has a single connection. */
  private async ask<T>(what: string, within: StoreTransaction | undefined, work: Work<T>): Promise<T> {
    const { connector } = this;
    const patienceMs = patienceOf(connector, this.settings);
    if (within && this.joinsTransaction) {
      return withDeadline(connector.within(within.manager as EntityManager).then(work), patienceMs);
    }
    assertNotNested(connector, what);
    return besides(connector, what, () => ask(connector, patienceMs, work), within);
  }
}

type Work<T> = (on: unknown) => Promise<T>;

function ask<T>(
  connector: Connector,
  patienceMs: number,
  work: Work<T>,
  how: 'alone' | 'atomically' = 'alone',
): Promise<T> {
  return withDeadline(
    retryingConflicts(() => connector[how](work, patienceMs)),
    patienceMs,
  );
}

/** Runs what goes through the pool of the data source, perhaps while the caller's own transaction holds a connection of it. */
function besides<T>(connector: Connector, what: string, work: () => Promise<T>, within?: StoreTransaction): Promise<T> {
  const { nesting, sharesPool } = connector;
  return nesting && sharesPool ? nesting.besides(what, work, within?.manager) : work();
}

/**
 * Where all requests share one connection, an execution waits for the transactions of others, however long they are: no request in
 * this process can take its record meanwhile, and to give up on it would lose an operation that was carried out. Claims do
 * not wait like this, as nothing is lost by refusing them.
 */
const SINGLE_CONNECTION_PATIENCE_MS = 60_000;

function patienceOf({ singleConnection }: Connector, { timeoutMs }: SqlRecordStoreSettings): number {
  return singleConnection ? Math.max(timeoutMs, SINGLE_CONNECTION_PATIENCE_MS) : timeoutMs;
}

function assertNotNested(connector: Connector, what: string): void {
  if (waitsForItself(connector)) throw nested(what);
}

function waitsForItself(connector: Connector): boolean {
  return connector.waitsForItself?.() === true;
}

function nested(what: string): NestedOperationError {
  const outer = current()?.execution;
  return new NestedOperationError(what, outer?.openTransaction ? outer.endpoint : "the application's own transaction");
}
