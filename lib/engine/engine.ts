import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { Admission, Refusal } from './admission.js';
import type { EventSink } from './events.js';
import { type Asked, Flight } from './flights.js';
import type { Operation } from './operation.js';
import { isTombstone, type StoredOutcome } from './outcome.js';
import type { HeldLock, RecordLock } from './ports/record-lock.js';
import type { Claim, RecordStatus, RecordStore, StandingRecord } from './ports/record-store.js';
import type { WakeUp } from './ports/wake-up.js';
import { retryWhileUnavailable, until } from './retry.js';
import { LockUnavailableError, ShuttingDownError, StoreRefusedError, StoreUnavailableError } from './errors.js';
import { Tenure } from './tenure.js';
import { type Watch, Watches } from './watches.js';

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
const ASK_AGAIN_FOR = 1_000;

/** What a refused duplicate is told to wait at the most, in milliseconds. */
const LONGEST_RETRY_AFTER = 5_000;
const SHORTEST_RETRY_AFTER = 1_000;

/** The protocol: decides for each request whether it runs, is answered from the record, or is refused. */
export class IdempotencyEngine {
  private readonly flights = new Map<string, Flight>();
  private readonly watches: Watches;
  private readonly running = new Set<Tenure>();
  /** Claims under way: each may be won, and then runs. */
  private claiming = 0;
  private drained: (() => void) | undefined;
  private draining = false;

  constructor(private readonly parts: EngineParts) {
    this.watches = new Watches(parts.store, parts.wakeUp);
  }

  /**
   * Admits a request. `run` makes the caller responsible for {@link Tenure.carryOut}.
   *
   * @throws StoreUnavailableError where the store cannot be asked
   * @throws LockUnavailableError where the lock is lost and `onLockUnavailable` is `'reject'`
   * @throws ShuttingDownError where a new execution would begin after {@link drain}
   */
  async admit(operation: Operation): Promise<Admission> {
    const { recordId, policy } = operation;
    const startedAt = performance.now();
    const patience = policy.onConflict === 'wait' ? policy.waitTimeoutMs : 0;
    let watch: Watch | undefined;
    let waited = false;
    try {
      for (;;) {
        const seen = this.watches.changesOf(recordId);
        // Whoever comes to wait while others do need not ask what they have just been told.
        const known = patience > 0 && !watch ? this.watches.standingOf(recordId) : undefined;
        const joined = this.flights.get(recordId);
        const flight = joined ?? (known ? undefined : this.takeOff(operation));
        const asked = flight ? await flight.asked : known!;
        if (flight?.tenure && !joined) return { kind: 'run', tenure: flight.tenure };

        const refusal = mismatch(operation, asked === 'ours' ? flight!.operation : asked);
        if (refusal) return this.refuse(operation, refusal);
        if (asked !== 'ours' && asked.status === 'held') {
          return this.refuse(operation, { reason: 'held', exhausted: asked.attemptsLeft === 0 });
        }
        if (asked !== 'ours' && asked.status === 'done') {
          const isSame = await (operation.input?.matches(asked.fingerprint) ?? true);
          return isSame ? this.replay(operation, asked.outcome!, waited) : this.refuse(operation, { reason: 'reused' });
        }

        // Somebody runs it.
        const left = startedAt + patience - performance.now();
        if (left <= 0) return this.refuse(operation, { reason: 'running', retryAfterMs: retryAfter(asked) });
        waited = true;
        if (asked === 'ours') {
          const outcome = await flight!.landed(left);
          // A streamed input is compared with the whole fingerprint, which is on record by now.
          if (outcome && outcome !== 'timeout' && !operation.input) return this.replay(operation, outcome, true);
        } else {
          watch ??= this.watches.join(recordId, policy.transactional);
          await watch.changed(seen, left, asked);
        }
      }
    } catch (error) {
      this.tellRefused(operation, error);
      throw error;
    } finally {
      watch?.leave();
      if (waited && this.parts.events.observed) {
        const waitMs = performance.now() - startedAt;
        this.parts.events.next({ type: 'waited', ...inEvents(operation), waitMs });
      }
    }
  }

