import { AsyncLocalStorage } from 'node:async_hooks';
import { Logger } from '@nestjs/common';
import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { current } from '../../engine/current-execution.js';
import { NestedOperationError } from '../../engine/errors.js';
import { ShortLivedMap } from '../../engine/short-lived.js';
import { connectingDriverOf } from '../../private-names/typeorm.js';
import { noAnswer } from '../deadline.js';
import type { Pool } from './pools.js';

const byDataSource = new WeakMap<DataSource, Nesting>();

/** Returns the one instance for a data source, whose driver it patches. @param pool the data source's */
export function nestingOf(dataSource: DataSource, pool: Pool<unknown>): Nesting {
  let nesting = byDataSource.get(dataSource);
  if (!nesting) byDataSource.set(dataSource, (nesting = new Nesting(dataSource, pool)));
  return nesting;
}

/**
 * Prevents the deadlock of handlers that need a second connection of the pool while their transaction holds one. When such
 * handlers hold every connection, each would wait for the others forever. The last one gets an error instead: its rollback
 * frees a connection for the others.
 */
export class Nesting {
  /** The transactions that wait for a connection, and the number of connections that each waits for. */
  private readonly waiting = new ShortLivedMap<QueryRunner, number>();
  /** The nested operation whose transaction is about to begin. */
  private readonly beginning = new AsyncLocalStorage<{ readonly what: string; begun: boolean }>();
  private readonly warnedOf = new Set<string>();
  /** Takes a connection of the pool without the check, for statements that wait for no other request. */
  readonly obtain: () => Promise<unknown>;

  constructor(
    private readonly dataSource: DataSource,
    private readonly pool: Pool<unknown>,
  ) {
    const driver = connectingDriverOf(dataSource);
    const obtain = (this.obtain = driver.obtainMasterConnection.bind(driver));
    // TypeORM takes every other connection by this: for nested transactions, and for statements outside execution.manager.
    driver.obtainMasterConnection = () => {
      const inner = this.beginning.getStore();
      return this.withSecondConnection(
        inner && !inner.begun ? inner.what : 'a statement on another connection',
        obtain,
      );
    };
  }

  /** Runs `work`, which begins a transaction inside another one. */
  begin<T>(what: string, work: () => Promise<T>): Promise<T> {
    return this.beginning.run({ what, begun: false }, work);
  }

  /**
   * Runs `work`, which needs a connection of the pool in addition to the one that the caller's transaction holds.
   *
   * @param manager of that transaction, where it is known
   * @param records whether `work` records what has happened. It then waits on behind the error, which frees a connection: a retry would
   *   repeat what is not on record
   * @throws NestedOperationError where the wait for the connection would never end
   */
  withSecondConnection<T>(what: string, work: () => Promise<T>, manager?: unknown, records = false): Promise<T> {
    const chain = this.open(manager);
    if (!chain) return work();
    for (const one of chain) this.waiting.set(one, (this.waiting.get(one) ?? 0) + 1);
    const done = () => {
      for (const one of chain) {
        const left = (this.waiting.get(one) ?? 0) - 1;
        if (left > 0) this.waiting.set(one, left);
        else this.waiting.delete(one);
      }
    };
    if (this.pool.isExhausted && this.waiting.size >= this.pool.size) {
      done();
      if (records) work().catch(() => undefined);
      return Promise.reject(this.exhausted(what));
    }
    return work().finally(done);
  }

  /** Notes that the transaction of {@link begin} has begun: later errors no longer name it as the one that waits. */
  enter(): void {
    const inner = this.beginning.getStore();
    if (inner) inner.begun = true;
  }

  /** Notes that a transaction has ended. Work that it left running no longer counts. */
  leave({ queryRunner }: EntityManager): void {
    this.waiting.delete(queryRunner!);
  }

  /** Whether the caller runs in a transaction of this data source, at any depth. */
  get isNested(): boolean {
    return this.open() !== undefined;
  }

  /** Returns the transactions of this data source that the caller runs in; `undefined` for none, as most callers run in none. */
  private open(manager?: unknown): Set<QueryRunner> | undefined {
    let open: Set<QueryRunner> | undefined;
    const add = (given: unknown) => {
      const { queryRunner } = (given ?? {}) as Partial<EntityManager>;
      if (queryRunner?.connection === this.dataSource) (open ??= new Set()).add(queryRunner);
    };
    if (manager) add(manager);
    for (let at = current(); at; at = at.outer) if (at.execution.openTransaction) add(at.execution.openTransaction);
    return open;
  }

  private exhausted(what: string): NestedOperationError {
    let at = current();
    while (at?.outer && !at.execution.openTransaction) at = at.outer;
    const outer = at?.execution.endpoint ?? 'a transactional operation';
    const error = new NestedOperationError(what, outer, this.pool.size);
    // The rollback of a nested operation is logged elsewhere.
    const isLogged = this.beginning.getStore()?.begun === false || this.warnedOf.has(what + outer);
    if (!isLogged) new Logger('Idempotency').error(error.message);
    this.warnedOf.add(what + outer);
    return error;
  }
}

/** Limits how many transactions run at a time. */
export class Turns {
  private running = 0;
  private readonly queue: (() => void)[] = [];

  /**
   * @param most how many may run at a time
   * @throws StoreUnavailableError when `work` cannot start within `patienceMs` milliseconds
   */
  async run<T>(most: number, patienceMs: number, work: () => Promise<T>): Promise<T> {
    if (this.running >= most) await this.wait(patienceMs);
    else this.running++;
    try {
      return await work();
    } finally {
      const next = this.queue.shift();
      if (next) next();
      else this.running--;
    }
  }

  private wait(patienceMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.queue.splice(this.queue.indexOf(enter), 1);
        reject(noAnswer(patienceMs));
      }, patienceMs);
      this.queue.push(enter);
    });
  }
}
