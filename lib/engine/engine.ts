/**
 * The protocol. Terminology:
 *
 * - Operation: what a request asks for, as an edge describes it. Its *identity* (namespace, scope, operation, key) names one record.
 * - Record: the row of one identity. It is free, or has one *owner* at a time, or an outcome.
 * - Claim: the statement by which an execution becomes the owner. It inserts the record, takes it over, or returns it as it is.
 * - Lease: how long the owner keeps the record without renewing it, by the database's clock. *Heartbeats* renew it.
 * - Token: a number that every claim raises. A *fenced* statement names the token of its claim, and changes nothing once there is a
 *   newer one: an owner that was paused for longer than its lease cannot overwrite what came after it.
 * - Execution: one run of the handler by the record's owner. *In flight*: from the claim on until the end is recorded.
 * - Duplicate: a request whose record has an owner or an outcome. It waits, is refused, or is answered by a *replay* of the outcome.
 * - Completion: the fenced statement that records the outcome. A *tombstone* is an outcome without a response to replay.
 * - Release: to free a record without an outcome. *Held*: the outcome is unknown, and an operator has to resolve the record.
 *
 * `docs/glossary.md` has these words as users meet them, and more of them.
 */
import { performance } from 'node:perf_hooks';
import type { Admission, Refusal } from './admission.js';
import type { EventSink } from './events.js';
import { Heartbeats } from './heartbeats.js';
import { randomId } from './identity.js';
import { InFlight } from './in-flight.js';
import type { Operation } from './operation.js';
import { isTombstone, type StoredOutcome } from './outcome.js';
import type { LockAttempt, RecordLock } from './ports/record-lock.js';
import type { Claim, RecordStore, RecordState } from './ports/record-store.js';
import type { WakeUp } from './ports/wake-up.js';
import { retryAfter, retryWhileUnavailable, until } from './retry.js';
import { LockUnavailableError, ShuttingDownError, StoreRefusedError, StoreUnavailableError } from './errors.js';
import { LeasedExecution, type LeasedExecutionHost } from './leased-execution.js';
import { ShortLivedMap, ShortLivedSet } from './short-lived.js';
import { type RecordWatcher, RecordWatchers } from './record-watchers.js';

/** What an engine is made of. */
export interface EngineParts {
  readonly store: RecordStore;
  /** Absent: the store's leases alone keep duplicates apart. */
  readonly lock?: RecordLock;
  /** Absent: waiters look from time to time. */
  readonly wakeUp?: WakeUp;
  readonly events: EventSink;
  readonly onLockUnavailable: 'degrade' | 'reject';
}

/** How long a claim is sent again to a store that refuses at once, in milliseconds: a lost connection, not an outage. */
const ASK_AGAIN_FOR_MS = 1_000;

/** Bounds of `Retry-After` for a refused duplicate, in milliseconds. */
const LONGEST_RETRY_AFTER_MS = 5_000;
const SHORTEST_RETRY_AFTER_MS = 1_000;

/** What a duplicate is compared with: the operation that this process runs, or a record. */
type Found = Operation | RecordState;

/** What is made of the store's answer. */
type Reading<T> = (flight: InFlight) => T | Promise<T>;

/** The protocol: decides for each request whether it runs, is answered from the record, or is refused. */
export class IdempotencyEngine implements LeasedExecutionHost {
  readonly store: RecordStore;
  readonly events: EventSink;
  readonly heartbeats = new Heartbeats();
  private readonly inFlight = new ShortLivedMap<string, InFlight>();
  private readonly watchers: RecordWatchers;
  private readonly running = new ShortLivedSet<LeasedExecution>();
  /** Claims under way: each may be won, and then runs. */
  private claiming = 0;
  private drained: (() => void) | undefined;
  private draining = false;

  constructor(private readonly parts: EngineParts) {
    this.store = parts.store;
    this.events = parts.events;
    this.watchers = new RecordWatchers(parts.store, parts.wakeUp);
  }

  /**
   * Admits a request. `run` makes the caller responsible for {@link LeasedExecution.run}. What this process knows by itself, it answers
   * at once.
   *
   * @throws StoreUnavailableError where the store cannot be asked
   * @throws LockUnavailableError where the lock is lost and `onLockUnavailable` is `'reject'`
   * @throws ShuttingDownError where a new execution would begin after {@link drain}
   */
  admit(operation: Operation): Admission | Promise<Admission> {
    const { recordId, policy } = operation;
    const startedAt = performance.now();
    const flight = this.inFlight.get(recordId);
    if (flight?.phase === 'running' && policy.onConflict === 'reject') {
      return this.decide(operation, flight.operation) ?? this.refuseRunning(operation, flight.operation);
    }
    if (flight || this.watchers.isWatched(recordId)) return this.join(operation, startedAt);
    return this.ask(operation, (asked) => this.answer(operation, startedAt, asked));
  }

