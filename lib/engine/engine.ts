/**
 * The protocol. Terminology:
 *
 * - Operation: what a request asks for, as an edge describes it. Its *identity* (namespace, scope, operation, key) names one record.
 * - Record: the row of one identity. It is free, or has one *owner* at a time, or an outcome.
 * - Claim: the statement by which an execution becomes the owner. It inserts the record, takes it over, or returns it unchanged.
 * - Lease: how long the owner keeps the record without renewing it, by the database's clock. *Heartbeats* renew it.
 * - Token: a number that every claim raises. A *fenced* statement names the token of its claim, and changes nothing once there is a
 *   newer one. An owner that was paused for longer than its lease cannot overwrite the outcome of its successor.
 * - Execution: one run of the handler by the record's owner. *In flight*: from the claim until the end is recorded.
 * - Duplicate: a request whose record has an owner or an outcome. It waits, is refused, or gets a *replay* of the outcome.
 * - Completion: the fenced statement that records the outcome. A *tombstone* is an outcome without a response to replay.
 * - Release: frees a record without an outcome. *Held*: the outcome is unknown, and an operator has to resolve the record.
 *
 * `docs/glossary.md` has these words as users meet them, and more of them.
 */
import { performance } from 'node:perf_hooks';
import type { Admission, Refusal } from './admission.js';
import { current } from './current-execution.js';
import type { EventSink, IdempotencyEvent } from './events.js';
import { Heartbeats } from './heartbeats.js';
import { randomId } from './identity.js';
import { type Claiming, InFlight } from './in-flight.js';
import type { Operation } from './operation.js';
import { isTombstone, type StoredOutcome } from './outcome.js';
import type { LockAttempt, RecordLock } from './ports/record-lock.js';
import type { Claim, RecordStore, RecordState } from './ports/record-store.js';
import type { WakeUp } from './ports/wake-up.js';
import { retryWhileUnavailable } from './retry.js';
import { LockUnavailableError, ShuttingDownError, StoreRefusedError, StoreUnavailableError } from './errors.js';
import { LeasedExecution, type LeasedExecutionHost } from './leased-execution.js';
import { ShortLivedMap } from './short-lived.js';
import { type RecordWatcher, RecordWatchers } from './record-watchers.js';

/** What an engine is made of. */
export interface EngineParts {
  readonly store: RecordStore;
  /** Absent: the store's leases alone decide. */
  readonly lock?: RecordLock;
  /** Absent: waiters poll the store. */
  readonly wakeUp?: WakeUp;
  readonly events: EventSink;
  readonly onLockUnavailable: 'degrade' | 'reject';
}

/** How long a claim is repeated while the store fails: enough for a lost connection. In an outage, requests that wait would pile up. */
const ASK_AGAIN_FOR_MS = 1_000;

/** Bounds of `Retry-After` for a refused duplicate. Most handlers end long before the lease, for which a client would wait otherwise. */
const MIN_RETRY_AFTER_MS = 1_000;
const MAX_RETRY_AFTER_MS = 5_000;

/** What a duplicate is compared with: an operation that this process runs, or a record. */
type Found = Operation | RecordState;

/** Who has the record of an operation, as a duplicate finds it. */
type Holder =
  /** The duplicate itself has won a claim. */
  | { readonly is: 'this request'; readonly leased: LeasedExecution }
  /** An execution of this process. */
  | { readonly is: 'this process'; readonly flight: InFlight }
  /** What the store has, such as an execution of another process. `seen`: see {@link RecordWatcher.changed}. */
  | { readonly is: 'elsewhere'; readonly record: RecordState; readonly seen: number };

/** The result of a claim: an execution if it was won, and the record of another owner if not. */
type Claimed = LeasedExecution | RecordState;

/** Continues with the result of a claim. A callback, because a further `await` would cost every request a promise. */
type OnClaimed<T> = (claimed: Claimed) => T | Promise<T>;

/** Decides for each request whether it runs, gets a replay, or is refused. */
export class IdempotencyEngine implements LeasedExecutionHost {
  readonly store: RecordStore;
  readonly events: EventSink;
  readonly heartbeats = new Heartbeats();
  private readonly inFlight = new ShortLivedMap<string, InFlight>();
  private readonly watchers: RecordWatchers;
  /** The number of executions that run, and of claims that may become one. */
  private running = 0;
  private claiming = 0;
  private onDrained: (() => void) | undefined;
  /**
   * - `'open'`: executions begin. Left for `'draining'` when the application shuts down.
   * - `'draining'`: only operations begin that would be lost otherwise. Left for `'closed'` when nothing runs, or the time is up.
   * - `'closed'`: no execution begins, because the data source may be gone before it ends.
   */
  private phase: 'open' | 'draining' | 'closed' = 'open';

