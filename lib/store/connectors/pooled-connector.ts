import type { EntityManager } from 'typeorm';
import type { Dialect } from '../dialects/dialect.js';
import { LockedRows, saysLocked } from '../locked-rows.js';
import { Deadlines } from '../deadline.js';
import type { Connector, RehearsalStep } from './connector.js';
import { poisonsConnection } from './poisoned-connections.js';
import { type Nesting, Turns } from './nesting.js';
import type { StorePools } from './pools.js';

/** The shortest interval between two reports of stale connections, in milliseconds. */
const TELL_EVERY_MS = 1_000;

/** A connection that has been in use for so many milliseconds is closed, so that it is not missing from the pool. */
const GIVE_UP_AFTER_MS = 30_000;

/** A connection that meets a time limit, and again so many milliseconds later or more, is closed. */
const LASTING_AFTER_MS = 2_000;

/**
 * Runs statements on connections of a pool. A connection that cannot work again is closed instead of given back: after a
 * failover, a pool would otherwise hand out connections to a server that may not write, for as long as there is traffic.
 */
export abstract class PooledConnector<Raw extends object, On> implements Connector<On> {
  readonly singleConnection = false;
  private readonly staleListeners = new Set<() => void>();
  private toldAt = -Infinity;
  private readonly turns = new Turns();
  private readonly lockedRows = new LockedRows();
  private readonly limitedSince = new WeakMap<Raw, number>();
  private readonly inUse = new Deadlines<Raw>(GIVE_UP_AFTER_MS, (connection) => this.cut(connection));

  constructor(
    readonly dialect: Dialect<On>,
    private readonly pools: StorePools<Raw>,
    readonly nesting: Nesting,
  ) {}

  get sharesPool(): boolean {
    return this.pools.isShared;
  }

  /** A statement that was refused because of its connection alone runs once more, on another. */
  async alone<T>(work: (on: On) => Promise<T>, lockPatienceMs = 0): Promise<T> {
    for (let again = false; ; again = true) {
      let connection: Raw;
      try {
        connection = await this.pools.current.take();
      } catch (error) {
        connection = await this.pools.takeAfter(error);
      }
      this.inUse.add(connection);
      let broken: unknown;
      try {
        const on = this.on(connection);
        return await work(on instanceof Promise ? await on : on);
      } catch (error) {
        const poison = poisonsConnection(error);
        if (poison?.others) this.distrust();
        const isPoisoned = poison && (!poison.ifLasting || this.isLasting(connection));
        if (isPoisoned || !this.leavesConnection(error)) broken = error;
        // Not awaited: the connection is given back first.
        if (lockPatienceMs > 0 && saysLocked(error)) return this.whenUnlocked(work, error, lockPatienceMs);
        if (again || !(poison?.refused || this.isCured(error))) throw error;
      } finally {
        this.inUse.delete(connection);
        this.giveBack(connection, broken);
      }
    }
  }

  atomically<T>(work: (on: On) => Promise<T>, lockPatienceMs?: number): Promise<T> {
    return this.inTransaction('COMMIT', work, lockPatienceMs);
  }

  rehearse(steps: (on: On) => readonly RehearsalStep[], reached: (what: string) => void): Promise<void> {
    return this.inTransaction('ROLLBACK', async (on) => {
      for (const [what, run] of steps(on)) {
        reached(what);
        await run();
      }
    });
  }

  private inTransaction<T>(
    end: 'COMMIT' | 'ROLLBACK',
    work: (on: On) => Promise<T>,
    lockPatienceMs?: number,
  ): Promise<T> {
    return this.alone(async (on) => {
      for (const statement of this.begin) await this.tell(on, statement);
      try {
        const result = await work(on);
        await this.tell(on, end);
        return result;
      } catch (error) {
        if (this.leavesConnection(error)) await this.tell(on, 'ROLLBACK');
        throw error;
      }
    }, lockPatienceMs);
  }

  abstract within(manager: EntityManager): Promise<On>;

  /**
   * Where the store shares the pool, transactions leave it a connection: their handlers wait for steps and for what they claim,
   * and the statements of everybody else end by themselves. A nested one may have that too, as it holds up another.
   */
  exclusively<T>(work: () => Promise<T>, what: string, patienceMs: number): Promise<T> {
    if (this.nesting.isNested) return this.nesting.begin(what, work);
    if (!this.sharesPool) return work();
    return this.turns.run(Math.max(1, this.pools.shared.limit - 1), patienceMs, work);
  }

  onStale(listener: () => void): void {
    this.staleListeners.add(listener);
  }

  close(): Promise<void> {
    return this.pools.close();
  }

  /** The statements that begin a transaction. */
  protected abstract readonly begin: readonly string[];
  protected abstract on(connection: Raw): On | Promise<On>;
  protected abstract tell(on: On, statement: string): Promise<unknown>;
  /** Gives a connection back to its pool, or closes it if it is broken. */
  protected abstract giveBack(connection: Raw, broken: unknown): void;
  /** Closes a connection that waits for an answer. Its statement fails. */
  protected abstract cut(connection: Raw): void;
  /** Whether the connection is as good as before: the server itself reported the error, and not as its last word. */
  protected abstract leavesConnection(error: unknown): boolean;
  /** Whether the statement was refused for something that has been seen to since. */
  protected isCured(_error: unknown): boolean {
    return false;
  }

  private whenUnlocked<T>(work: (on: On) => Promise<T>, locked: unknown, patienceMs: number): Promise<T> {
    const giveUpAt = performance.now() + patienceMs;
    const ask = async () => {
      if (performance.now() >= giveUpAt) throw locked;
      return this.alone(work);
    };
    return this.lockedRows.waitFor(ask, patienceMs);
  }

  private isLasting(connection: Raw): boolean {
    const now = performance.now();
    const since = this.limitedSince.get(connection) ?? now;
    this.limitedSince.set(connection, since);
    return now - since > LASTING_AFTER_MS;
  }

  private distrust(): void {
    this.pools.closeIdle();
    if (performance.now() - this.toldAt < TELL_EVERY_MS) return;
    this.toldAt = performance.now();
    for (const listener of this.staleListeners) listener();
  }
}