  /** See {@link RecordStore.explain}. */
  explain(error: unknown): string {
    return this.store.explain(error);
  }

  /** Whether anything runs in this process. */
  get isRunning(): boolean {
    return this.running.size > 0;
  }

  /** Claims nothing new from here on; resolves once what runs, or is being claimed, has ended. */
  drain(): Promise<void> {
    this.draining = true;
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => (this.drained = resolve));
  }

  onEnd(leased: LeasedExecution, outcome: StoredOutcome | undefined, awaited: boolean): void {
    this.running.delete(leased);
    this.settle(leased, outcome);
    if (awaited) void this.parts.wakeUp?.announce(leased.operation.recordId);
    this.noteIdle();
  }

  /** Until its handler ends it goes on running here, but others may run as well: duplicates no longer join it. */
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

  private get isIdle(): boolean {
    return this.running.size === 0 && this.claiming === 0;
  }

  private noteIdle(): void {
    if (this.drained && this.isIdle) this.drained();
  }

  /** The answer to the request that has asked the store. */
  private answer(operation: Operation, startedAt: number, flight: InFlight): Admission | Promise<Admission> {
    if (flight.execution) return { kind: 'run', leased: flight.execution };
    const record = flight.record!;
    return (
      this.decide(operation, record) ??
      (patienceOf(operation) > 0 ? this.join(operation, startedAt, record) : this.refuseRunning(operation, record))
    );
  }

  /**
   * Waits with others for an operation that runs, in this process or elsewhere.
   *
   * @param record what this request has found itself
   */
  private async join(operation: Operation, startedAt: number, record?: RecordState): Promise<Admission> {
    const { recordId, policy } = operation;
    const patience = patienceOf(operation);
    let watcher: RecordWatcher | undefined;
    let waited = false;
    let found = record;
    try {
      for (;;) {
        const seen = found ? 0 : this.watchers.changesOf(recordId);
        let flight = found ? undefined : this.inFlight.get(recordId);
        // While others wait for this record, the result of their last read is good for this request, too.
        if (!found && !flight && patience > 0 && !watcher) found = this.watchers.currentRecordOf(recordId);
        if (!found && !flight) {
          flight = await this.ask(operation, (asked) => asked);
          if (flight.execution) return { kind: 'run', leased: flight.execution };
          found = flight.record;
        } else if (flight?.phase === 'claiming') {
          await flight.changed();
          if (flight.error !== undefined) {
            this.reportRefused(operation, flight.error);
            throw flight.error as Error;
          }
          found = flight.record;
          // It was run, and has ended since.
          if (!found && flight.isSettled) continue;
        }

        const decided = this.decide(operation, found ?? flight!.operation, waited);
        if (decided) return await decided;
        const left = startedAt + patience - performance.now();
        if (left <= 0) return this.refuseRunning(operation, found ?? flight!.operation);
        waited = true;
        if (found) {
          watcher ??= this.watchers.join(recordId, policy.transactional);
          await watcher.changed(seen, left, found);
        } else {
          await flight!.changed(left);
          const { outcome } = flight!;
          // A streamed input is compared with the whole fingerprint, which is on record by now.
          if (outcome && !operation.input) return this.replay(operation, outcome, true);
        }
        found = undefined;
      }
    } finally {
      watcher?.leave();
      if (waited && this.events.observed) {
        const waitMs = performance.now() - startedAt;
        this.events.next({ type: 'waited', ...inEvents(operation), waitMs });
      }
    }
  }

  /** The answer that follows from what was found; `undefined` where an execution runs. */
  private decide(operation: Operation, found: Found, waited = false): Admission | Promise<Admission> | undefined {
    const refusal = mismatch(operation, found);
    if (refusal) return this.refuse(operation, refusal);
    if (!isRecord(found)) return undefined;
    if (found.status === 'held') return this.refuse(operation, { reason: 'held', exhausted: found.attemptsLeft === 0 });
    if (found.status !== 'done') return undefined;
    if (!operation.input) return this.replay(operation, found.outcome!, waited);
    return operation.input
      .matches(found.fingerprint)
      .then((isSame) =>
        isSame ? this.replay(operation, found.outcome!, waited) : this.refuse(operation, { reason: 'reused' }),
      );
  }

  private refuseRunning(operation: Operation, found: Found): Admission {
    return this.refuse(operation, { reason: 'running', retryAfterMs: retryAfterMs(found) });
  }

  /**
   * Asks the store for the operation, after the lock where there is one.
   *
   * @param read what is made of the answer
   */
  private ask<T>(operation: Operation, read: Reading<T>): Promise<T> {
    const { recordId, policy } = operation;
    const { lock } = this.parts;
    // Not when the request came: it may have waited for longer than a lease.
    const flight = new InFlight(operation, claimOf(operation), performance.now());
    this.inFlight.set(recordId, flight);
    this.claiming++;
    const asked = lock
      ? lock.acquire(recordId, policy.leaseMs).then((attempt) => this.sendUnderLock(flight, attempt))
      : this.send(flight);
    return asked.then(
      (record) => {
        if (isFree(record) && isFormerBinding(operation, record.binding)) return this.sendFormer(flight, record, read);
        if (isOverdue(flight, record)) return this.take(flight, Promise.resolve(record), read);
        this.onClaimed(flight, record);
        return read(flight);
      },
      (error: unknown) => this.sendAgain(flight, error, read),
    );
  }

  private sendUnderLock(flight: InFlight, attempt: LockAttempt): RecordState | Promise<RecordState> {
    const { operation } = flight;
    if (attempt.kind === 'acquired') {
      flight.lock = attempt.lock;
      flight.sentAt = performance.now();
    } else if (attempt.kind === 'contended') return this.sendContended(flight);
    else if (this.parts.onLockUnavailable === 'reject') throw new LockUnavailableError(attempt.reason);
    else this.events.next({ type: 'lockDegraded', ...inEvents(operation), reason: attempt.reason });
    return this.send(flight);
  }

  /**
   * The holder of the lock runs the operation, most likely. If the store knows of no execution, the lock is one that was left
   * behind, or a vote that was split: the claim decides.
   */
  private async sendContended(flight: InFlight): Promise<RecordState> {
    const record = await this.store.read(flight.operation.recordId);
    return record && !isFree(record) ? record : this.send(flight);
  }

  /** A claim whose answer was lost is sent again under the same owner, and so recognised as ours. */
  private send(flight: InFlight): Promise<RecordState> {
    if (this.draining) return this.readOnly(flight.operation.recordId);
    return this.store.claim(flight.claim!, (late) => {
      flight.late = late;
      this.giveBack(flight);
    });
  }

  /**
   * A claim compares with one binding. A record of the same caller under a former key stands against it, though it is free: it is
   * claimed by its own.
   */
  private sendFormer<T>(flight: InFlight, { binding }: RecordState, read: Reading<T>): Promise<T> {
    flight.claim = { ...flight.claim!, binding };
    return this.sendAgain(flight, undefined, read);
  }

  /** @param error of the first try, where it failed */
  private sendAgain<T>(flight: InFlight, error: unknown, read: Reading<T>): Promise<T> {
    const send = () => this.send(flight);
    const mayRetry = until(flight.startedAt + ASK_AGAIN_FOR_MS);
    const asked = error === undefined ? retryWhileUnavailable(send, mayRetry) : retryAfter(error, send, mayRetry);
    return this.take(flight, asked, read);
  }

  private async take<T>(flight: InFlight, asked: Promise<RecordState>, read: Reading<T>): Promise<T> {
    try {
      let record = await asked;
      while (isOverdue(flight, record)) record = await this.renew(flight, record);
      this.onClaimed(flight, record);
    } catch (failure) {
      this.onClaimFailed(flight, failure);
      throw failure;
    }
    return read(flight);
  }

  /** Renews what was claimed too long ago to begin, or finds out who has it now. */
  private async renew(flight: InFlight, record: RecordState): Promise<RecordState> {
    flight.sentAt = performance.now();
    const { held } = await this.store.renew(record, flight.claim!.leaseMs);
    return held ? record : this.send(flight);
  }

  private async readOnly(recordId: string): Promise<RecordState> {
    const record = await this.store.read(recordId);
    if (record && !isFree(record)) return record;
    throw new ShuttingDownError();
  }

  private onClaimed(flight: InFlight, record: RecordState): void {
    this.claiming--;
    const { operation, claim, sentAt, lock } = flight;
    if (record.owner === claim!.owner && record.status === 'processing') {
      const execution = new LeasedExecution(operation, record, sentAt, lock, this);
      this.running.add(execution);
      flight.run(execution);
      this.reportClaimed(operation, record, flight.startedAt);
      return;
    }
    lock?.release();
    this.inFlight.delete(operation.recordId);
    flight.settle({ record });
    this.noteIdle();
  }

  private onClaimFailed(flight: InFlight, error: unknown): void {
    const { operation, lock } = flight;
    this.claiming--;
    lock?.release();
    this.inFlight.delete(operation.recordId);
    flight.settle({ error });
    this.giveBack(flight);
    this.noteIdle();
    this.reportRefused(operation, error);
  }

  /** Gives back a claim that was won too late, and that is not tried again. */
  private giveBack({ claim, late, error }: InFlight): void {
    if (error !== undefined && late?.owner === claim!.owner) void this.store.discard(late).catch(() => undefined);
  }

  private replay(operation: Operation, outcome: StoredOutcome, waited: boolean): Admission {
    const { events } = this;
    if (isTombstone(outcome)) return this.refuse(operation, { reason: 'gone' });
    if (events.observed) events.next({ type: 'replayed', ...inEvents(operation), waited });
    return { kind: 'replay', outcome };
  }

  private refuse(operation: Operation, refusal: Refusal): Admission {
    const { events } = this;
    if (refusal.reason === 'held') {
      const { exhausted } = refusal;
      events.next({ type: 'held', ...inEvents(operation), ...(exhausted && { exhausted }) });
    }
    if (events.observed) {
      if (refusal.reason === 'running') events.next({ type: 'conflict', ...inEvents(operation) });
      if (refusal.reason === 'gone') events.next({ type: 'replayUnavailable', ...inEvents(operation) });
      if (refusal.reason === 'reused' || refusal.reason === 'foreign') {
        events.next({ type: 'mismatch', ...inEvents(operation), of: refusal.reason });
      }
    }
    return { kind: 'refuse', refusal };
  }

  private reportRefused(operation: Operation, error: unknown): void {
    const { events } = this;
    if (error instanceof StoreUnavailableError || error instanceof StoreRefusedError) {
      events.next({ type: 'storeUnavailable', ...inEvents(operation), error: error.cause });
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

/** The fingerprint and the caller are compared first: a refusal must not reveal the state of a record to another caller. */
function mismatch(operation: Operation, found: Found): Refusal | undefined {
  const { binding } = found;
  const sameCaller = binding && operation.binding ? binding.equals(operation.binding) : binding === operation.binding;
  if (!sameCaller && !isFormerBinding(operation, binding)) return { reason: 'foreign' };
  // A streamed input has to be read first.
  if (operation.input && isRecord(found) && found.status === 'done') return undefined;
  return found.fingerprint.equals(operation.fingerprint) ? undefined : { reason: 'reused' };
}

function isFormerBinding(operation: Operation, binding: Buffer | null): boolean {
  return binding !== null && operation.isFormerBinding?.(binding) === true;
}

function isRecord(found: Found): found is RecordState {
  return 'status' in found;
}

/** Whether a claim would win this record. */
function isFree(record: RecordState): boolean {
  return record.status === 'failed' || (record.status === 'processing' && record.leaseLeftMs <= 0);
}

/**
 * Whether a claim was won, and its lease is over by the time of the answer: another execution may have the record by now. A commit
 * that waits for other servers takes that long, and a process that is stopped meanwhile.
 */
function isOverdue({ claim, sentAt }: InFlight, { owner, status }: RecordState): boolean {
  return owner === claim!.owner && status === 'processing' && performance.now() - sentAt >= claim!.leaseMs;
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

/** How long a request waits for the execution of another one, in milliseconds. */
function patienceOf({ policy }: Operation): number {
  return policy.onConflict === 'wait' ? policy.waitTimeoutMs : 0;
}

function retryAfterMs(found: Found): number {
  const left = isRecord(found) ? found.leaseLeftMs : SHORTEST_RETRY_AFTER_MS;
  return Math.min(Math.max(left, SHORTEST_RETRY_AFTER_MS), LONGEST_RETRY_AFTER_MS);
}

function inEvents({ recordId, endpoint }: Operation) {
  return { recordId, endpoint };
}