  constructor(private readonly parts: EngineParts) {
    this.store = parts.store;
    this.events = parts.events;
    this.watchers = new RecordWatchers(parts.store, parts.wakeUp);
  }

  /**
   * Admits a request. `run` makes the caller responsible for {@link LeasedExecution.run}. Returns without a promise where this process
   * runs the operation itself and `onConflict` is `'reject'`.
   *
   * @throws StoreUnavailableError where the store does not answer
   * @throws LockUnavailableError where no quorum of lock nodes answers and `onLockUnavailable` is `'reject'`
   * @throws ShuttingDownError where a new execution would begin after {@link drain}
   */
  admit(operation: Operation): Admission | Promise<Admission> {
    const { recordId, policy } = operation;
    const startedAt = performance.now();
    const flight = this.inFlight.get(recordId);
    if (flight?.phase === 'running' && policy.onConflict === 'reject') {
      return this.decide(operation, flight.operation) ?? this.refuseRunning(operation, flight.operation);
    }
    if (flight || this.watchers.get(recordId)) return this.join(operation, startedAt);
    return this.claim(operation, (claimed) => this.answer(operation, startedAt, claimed));
  }

  /** Returns whether this process runs any execution. */
  get isRunning(): boolean {
    return this.running > 0;
  }

  /**
   * Stops new claims, except those of operations with {@link Operation.beginsInDrain}, and those that handlers make while they run.
   * Resolves once all executions and claims have ended, or `timeUp` has resolved. Then no other claim is sent any more, and duplicates
   * do not wait any longer.
   */
  async drain(timeUp: Promise<unknown> = new Promise(() => undefined)): Promise<void> {
    this.phase = 'draining';
    const drained = new Promise<void>((resolve) => (this.onDrained = resolve));
    this.closeIfDrained();
    await Promise.race([drained, timeUp]);
    this.phase = 'closed';
    // Those that wait for another process would keep this one, and nothing wakes them any more: they are refused, and retry elsewhere.
    this.watchers.wakeAll();
  }

  onEnd(leased: LeasedExecution, outcome: StoredOutcome | undefined, awaited: boolean): void {
    this.running--;
    this.settle(leased, outcome);
    if (awaited) void this.parts.wakeUp?.announce(leased.operation.recordId);
    this.closeIfDrained();
  }

  /** Another execution may own the record now: duplicates stop waiting for this one, although its handler still runs. */
  onLost(leased: LeasedExecution): void {
    this.settle(leased, undefined);
  }

  private settle(execution: LeasedExecution, outcome: StoredOutcome | undefined): void {
    const { recordId } = execution.operation;
    const flight = this.inFlight.get(recordId);
    if (flight?.execution !== execution) return;
    this.inFlight.delete(recordId);
    flight.settle({ outcome });
  }

  private closeIfDrained(): void {
    if (this.phase !== 'draining' || this.running + this.claiming > 0) return;
    this.phase = 'closed';
    this.onDrained?.();
  }

  private answer(operation: Operation, startedAt: number, claimed: Claimed): Admission | Promise<Admission> {
    if (claimed instanceof LeasedExecution) return { kind: 'run', leased: claimed };
    const decided = this.decide(operation, claimed);
    if (decided) return decided;
    return waitLimitMsOf(operation) > 0
      ? this.join(operation, startedAt, claimed)
      : this.refuseRunning(operation, claimed);
  }

