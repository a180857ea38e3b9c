import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Inject, Injectable, Optional } from '@nestjs/common';
import type { Server } from 'node:http';
import type { EngineParts, IdempotencyEngine } from '../engine/engine.js';
import type { Claim } from '../engine/ports/record-store.js';
import { StoreUnavailableError } from '../engine/errors.js';
import type { EngineFactory } from '../module/idempotency.tokens.js';
import { reachOwnPoint } from './life.js';
import { FaultyEngine, type FaultScene } from './faulty-engine.js';
import type { FaultCall, FaultPoint, FaultSite } from './points.js';

/** Which executions a fault strikes, of those that reach its point. */
export interface FaultChoice {
  /** How many executions. Default: 1. */
  readonly times?: number;
  /** Returns whether to strike this one. Default: each. */
  readonly when?: (site: FaultSite) => boolean;
}

/** Runs when a fault strikes. The execution gets what it throws, and waits while it waits. */
export type FaultAction = (scene: FaultScene) => void | Promise<void>;

interface Armed {
  readonly points: ReadonlySet<string> | undefined;
  readonly action: FaultAction;
  readonly when: (site: FaultSite) => boolean;
  left: number;
}

/** Changes the parts of an engine, on top of its faults. */
export const IDEMPOTENCY_FAULTS_WRAP = Symbol('IDEMPOTENCY_FAULTS_WRAP');

/**
 * Faults for tests: each method arms one for the next executions.
 *
 * @example
 * module.get(IdempotencyFaults).crashAt('after claim');
 */
@Injectable()
export class IdempotencyFaults implements EngineFactory {
  private readonly engines: FaultyEngine[] = [];
  private readonly struck: FaultSite[] = [];
  private armed: Armed[] = [];
  private primaryIsLost = false;
  /** The latest claims, by record: {@link loseLease} needs the same request. */
  private readonly claims = new Map<string, Claim>();

  constructor(
    @Optional()
    @Inject(IDEMPOTENCY_FAULTS_WRAP)
    private readonly wrap: (parts: EngineParts) => EngineParts = (parts) => parts,
  ) {}

  /** The places where faults have struck so far. */
  get fired(): readonly FaultSite[] {
    return this.struck;
  }

  /**
   * Simulates the death of the process at this point. Nothing under way is recorded, heartbeats stop, transactions roll back, and clients
   * lose their connections. Callers of `IdempotencyService.run` get a `SimulatedCrashError`. Later requests meet a new process. The
   * handler's code goes on outside of a transaction, until it next uses its execution.
   *
   * With `kill: true`, the real process dies by SIGKILL. Default: `false`.
   */
  crashAt(point: FaultPoint | (string & {}), { kill = false, ...choice }: FaultChoice & { kill?: boolean } = {}): void {
    this.at(point, (scene) => (kill ? die() : scene.crash()), choice);
  }

  /** Breaks the client's connection before the first byte of the response. The outcome is recorded. */
  loseResponse(choice?: FaultChoice): void {
    this.at(
      'before send',
      ({ site }) => {
        site.hangUp?.();
        return new Promise<never>(() => undefined);
      },
      choice,
    );
  }

  /**
   * Ends the lease of the execution: another one takes the record over and frees it again. The execution records nothing.
   *
   * @param at the point at which the lease ends. Default: `'after claim'`
   */
  loseLease({ at = 'after claim', ...choice }: FaultChoice & { at?: FaultPoint } = {}): void {
    this.at(at, (scene) => this.takeOver(scene), choice);
  }

  /** Makes every call of the store fail, until {@link restorePrimary} or {@link reset}. */
  losePrimary(): void {
    this.primaryIsLost = true;
  }

  /** Ends {@link losePrimary}. */
  restorePrimary(): void {
    this.primaryIsLost = false;
  }

  /** Loses the request to the store, which does nothing. */
  loseRequest(call: Exclude<FaultCall, 'send' | 'handler'>, choice?: FaultChoice): void {
    this.at(`before ${call}`, unavailable, choice);
  }

  /** Loses the answer of the store, which does what it was asked. */
  loseAnswer(call: Exclude<FaultCall, 'send' | 'handler'>, choice?: FaultChoice): void {
    this.at(`after ${call}`, unavailable, choice);
  }

  /** Delays the execution by `ms` milliseconds, while its heartbeat goes on. */
  delay(point: FaultPoint | (string & {}), ms: number, choice?: FaultChoice): void {
    this.at(point, () => sleep(ms), choice);
  }

  /** Calls `action` at a point. The execution gets what it throws, and waits while it waits. */
  at(
    point: FaultPoint | readonly FaultPoint[] | (string & {}),
    action: FaultAction,
    { times = 1, when = () => true }: FaultChoice = {},
  ): void {
    const points = new Set<string>(typeof point === 'string' ? [point] : point);
    this.armed.push({ points, action, when, left: times });
  }

  /** Calls `action` at every point. */
  everywhere(action: FaultAction): void {
    this.armed.push({ points: undefined, action, when: () => true, left: Infinity });
  }

  /** Defines a point of the application: call it where a fault shall strike, and name it in {@link crashAt} or {@link at}. */
  reach(point: string): Promise<void> {
    return reachOwnPoint(point);
  }

  /** Disarms all faults, and clears {@link fired}. */
  reset(): void {
    this.armed = [];
    this.struck.length = 0;
    this.primaryIsLost = false;
    this.claims.clear();
  }

  /** @internal */
  createEngine(parts: EngineParts): IdempotencyEngine {
    const engine = new FaultyEngine(
      parts,
      (scene) => this.strike(scene),
      (point) => this.isArmed(point),
      this.wrap,
    );
    this.engines.push(engine);
    return engine;
  }

  /** @internal */
  listen(server: Server): void {
    for (const engine of this.engines) engine.listen(server);
  }

  private isArmed(point: string): boolean {
    return this.armed.some(({ points }) => points?.has(point));
  }

  private async strike(scene: FaultScene): Promise<void> {
    const { site } = scene;
    if (site.claim) this.remember(site.recordId, site.claim);
    if (this.primaryIsLost && site.point.startsWith('before ') && !UNSTORED.has(site.point)) unavailable();
    for (const fault of this.armed) {
      if (fault.left <= 0 || (fault.points && !fault.points.has(site.point)) || !fault.when(site)) continue;
      fault.left--;
      if (fault.points) this.struck.push(site);
      await fault.action(scene);
    }
    this.armed = this.armed.filter(({ left }) => left > 0);
  }

  private remember(recordId: string, claim: Claim): void {
    this.claims.delete(recordId);
    this.claims.set(recordId, claim);
    if (this.claims.size > MAX_CLAIMS) this.claims.delete(this.claims.keys().next().value!);
  }

  private async takeOver({ site, store }: FaultScene): Promise<void> {
    const recordState = await store.read(site.recordId);
    const claim = this.claims.get(site.recordId);
    if (!recordState || !claim) return;
    await store.renew(recordState, 0);
    const rival = await store.claim({ ...claim, owner: randomUUID() });
    if (rival.status === 'processing') await store.release(rival, claim.retentionMs);
  }
}

/** How many claims are remembered: in a test, fewer executions are under way at once. */
const MAX_CLAIMS = 100;

/** Points that a lost database does not affect. */
const UNSTORED = new Set<string>(['before handler', 'before send'] satisfies FaultPoint[]);

function unavailable(): never {
  throw new StoreUnavailableError({ cause: new Error('lost by a test') });
}

function die(): Promise<never> {
  process.kill(process.pid, 'SIGKILL');
  return new Promise(() => undefined);
}
