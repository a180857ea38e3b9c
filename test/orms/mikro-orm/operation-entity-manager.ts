import { EntityManager, TransactionContext } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import { Kysely, PostgresDialect } from 'kysely';
import type { Execution } from 'nestjs-idempotency';
import { operationPool } from '../operation-pool.js';

@Injectable()
export class OperationEntityManager {
  constructor(private readonly em: EntityManager) {}

  /** Runs `work` with all injected entity managers and repositories in the operation's transaction, and flushes. */
  async run<T>(execution: Execution, work: () => Promise<T>): Promise<T> {
    const kysely = new Kysely<unknown>({ dialect: new PostgresDialect({ pool: await operationPool(execution) }) });
    const em = this.em.fork();
    em.setTransactionContext(await kysely.startTransaction().execute());
    return TransactionContext.create(em, async () => {
      const result = await work();
      await em.flush();
      return result;
    });
  }
}