  /**
   * Waits for the execution of the same operation, with its other duplicates, or becomes that execution.
   *
   * @param record what a claim of this request has found
   */
  private async join(operation: Operation, startedAt: number, record?: RecordState): Promise<Admission> {
    const { recordId, policy } = operation;
    const giveUpAt = startedAt + waitLimitMsOf(operation);
    let watcher: RecordWatcher | undefined;
    let waited = false;
    try {
      let holder: Holder = record ? { is: 'elsewhere', record, seen: 0 } : await this.findHolder(operation);
      for (;;) {
        if (holder.is === 'this request') return { kind: 'run', leased: holder.leased };
        const found = holder.is === 'elsewhere' ? holder.record : holder.flight.operation;
        const decided = this.decide(operation, found, waited);
        if (decided) return await decided;
        const leftMs = giveUpAt - performance.now();
        if (leftMs <= 0 || this.phase === 'closed' || isOwnHandler(holder)) return this.refuseRunning(operation, found);
        waited = true;
        if (holder.is === 'elsewhere') {
          watcher ??= this.watchers.join(recordId, policy.transactional);
          await watcher.changed(holder.seen, leftMs, holder.record);
        } else {
          await holder.flight.changed(leftMs);
          const { outcome } = holder.flight;
          // A streamed input is compared with the whole fingerprint, which only the record has.
          if (outcome && !operation.input) return this.replay(operation, outcome, true);
        }
        holder = await this.findHolder(operation, watcher);
      }
    } finally {
      watcher?.leave();
      if (waited && this.events.observed) {
        const waitMs = performance.now() - startedAt;
        this.events.next({ type: 'waited', ...inEvents(operation), waitMs });
      }
    }
  }

  /**
   * Returns the holder of the record. Claims the record where no holder is known.
   *
   * @param own the watcher that the request has joined: by then, it has to look again itself
   */
  private async findHolder(operation: Operation, own?: RecordWatcher): Promise<Holder> {
    const { recordId } = operation;
    for (;;) {
      const watcher = this.watchers.get(recordId);
      const seen = watcher?.changes ?? 0;
      const flight = this.inFlight.get(recordId);
      if (!flight) {
        // Other waiters' last read of this record is recent enough: 500 waiters make one read, not 500.
        const lastRead = own || waitLimitMsOf(operation) === 0 ? undefined : watcher?.currentRecord;
        if (lastRead) return { is: 'elsewhere', record: lastRead, seen };
        const claimed = await this.claim(operation, (result) => result);
        if (claimed instanceof LeasedExecution) return { is: 'this request', leased: claimed };
        return { is: 'elsewhere', record: claimed, seen };
      }
      if (flight.phase === 'claiming') await flight.changed();
      if (flight.error !== undefined) {
        this.reportFailedClaim(operation, flight.error);
        throw flight.error as Error;
      }
      if (flight.record) return { is: 'elsewhere', record: flight.record, seen };
      if (!flight.isSettled) return { is: 'this process', flight };
      // The execution has begun and ended meanwhile.
    }
  }

  /** Returns the answer that follows from what was found, or `undefined` while another execution runs. */
  private decide(operation: Operation, found: Found, waited = false): Admission | Promise<Admission> | undefined {
    const refusal = mismatch(operation, found);
    if (refusal) return this.refuse(operation, refusal);
    if (!isRecord(found)) return undefined;
    if (found.status === 'held') return this.refuse(operation, { reason: 'held', exhausted: found.attemptsLeft === 0 });
    if (found.status !== 'done') return undefined;
    const outcome = found.outcome!;
    if (!operation.input) return this.replay(operation, outcome, waited);
    return operation.input
      .matches(found.fingerprint)
      .then((isSame) =>
        isSame ? this.replay(operation, outcome, waited) : this.refuse(operation, { reason: 'reused' }),
      );
  }

  private refuseRunning(operation: Operation, found: Found): Admission {
    return this.refuse(operation, { reason: 'running', retryAfterMs: retryAfterMs(found) });
  }

  /** Claims the operation's record, after its lock where there is one. */
  private claim<T>(operation: Operation, onClaimed: OnClaimed<T>): Promise<T> {
    const { recordId, policy } = operation;
    const { lock } = this.parts;
    // Not the time of the request: it may have waited for longer than a lease.
    const flight = new InFlight(operation, claimOf(operation), performance.now()) as Claiming;
    this.inFlight.set(recordId, flight);
    this.claiming++;
    const sent = lock
      ? lock.acquire(recordId, policy.leaseMs).then((attempt) => this.sendUnderLock(flight, attempt))
      : this.send(flight);
    return sent.then(
      (record) => {
        if (isFree(record) && isFormerBinding(operation, record.binding)) {
          // A claim compares one binding only, so that this one was refused. The next one names the record's own.
          flight.claim = { ...flight.claim, binding: record.binding };
          return this.sendAgain(flight, undefined, onClaimed);
        }
        if (isOverdue(flight, record)) return this.settleClaim(flight, Promise.resolve(record), onClaimed);
        return onClaimed(this.concludeClaim(flight, record));
      },
      (error: unknown) => this.sendAgain(flight, error, onClaimed),
    );
  }