  /** See {@link RecordStore.explain}. */
  explain(error: unknown): string {
    return this.parts.store.explain(error);
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

  private get isIdle(): boolean {
    return this.running.size === 0 && this.claiming === 0;
  }

  private noteIdle(): void {
    if (this.isIdle) this.drained?.();
  }

  private takeOff(operation: Operation): Flight {
    const flight = new Flight(operation);
    this.flights.set(operation.recordId, flight);
    this.claiming++;
    flight.asked = this.ask(operation, flight);
    const settled = () => {
      this.claiming--;
      if (!flight.tenure) this.forget(flight);
      this.noteIdle();
    };
    flight.asked.then(settled, settled);
    return flight;
  }

  private async ask(operation: Operation, flight: Flight): Promise<Asked> {
    const startedAt = performance.now();
    const lock = await this.lock(operation);
    if (lock === 'contended') {
      // Whoever holds the lock runs the operation, most likely. If the store knows of nobody, the lock is one that was
      // left behind, or a vote that was split: the claim decides.
      const standing = await this.reading(() => this.parts.store.read(operation.recordId));
      if (standing && !isFree(standing)) return standing;
    }
    const held = lock === 'contended' ? undefined : lock;
    try {
      const standing = await this.claim(operation, startedAt);
      if (standing === undefined) throw new ShuttingDownError();
      const { record, owner, sentAt } = standing;
      if (record.owner === owner && record.status === 'processing') {
        flight.tenure = this.tenure(operation, flight, record, sentAt, held);
        this.tellClaimed(operation, record, startedAt);
        return 'ours';
      }
      held?.release();
      return record;
    } catch (error) {
      held?.release();
      throw error;
    }
  }

  private async claim(operation: Operation, startedAt: number) {
    if (this.draining) {
      const record = await this.reading(() => this.parts.store.read(operation.recordId));
      return record && !isFree(record) ? { record, owner: '', sentAt: startedAt } : undefined;
    }
    const { policy } = operation;
    const claim: Claim = {
      recordId: operation.recordId,
      owner: randomUUID(),
      endpoint: operation.endpoint,
      route: operation.route,
      scopeDigest: operation.scopeDigest,
      fingerprint: operation.fingerprint,
      binding: operation.binding,
      request: operation.request,
      leaseMs: policy.leaseMs,
      retentionMs: policy.retentionMs,
      maxAttempts: policy.maxAttempts,
      holdOnCrash: policy.afterCrash === 'hold',
      forgettable: policy.transactional && policy.afterCrash !== 'hold',
    };
    let gaveUp = false;
    let late: StandingRecord | undefined;
    const giveBack = () => {
      if (gaveUp && late?.owner === claim.owner) void this.parts.store.discard(late).catch(() => undefined);
    };
    const onLate = (record: StandingRecord) => {
      late = record;
      giveBack();
    };
    // A claim whose answer was lost is sent again under the same owner, and so recognised as ours.
    const sentAt = performance.now();
    const ask = async () => {
      const record = await this.parts.store.claim(claim, onLate);
      // A claim compares with one binding. A record of the same caller under a former key stands against it, though it is free.
      const isOurs = isFree(record) && isFormerBinding(operation, record.binding);
      const won = isOurs ? await this.parts.store.claim({ ...claim, binding: record.binding }, onLate) : record;
      return { record: won, owner: claim.owner, sentAt };
    };
    try {
      return await this.reading(ask);
    } catch (error) {
      gaveUp = true;
      giveBack();
      throw error;
    }
  }

  /** Asks the store, for a while again and again. */
  private reading<T>(work: () => Promise<T>): Promise<T> {
    return retryWhileUnavailable(work, until(performance.now() + ASK_AGAIN_FOR));
  }

  private async lock(operation: Operation): Promise<HeldLock | 'contended' | undefined> {
    const attempt = await this.parts.lock?.acquire(operation.recordId, operation.policy.leaseMs);
    if (attempt === undefined) return undefined;
    if (attempt.kind === 'acquired') return attempt.lock;
    if (attempt.kind === 'contended') return 'contended';
    if (this.parts.onLockUnavailable === 'reject') throw new LockUnavailableError(attempt.reason);
    this.parts.events.next({ type: 'lockDegraded', ...inEvents(operation), reason: attempt.reason });
    return undefined;
  }

  private tenure(
    operation: Operation,
    flight: Flight,
    record: StandingRecord,
    sentAt: number,
    lock: HeldLock | undefined,
  ): Tenure {
    const tenure = new Tenure(operation, record, sentAt, lock, {
      store: this.parts.store,
      events: this.parts.events,
      onEnd: (outcome, awaited) => {
        this.running.delete(tenure);
        this.forget(flight);
        flight.land(outcome);
        if (awaited) void this.parts.wakeUp?.announce(operation.recordId);
        this.noteIdle();
      },
      // Until its handler ends it goes on running here, but others may run as well: duplicates no longer join it.
      onLost: () => {
        this.forget(flight);
        flight.land(undefined);
      },
    });
    this.running.add(tenure);
    return tenure;
  }

  private forget(flight: Flight): void {
    const { recordId } = flight.operation;
    if (this.flights.get(recordId) === flight) this.flights.delete(recordId);
  }

  private replay(operation: Operation, outcome: StoredOutcome, waited: boolean): Admission {
    const { events } = this.parts;
    if (isTombstone(outcome)) return this.refuse(operation, { reason: 'gone' });
    if (events.observed) events.next({ type: 'replayed', ...inEvents(operation), waited });
    return { kind: 'replay', outcome };
  }

  private refuse(operation: Operation, refusal: Refusal): Admission {
    const { events } = this.parts;
    if (refusal.reason === 'held' && (events.observed || refusal.exhausted)) {
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

  private tellRefused(operation: Operation, error: unknown): void {
    const { events } = this.parts;
    if (error instanceof StoreUnavailableError || error instanceof StoreRefusedError) {
      events.next({ type: 'storeUnavailable', ...inEvents(operation), error: error.cause });
    } else if (error instanceof LockUnavailableError) {
      events.next({ type: 'lockUnavailable', ...inEvents(operation), reason: error.message });
    }
  }

  private tellClaimed(operation: Operation, record: StandingRecord, startedAt: number): void {
    const { events } = this.parts;
    if (!events.observed) return;
    const details = { ...inEvents(operation), attempt: record.attempt, token: record.token };
    const takenOver = record.takenFrom === 'processing';
    events.next({ type: 'claimed', ...details, takeMs: performance.now() - startedAt, takenOver });
    if (takenOver) events.next({ type: 'takenOver', ...details });
  }
}

/** The fingerprint and the caller are compared before anything else is told of a record. */
function mismatch(
  operation: Operation,
  bound: Pick<Operation, 'binding' | 'fingerprint'> & { readonly status?: RecordStatus },
): Refusal | undefined {
  const sameCaller =
    bound.binding && operation.binding ? bound.binding.equals(operation.binding) : bound.binding === operation.binding;
  if (!sameCaller && !isFormerBinding(operation, bound.binding)) return { reason: 'foreign' };
  // A streamed input has to be read first.
  if (operation.input && bound.status === 'done') return undefined;
  if (!bound.fingerprint.equals(operation.fingerprint)) return { reason: 'reused' };
  return undefined;
}

function isFormerBinding(operation: Operation, binding: Buffer | null): boolean {
  return binding !== null && operation.isFormerBinding?.(binding) === true;
}

/** Whether a claim would win this record. */
function isFree(record: StandingRecord): boolean {
  return record.status === 'failed' || (record.status === 'processing' && record.leaseLeftMs <= 0);
}

function retryAfter(asked: Asked): number {
  const left = asked === 'ours' ? SHORTEST_RETRY_AFTER : asked.leaseLeftMs;
  return Math.min(Math.max(left, SHORTEST_RETRY_AFTER), LONGEST_RETRY_AFTER);
}

function inEvents({ recordId, endpoint }: Operation) {
  return { recordId, endpoint };
}
