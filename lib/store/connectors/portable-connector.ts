import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource, EntityManager } from 'typeorm';
import type { Dialect } from '../dialects/dialect.js';
import type { Connector } from './connector.js';

/** How often to look whether the application's transaction has ended, in milliseconds. */
const LOOK_AGAIN = 2;

/** Hands out TypeORM's own managers. */
export class PortableConnector implements Connector<EntityManager> {
  readonly singleConnection: boolean;
  private lastTransaction: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly dataSource: DataSource,
    readonly dialect: Dialect<EntityManager>,
  ) {
    this.singleConnection = hasSingleConnection(dataSource);
  }

  async alone<T>(work: (on: EntityManager) => Promise<T>): Promise<T> {
    if (this.singleConnection) await this.untilFree();
    return work(this.dataSource.manager);
  }

  /** The dialect's methods each begin a transaction where they need one. */
  atomically<T>(work: (on: EntityManager) => Promise<T>): Promise<T> {
    return this.alone(work);
  }

  async within(manager: EntityManager): Promise<EntityManager> {
    return manager;
  }

  exclusively<T>(work: () => Promise<T>): Promise<T> {
    if (!this.singleConnection) return work();
    const turn = this.lastTransaction.then(async () => {
      await this.untilFree();
      return work();
    });
    this.lastTransaction = turn.catch(() => undefined);
    return turn;
  }

  /** What ran on the one connection while the application's transaction is open would be rolled back with it. */
  private async untilFree(): Promise<void> {
    while (this.dataSource.createQueryRunner().isTransactionActive) await sleep(LOOK_AGAIN);
  }
}

/** SQLite's drivers hand out one and the same query runner, over one connection. */
export function hasSingleConnection(dataSource: DataSource): boolean {
  return dataSource.createQueryRunner() === dataSource.createQueryRunner();
}