  private sendUnderLock(flight: Claiming, attempt: LockAttempt): RecordState | Promise<RecordState> {
    const { operation } = flight;
    if (attempt.kind === 'acquired') {
      flight.lock = attempt.lock;
      flight.markSent();
    } else if (attempt.kind === 'contended') return this.sendContended(flight);
    else if (this.parts.onLockUnavailable === 'reject') throw new LockUnavailableError(attempt.reason);
    else this.events.next({ type: 'lockDegraded', ...inEvents(operation), reason: attempt.reason });
    return this.send(flight);
  }

  /**
   * Reads instead of claiming, as the holder of the lock most likely runs the operation. Where the store knows no execution, a dead
   * process left the lock behind, or two processes split the vote. Then the claim decides.
   */
  private async sendContended(flight: Claiming): Promise<RecordState> {
    const record = await this.store.read(flight.operation.recordId);
    return record && !isFree(record) ? record : this.send(flight);
  }

  /** Sends the claim. A claim whose answer was lost is sent again with the same owner, by which the store recognises it. */
  private send(flight: Claiming): Promise<RecordState> {
    if (this.mayNotBegin(flight.operation)) return this.readOnly(flight.operation.recordId);
    return this.store.claim(flight.claim, (late) => {
      flight.late = late;
      this.discardLate(flight);
    });
  }

  /** A handler that runs may begin operations within: refused, it would fail half way, and its retry would repeat the first half. */
  private mayNotBegin({ beginsInDrain }: Operation): boolean {
    return this.phase !== 'open' && !(this.phase === 'draining' && beginsInDrain) && !current()?.calls.isRunning;
  }

  /** @param error how the first try failed, if it did */
  private sendAgain<T>(flight: Claiming, error: unknown, onClaimed: OnClaimed<T>): Promise<T> {
    const send = () => this.send(flight);
    const sent = retryWhileUnavailable(send, flight.startedAt + ASK_AGAIN_FOR_MS, error);
    return this.settleClaim(flight, sent, onClaimed);
  }

  private async settleClaim<T>(flight: Claiming, sent: Promise<RecordState>, onClaimed: OnClaimed<T>): Promise<T> {
    let claimed: Claimed;
    try {
      let record = await sent;
      while (isOverdue(flight, record)) record = await this.renew(flight, record);
      claimed = this.concludeClaim(flight, record);
    } catch (error) {
      this.endClaim(flight, { error });
      this.discardLate(flight);
      this.reportFailedClaim(flight.operation, error);
      throw error;
    }
    return onClaimed(claimed);
  }

  /** Renews a lease that ended before the claim's answer came, or finds out who has the record now. */
  private async renew(flight: Claiming, record: RecordState): Promise<RecordState> {
    flight.markSent();
    const { held } = await this.store.renew(record, flight.claim.leaseMs);
    return held ? record : this.send(flight);
  }

  private async readOnly(recordId: string): Promise<RecordState> {
    const record = await this.store.read(recordId);
    if (record && !isFree(record)) return record;
    throw new ShuttingDownError();
  }

  private concludeClaim(flight: Claiming, record: RecordState): Claimed {
    const { operation, claim, lock } = flight;
    if (record.owner === claim.owner && record.status === 'processing') {
      const execution = new LeasedExecution(operation, record, flight, lock, this);
      this.claiming--;
      this.running++;
      flight.run(execution);
      this.reportClaimed(operation, record, flight.startedAt);
      return execution;
    }
    this.endClaim(flight, { record });
    return record;
  }

  private endClaim(flight: Claiming, how: Parameters<InFlight['settle']>[0]): void {
    this.claiming--;
    flight.lock?.release();
    this.inFlight.delete(flight.operation.recordId);
    flight.settle(how);
    this.closeIfDrained();
  }

  /** Discards a claim that was won after the engine had given up on it: its record would stay taken for a lease. */
  private discardLate({ claim, late, error }: Claiming): void {
    if (error !== undefined && late?.owner === claim.owner) void this.store.discard(late).catch(() => undefined);
  }

  private replay(operation: Operation, outcome: StoredOutcome, waited: boolean): Admission {
    const { events } = this;
    if (isTombstone(outcome)) return this.refuse(operation, { reason: 'gone', outcome });
    if (events.observed) events.next({ type: 'replayed', ...inEvents(operation), waited });
    return { kind: 'replay', outcome };
  }

  private refuse(operation: Operation, refusal: Refusal): Admission {
    const { events } = this;
    // A held record is logged even without subscribers.
    if (events.observed || refusal.reason === 'held') events.next(refusalEvent(operation, refusal));
    return { kind: 'refuse', refusal };
  }

