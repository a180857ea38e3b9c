import { AsyncLocalStorage } from 'node:async_hooks';
import { Logger } from '@nestjs/common';
import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { current } from '../../engine/current-execution.js';
import { NestedOperationError, StoreUnavailableError } from '../../engine/errors.js';
import { ShortLivedMap } from '../../engine/short-lived.js';
import { connectingDriverOf } from '../../private-names/typeorm.js';
import type { Pool } from './pools.js';

const known = new WeakMap<DataSource, Nesting>();

/** @param pool the data source's */
export function nestingOf(dataSource: DataSource, pool: Pool<unknown>): Nesting {
  let nesting = known.get(dataSource);
  if (!nesting) known.set(dataSource, (nesting = new Nesting(dataSource, pool)));
  return nesting;
}

/**
 * Handlers of transactional operations that need a second connection of the pool while their transaction holds one. Where such
 * handlers hold every connection, each waits for the others for ever: the last of them gets an error instead, and its
 * rollback gives the others a connection.
 */
export class Nesting {
  /** The transactions that wait for a connection, and for how many. */
  private readonly waiting = new ShortLivedMap<QueryRunner, number>();
  /** The operation inside another one whose transaction is about to begin. */
  private readonly beginning = new AsyncLocalStorage<{ readonly what: string; begun: boolean }>();
  private readonly warnedOf = new Set<string>();
  /** Takes a connection of the pool for statements that wait for no other request. */
  readonly obtain: () => Promise<unknown>;

  constructor(
    private readonly dataSource: DataSource,
    private readonly pool: Pool<unknown>,
  ) {
    const driver = connectingDriverOf(dataSource);
    const obtain = (this.obtain = driver.obtainMasterConnection.bind(driver));
    // Everything that TypeORM does on a connection of its own: nested transactions, and statements beside execution.manager.
    driver.obtainMasterConnection = () => {
      const inner = this.beginning.getStore();
      return this.besides(inner && !inner.begun ? inner.what : 'a statement on another connection', obtain);
    };
  }

  /** Begins a transaction, by `work`, inside of another one. */
  begin<T>(what: string, work: () => Promise<T>): Promise<T> {
    return this.beginning.run({ what, begun: false }, work);
  }

  /**
   * Runs `work`, which needs a connection of the pool besides that of the transaction which the caller runs in.
   *
   * @param manager of that transaction, where it is known
   * @throws NestedOperationError where the connection would never come
   */
  besides<T>(what: string, work: () => Promise<T>, manager?: unknown): Promise<T> {
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
      return Promise.reject(this.exhausted(what));
    }
    return work().finally(done);
  }

  /** Notes that a transaction has begun: what its handler asks for is no longer asked for by {@link begin}. */
  enter(): void {
    const inner = this.beginning.getStore();
    if (inner) inner.begun = true;
  }

  /** Notes that a transaction is over, whatever it has left running. */
  leave({ queryRunner }: EntityManager): void {
    this.waiting.delete(queryRunner!);
  }

  /** Returns whether the caller runs in a transaction of this data source, at whatever depth. */
  get isNested(): boolean {
    return this.open() !== undefined;
  }

  /** The transactions of this data source that the caller runs in. Most callers run in none, and a set takes memory. */
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
    // The rollback of an operation is logged anyway.
    const isLogged = this.beginning.getStore()?.begun === false || this.warnedOf.has(what + outer);
    if (!isLogged) new Logger('Idempotency').error(error.message);
    this.warnedOf.add(what + outer);
    return error;
  }
}

/** Lets a limited number of transactions run at a time. */
export class Turns {
  private running = 0;
  private readonly queue: (() => void)[] = [];

  /**
   * @param most how many may run
   * @throws StoreUnavailableError where the turn does not come within `patienceMs` milliseconds
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
        reject(new StoreUnavailableError({ cause: new Error(`no answer within ${patienceMs} ms`) }));
      }, patienceMs);
      this.queue.push(enter);
    });
  }
}
