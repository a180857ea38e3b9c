import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Admission } from '../../../lib/engine/admission.js';
import { type EngineParts, IdempotencyEngine } from '../../../lib/engine/engine.js';
import type { IdempotencyEvent } from '../../../lib/engine/events.js';
import type { Operation } from '../../../lib/engine/operation.js';
import { FAILED_TOMBSTONE, type StoredOutcome, TOMBSTONE } from '../../../lib/engine/outcome.js';
import type { Policy } from '../../../lib/engine/policy.js';
import type { HeldLock, LockAttempt, RecordLock } from '../../../lib/engine/ports/record-lock.js';
import type { WakeUp, WakeUpSubscription } from '../../../lib/engine/ports/wake-up.js';
import type { LeasedExecution } from '../../../lib/engine/leased-execution.js';
import type { HandlerResult } from '../../../lib/engine/recorder.js';
import { FaultyRecordStore, type FaultSite, StoreUnavailableError } from '../../../lib/testing/index.js';
import { backendOf, StoreFixture, HOUR, SECOND } from '../store/support.js';

export { HOUR, SECOND, sleep };

export const OUTCOME: StoredOutcome = { code: 201, head: Buffer.from('{}'), body: Buffer.from('paid') };
export const STORE: HandlerResult = { kind: 'store', outcome: OUTCOME, failed: false, tombstone: TOMBSTONE };
export const FAILED: HandlerResult = { kind: 'store', outcome: OUTCOME, failed: true, tombstone: FAILED_TOMBSTONE };
export const RELEASE: HandlerResult = { kind: 'release' };
export const DISCARD: HandlerResult = { kind: 'discard' };

/** The engine needs a store that works, not one in particular. */
export function openStoreFixture(): Promise<StoreFixture> {
  return StoreFixture.open(backendOf('better-sqlite3'));
}

export const POLICY: Policy = {
  leaseMs: 30 * SECOND,
  retentionMs: 24 * HOUR,
  onConflict: 'reject',
  waitTimeoutMs: 10 * SECOND,
  afterCrash: 'rerun',
  maxAttempts: 5,
  maxDurationMs: undefined,
  transactional: false,
};

export const WAIT: Partial<Policy> = { onConflict: 'wait' };

export function anOperation(policy: Partial<Policy> = {}, terms: Partial<Operation> = {}): Operation {
  return {
    key: randomUUID(),
    recordId: randomUUID(),
    endpoint: 'POST /payments',
    route: null,
    scopeDigest: null,
    fingerprint: randomBytes(32),
    binding: null,
    request: () => null,
    policy: { ...POLICY, ...policy },
    ...terms,
  };
}

/** The same request again. */
export function duplicate(
  operation: Operation,
  policy: Partial<Policy> = {},
  terms: Partial<Operation> = {},
): Operation {
  return { ...operation, policy: { ...operation.policy, ...policy }, ...terms };
}

/** An engine over a real store: what one process has. Notes what is asked of the store, and every event. */
export class Process {
  readonly engine: IdempotencyEngine;
  readonly events: IdempotencyEvent[] = [];
  readonly asked: string[] = [];
  readonly sites: FaultSite[] = [];
  /** Called at each point of the protocol; what it throws is what the engine gets. */
  reach: (site: FaultSite) => void | Promise<void> = () => undefined;

  constructor(
    fixture: StoreFixture,
    { observed = true, store = fixture.store(), ...parts }: Partial<EngineParts> & { observed?: boolean } = {},
  ) {
    const faulty = new FaultyRecordStore(store, (site) => {
      this.sites.push(site);
      if (site.point.startsWith('before ')) this.asked.push(site.point.slice('before '.length));
      return this.reach(site);
    });
    this.engine = new IdempotencyEngine({
      store: faulty,
      events: { observed, next: (event) => this.events.push(event) },
      onLockUnavailable: 'degrade',
      ...parts,
    });
  }

  /** Loses so many calls, or the answers to them. */
  lose(point: string, times = Infinity, error: Error = new StoreUnavailableError()): void {
    let left = times;
    this.reach = (site) => {
      if (site.point === point && left-- > 0) throw error;
    };
  }

  count(call: string): number {
    return this.asked.filter((one) => one === call).length;
  }

  /** How often the store has carried it out. */
  answered(call: string): number {
    return this.sites.filter(({ point }) => point === `after ${call}`).length;
  }

  typesOfEvents(): string[] {
    return this.events.map(({ type }) => type);
  }

  event<T extends IdempotencyEvent['type']>(type: T): Extract<IdempotencyEvent, { type: T }> | undefined {
    return this.events.find((event) => event.type === type) as never;
  }

  async admit(operation: Operation): Promise<Admission> {
    return this.engine.admit(operation);
  }

  /** Begins an operation that has no record yet. */
  async begin(operation: Operation): Promise<LeasedExecution> {
    const admission = await this.engine.admit(operation);
    if (admission.kind !== 'run') throw new Error(`not run: ${JSON.stringify(admission)}`);
    return admission.leased;
  }

  async run(operation: Operation, ending: HandlerResult = STORE) {
    return (await this.begin(operation)).runToEnd(async () => ending);
  }
}

/** A lock within this process; `answer` overrides what it answers. */
export class TestLock implements RecordLock {
  readonly held = new Set<string>();
  readonly ttls: number[] = [];
  renewals = 0;
  answer: LockAttempt | undefined;

  async acquire(recordId: string, ttlMs: number): Promise<LockAttempt> {
    this.ttls.push(ttlMs);
    if (this.answer) return this.answer;
    if (this.held.has(recordId)) return { kind: 'contended' };
    this.held.add(recordId);
    const lock: HeldLock = { renew: () => void this.renewals++, release: () => void this.held.delete(recordId) };
    return { kind: 'acquired', lock };
  }

  async close(): Promise<void> {}
}

/** Wake-ups within this process. */
export class TestWakeUp implements WakeUp {
  readonly listeners = new Map<string, Set<() => void>>();
  readonly announced: string[] = [];
  broken = false;

  async subscribe(recordId: string, onWake: () => void): Promise<WakeUpSubscription> {
    if (this.broken) throw new Error('the channel cannot be reached');
    const ofRecord = this.listeners.get(recordId) ?? new Set();
    this.listeners.set(recordId, ofRecord.add(onWake));
    return { close: () => void ofRecord.delete(onWake) };
  }

  async announce(recordId: string): Promise<void> {
    this.announced.push(recordId);
    for (const wake of this.listeners.get(recordId) ?? []) wake();
  }

  get listening(): number {
    return [...this.listeners.values()].reduce((sum, { size }) => sum + size, 0);
  }

  async close(): Promise<void> {}
}