  private reportFailedClaim(operation: Operation, error: unknown): void {
    const { events } = this;
    if (error instanceof StoreUnavailableError || error instanceof StoreRefusedError) {
      const refused = error instanceof StoreRefusedError;
      events.next({ type: 'storeUnavailable', ...inEvents(operation), error: error.cause, refused });
    } else if (error instanceof LockUnavailableError) {
      events.next({ type: 'lockUnavailable', ...inEvents(operation), reason: error.message });
    }
  }

  private reportClaimed(operation: Operation, record: RecordState, startedAt: number): void {
    const { events } = this;
    if (!events.observed) return;
    const details = { ...inEvents(operation), attempt: record.attempt, token: record.token };
    const takenOver = record.takenFrom === 'processing';
    events.next({ type: 'claimed', ...details, takeMs: performance.now() - startedAt, takenOver });
    if (takenOver) events.next({ type: 'takenOver', ...details });
  }
}

/** Compares caller and fingerprint, before all else: a refusal must not reveal to another caller what state a record is in. */
function mismatch(operation: Operation, found: Found): Refusal | undefined {
  const { binding } = found;
  const sameCaller = binding && operation.binding ? binding.equals(operation.binding) : binding === operation.binding;
  if (!sameCaller && !isFormerBinding(operation, binding)) return { reason: 'foreign' };
  // The fingerprint of a streamed input is known once the input has been read.
  if (operation.input && isRecord(found) && found.status === 'done') return undefined;
  return found.fingerprint.equals(operation.fingerprint) ? undefined : { reason: 'reused' };
}

function isFormerBinding(operation: Operation, binding: Buffer | null): boolean {
  return binding !== null && operation.isFormerBinding?.(binding) === true;
}

function isRecord(found: Found): found is RecordState {
  return 'status' in found;
}

/** Returns whether a claim would win this record. */
function isFree(record: RecordState): boolean {
  return record.status === 'failed' || (record.status === 'processing' && record.leaseLeftMs <= 0);
}

/**
 * Returns whether a won claim's lease has ended, by a slow commit or a pause of this process or its machine: another execution may own
 * the record.
 */
function isOverdue({ claim, sentAt, sentDate }: Claiming, { owner, status }: RecordState): boolean {
  if (owner !== claim.owner || status !== 'processing') return false;
  return performance.now() - sentAt >= claim.leaseMs || Date.now() - sentDate >= claim.leaseMs;
}

function claimOf(operation: Operation): Claim {
  const { policy } = operation;
  return {
    recordId: operation.recordId,
    owner: randomId(),
    endpoint: operation.endpoint,
    route: operation.route,
    scopeDigest: operation.scopeDigest,
    fingerprint: operation.fingerprint,
    binding: operation.binding,
    request: operation.request(),
    leaseMs: policy.leaseMs,
    retentionMs: policy.retentionMs,
    maxAttempts: policy.maxAttempts,
    holdOnCrash: policy.afterCrash === 'hold',
    asyncCommit: policy.transactional && policy.afterCrash !== 'hold',
  };
}

/** Whether the request comes from the handler that it would wait for, which itself waits for the request. */
function isOwnHandler(holder: Holder): boolean {
  return holder.is === 'this process' && holder.flight.execution?.execution.includesCaller === true;
}

/** Returns how long a request waits for the execution of another one, in milliseconds. */
function waitLimitMsOf({ policy }: Operation): number {
  return policy.onConflict === 'wait' ? policy.waitTimeoutMs : 0;
}

function retryAfterMs(found: Found): number {
  const leftMs = isRecord(found) ? found.leaseLeftMs : MIN_RETRY_AFTER_MS;
  return Math.min(Math.max(leftMs, MIN_RETRY_AFTER_MS), MAX_RETRY_AFTER_MS);
}

function refusalEvent(operation: Operation, refusal: Refusal): IdempotencyEvent {
  switch (refusal.reason) {
    case 'held':
      return { type: 'held', ...inEvents(operation), ...(refusal.exhausted && { exhausted: true }) };
    case 'running':
      return { type: 'conflict', ...inEvents(operation) };
    case 'gone':
      return { type: 'replayUnavailable', ...inEvents(operation) };
    default:
      return { type: 'mismatch', ...inEvents(operation), of: refusal.reason };
  }
}

function inEvents({ recordId, endpoint }: Operation) {
  return { recordId, endpoint };
}
