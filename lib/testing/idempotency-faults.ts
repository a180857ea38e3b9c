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

export type { FaultScene } from './faulty-engine.js';

/** Which of the executions that come to a point are struck. */
export interface FaultChoice {
  /** How many. Default: 1. */
  readonly times?: number;
  /** Whether this one. Default: each. */
  readonly when?: (site: FaultSite) => boolean;
}

/** What happens to an execution that is struck. What it throws is what the execution gets. */
export type FaultAction = (scene: FaultScene) => void | Promise<void>;

interface Armed {
  readonly points: ReadonlySet<string> | undefined;
  readonly action: FaultAction;
  readonly when: (site: FaultSite) => boolean;
  left: number;
}

/** Changes what an engine is made of, on top of its faults. */
export const IDEMPOTENCY_FAULTS_WRAP = Symbol('IDEMPOTENCY_FAULTS_WRAP');

/** Faults for tests: arms what the next executions run into. */
@Injectable()
export class IdempotencyFaults implements EngineFactory {
  private readonly engines: FaultyEngine[] = [];
  private readonly struck: FaultSite[] = [];
  private armed: Armed[] = [];
  private primaryIsLost = false;
  /** Of the latest executions, by record: a take-over needs the same request. */
  private readonly claims = new Map<string, Claim>();

  constructor(
    @Optional()
    @Inject(IDEMPOTENCY_FAULTS_WRAP)
    private readonly wrap: (parts: EngineParts) => EngineParts = (parts) => parts,
  ) {}

  /** Where faults struck so far. */
  get fired(): readonly FaultSite[] {
    return this.struck;
  }

  /**
   * The process dies at this point. Nothing it has under way is recorded any more, its heartbeats stop, its
   * transactions roll back, its clients lose their connections (and callers of `IdempotencyService.run` get a
   * `SimulatedCrashError`); whatever is asked from then on is asked of a new process. The handler's own code is not
   * undone: where it holds no transaction, it goes on until it next asks something of its execution.
   *
   * `kill: true` ends the real process, by SIGKILL.
   */
  crashAt(point: FaultPoint | (string & {}), { kill = false, ...choice }: FaultChoice & { kill?: boolean } = {}): void {
    this.at(point, (scene) => (kill ? die() : scene.crash()), choice);
  }

  /** The client's connection breaks before the first byte of the response; the outcome is on record. */
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
   * The execution is taken for dead: its lease runs out, and another takes the record over and frees it again. What
   * the execution does is not recorded.
   *
   * @param at the point at which that happens. Default: right after its claim
   */
  loseLease({ at = 'after claim', ...choice }: FaultChoice & { at?: FaultPoint } = {}): void {
    this.at(at, (scene) => this.takeOver(scene), choice);
  }

  /** The database is gone: whatever is asked of the store fails, until {@link restorePrimary} or {@link reset}. */
  losePrimary(): void {
    this.primaryIsLost = true;
  }

  /** The database is back. */
  restorePrimary(): void {
    this.primaryIsLost = false;
  }

  /** The store is not asked: the request is lost on its way. */
  loseRequest(call: Exclude<FaultCall, 'send' | 'handler'>, choice?: FaultChoice): void {
    this.at(`before ${call}`, unavailable, choice);
  }

  /** The store does what it is asked, and its answer is lost. */
  loseAnswer(call: Exclude<FaultCall, 'send' | 'handler'>, choice?: FaultChoice): void {
    this.at(`after ${call}`, unavailable, choice);
  }

  /** The execution waits here, as a process that is stopped does; its heartbeat goes on. */
  delay(point: FaultPoint | (string & {}), ms: number, choice?: FaultChoice): void {
    this.at(point, () => sleep(ms), choice);
  }

  /** Calls `action` at a point. What it throws is what the execution gets; while it waits, the execution does. */
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

  /** A point of the application's own: call it where your code is to be struck, and name it in {@link crashAt}. */
  reach(point: string): Promise<void> {
    return reachOwnPoint(point);
  }

  /** Disarms everything, and forgets where faults struck. */
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
    if (site.claim) this.note(site.recordId, site.claim);
    if (this.primaryIsLost && site.point.startsWith('before ') && !UNSTORED.has(site.point)) unavailable();
    for (const fault of this.armed) {
      if (fault.left <= 0 || (fault.points && !fault.points.has(site.point)) || !fault.when(site)) continue;
      fault.left--;
      if (fault.points) this.struck.push(site);
      await fault.action(scene);
    }
    this.armed = this.armed.filter(({ left }) => left > 0);
  }

  private note(recordId: string, claim: Claim): void {
    this.claims.delete(recordId);
    this.claims.set(recordId, claim);
    if (this.claims.size > MOST_CLAIMS) this.claims.delete(this.claims.keys().next().value!);
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

/** As many executions may be under way. */
const MOST_CLAIMS = 100;

/** Points at which nothing is asked of the store. */
const UNSTORED = new Set<string>(['before handler', 'before send'] satisfies FaultPoint[]);

function unavailable(): never {
  throw new StoreUnavailableError({ cause: new Error('lost by a test') });
}

function die(): Promise<never> {
  process.kill(process.pid, 'SIGKILL');
  return new Promise(() => undefined);
}
