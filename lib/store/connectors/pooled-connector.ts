import type { EntityManager } from 'typeorm';
import type { Dialect } from '../dialects/dialect.js';
import { asUnopened, says } from '../driver-errors.js';
import { LockedRows } from '../locked-rows.js';
import { Deadlines } from '../deadline.js';
import type { Connector, RehearsalStep } from './connector.js';
import { poisonsConnection } from './poisoned-connections.js';
import { type Nesting, Turns } from './nesting.js';
import type { StorePools } from './pools.js';

/** The shortest interval between two reports of stale connections: each statement in flight meets the same failover. */
const REPORT_EVERY_MS = 1_000;

/**
 * How long a statement may hold a connection before the idle ones are closed. A gateway may have forgotten all of them while nothing was
 * sent, as over night, and drops what they send without an error. Each would cost a request its time-out, which is longer.
 */
const SILENT_AFTER_MS = 3_000;

/** How much longer it may hold the connection. After that it is closed: a silent server would empty the pool. */
const CLOSE_AFTER_MS = 27_000;

/** A connection that exceeds a time limit again after this long is closed: its session may keep a limit that was lifted. */
const LASTING_AFTER_MS = 2_000;

/** Where a statement runs: alone, so that its session has to commit it, or in a transaction. */
export type Place = 'alone' | 'within';

function throwUnopened(error: unknown): never {
  throw asUnopened(error);
}

/**
 * Runs statements on connections of a pool. A connection that is broken for good is closed instead of released. After a
 * failover, a busy pool would otherwise keep its connections to a server that may not write.
 */
export abstract class PooledConnector<Raw extends object, On> implements Connector<On> {
  readonly singleConnection = false;
  private readonly staleListeners = new Set<() => void>();
  private reportedAt = -Infinity;
  private readonly turns = new Turns();
  private readonly lockedRows = new LockedRows();
  private readonly limitedSince = new WeakMap<Raw, number>();
  private readonly inUse = new Deadlines<Raw>(SILENT_AFTER_MS, (connection) => this.onSilence(connection));
  private readonly silent = new Deadlines<Raw>(CLOSE_AFTER_MS, (connection) => this.destroy(connection));

  constructor(
    readonly dialect: Dialect<On>,
    protected readonly pools: StorePools<Raw>,
    readonly nesting: Nesting,
  ) {
    pools.onReplaced = () => this.reportStale();
  }

  get sharesPool(): boolean {
    return this.pools.isShared;
  }

  alone<T>(work: (on: On) => Promise<T>, lockPatienceMs?: number): Promise<T> {
    return this.onConnection('alone', work, lockPatienceMs);
  }

  /** Runs a statement once more, on another connection, when it was refused because of its connection alone. */
  private async onConnection<T>(place: Place, work: (on: On) => Promise<T>, lockPatienceMs = 0): Promise<T> {
    for (let again = false; ; again = true) {
      let connection: Raw;
      try {
        connection = await this.pools.choose().take();
      } catch (error) {
        connection = await this.pools.takeAfter(error).catch(throwUnopened);
      }
      this.inUse.add(connection);
      let broken: unknown;
      try {
        const on = this.on(connection, place);
        return await work(on instanceof Promise ? await on : on);
      } catch (error) {
        const poison = poisonsConnection(error, this.pools.sharesConnection(connection));
        if (poison?.others) this.dropIdle();
        const isPoisoned = poison && (!poison.ifLasting || this.isLasting(connection));
        if (isPoisoned || !this.isIntactAfter(error)) broken = error;
        // Not awaited: the connection is released first.
        if (lockPatienceMs > 0 && says(error, 'locked')) return this.whenUnlocked(place, work, error, lockPatienceMs);
        if (again || !(poison?.refused || this.isRepairedAfter(error))) throw error;
      } finally {
        this.inUse.delete(connection);
        this.silent.delete(connection);
        this.release(connection, broken);
      }
    }
  }

  atomically<T>(work: (on: On) => Promise<T>, lockPatienceMs?: number): Promise<T> {
    return this.inTransaction('COMMIT', work, lockPatienceMs);
  }

  rehearse(steps: readonly RehearsalStep<On>[], reached: (what: string) => void): Promise<void> {
    reached(steps[0][0]);
    return this.inTransaction('ROLLBACK', async (on) => {
      for (const [what, run] of steps) {
        reached(what);
        await run(on);
      }
    });
  }

  private inTransaction<T>(
    end: 'COMMIT' | 'ROLLBACK',
    work: (on: On) => Promise<T>,
    lockPatienceMs?: number,
  ): Promise<T> {
    const transaction = async (on: On) => {
      for (const statement of this.begin) await this.execute(on, statement);
      try {
        const result = await work(on);
        await this.execute(on, end);
        return result;
      } catch (error) {
        if (this.isIntactAfter(error)) await this.execute(on, 'ROLLBACK');
        throw error;
      }
    };
    return this.onConnection('within', transaction, lockPatienceMs);
  }

  abstract within(manager: EntityManager): Promise<On>;

  /**
   * Where the store shares the pool, transactions leave one connection free: their handlers wait for steps and nested claims,
   * which need one. A nested transaction may use it too, because another transaction waits for it.
   */
  exclusively<T>(work: () => Promise<T>, what: string, patienceMs: number): Promise<T> {
    if (this.nesting.isNested) return this.nesting.begin(what, work);
    if (!this.sharesPool) return work();
    return this.turns.run(Math.max(1, this.pools.shared.limit - 1), patienceMs, work);
  }

  dropIdle(): void {
    this.pools.closeIdle();
    this.reportStale();
  }

  /** Whether a statement has had no answer for long. Others may be under way on connections that were lost with its own. */
  protected get isSilent(): boolean {
    return this.silent.size > 0;
  }

  private onSilence(connection: Raw): void {
    this.silent.add(connection);
    this.dropIdle();
  }

  private reportStale(): void {
    if (performance.now() - this.reportedAt < REPORT_EVERY_MS) return;
    this.reportedAt = performance.now();
    for (const listener of this.staleListeners) listener();
  }

  onStale(listener: () => void): void {
    this.staleListeners.add(listener);
  }

  close(): Promise<void> {
    return this.pools.close();
  }

  /** The statements that begin a transaction. */
  protected abstract readonly begin: readonly string[];
  protected abstract on(connection: Raw, place: Place): On | Promise<On>;
  protected abstract execute(on: On, statement: string): Promise<unknown>;
  /** Releases a connection to its pool, or closes it if it is broken. */
  protected abstract release(connection: Raw, broken: unknown): void;
  /** Closes a connection that waits for an answer. Its statement fails. */
  protected abstract destroy(connection: Raw): void;
  /** Returns whether the connection still works: the server itself reported the error, and did not close it. */
  protected abstract isIntactAfter(error: unknown): boolean;
  /** Returns whether the cause of the refusal has been repaired since, so that the statement may run again. */
  protected isRepairedAfter(_error: unknown): boolean {
    return false;
  }

  private whenUnlocked<T>(place: Place, work: (on: On) => Promise<T>, locked: unknown, patienceMs: number): Promise<T> {
    const giveUpAt = performance.now() + patienceMs;
    const ask = async () => {
      if (performance.now() >= giveUpAt) throw locked;
      return this.onConnection(place, work);
    };
    return this.lockedRows.waitFor(ask, patienceMs);
  }

  private isLasting(connection: Raw): boolean {
    const now = performance.now();
    const since = this.limitedSince.get(connection) ?? now;
    this.limitedSince.set(connection, since);
    return now - since > LASTING_AFTER_MS;
  }
}
