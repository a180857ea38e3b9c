import { randomUUID } from 'node:crypto';
import { Body, Controller, Post } from '@nestjs/common';
import { drizzle, NodePgDatabase } from 'drizzle-orm/node-postgres';
import { type Execution, Idempotent, IdempotentExecution, NotIdempotent } from 'nestjs-idempotency';
import type { Client } from 'pg';
import { operationPool } from '../operation-pool.js';
import { PaymentDto } from '../payment.dto.js';
import { payments } from './schema.js';

/** What the page says of Drizzle, put to the test. */
@Controller('probes')
export class ProbesController {
  private late!: () => Promise<void>;

  constructor(private readonly db: NodePgDatabase) {}

  /** The write is not in the operation's transaction, whatever the decorator says. */
  @Idempotent({ transactional: true })
  @Post('apart')
  async apart(@Body() { account, amount }: PaymentDto) {
    await this.db.insert(payments).values({ id: randomUUID(), account, amount });
  }

  @Idempotent({ transactional: true })
  @Post('nested')
  async nested(
    @Body() { account, amount, fail }: PaymentDto & { fail?: boolean },
    @IdempotentExecution() execution: Execution,
  ) {
    const db = drizzle(await operationPool(execution));
    const pay = (n: number) =>
      db.transaction(async (tx) => {
        await tx.insert(payments).values({ id: randomUUID(), account, amount });
        await tx.transaction(
          async (inner) => void (await inner.insert(payments).values({ id: randomUUID(), account, amount })),
        );
        if (n === 1) throw new Error('not this one');
      });
    const results = await Promise.allSettled([0, 1, 2].map(pay));
    if (fail) throw new Error('after the payments');
    return results.map(({ status }) => status);
  }

  /** Drizzle's COMMIT, on the bare connection, is the operation's. */
  @Idempotent({ transactional: true })
  @Post('bare')
  async bare(@Body() { account, amount }: PaymentDto, @IdempotentExecution() execution: Execution) {
    const db = drizzle((await execution.manager.queryRunner!.connect()) as Client);
    await db.transaction(async (tx) => void (await tx.insert(payments).values({ id: randomUUID(), account, amount })));
  }

  @Idempotent({ transactional: true })
  @Post('left-behind')
  async leftBehind(@Body() { account, amount }: PaymentDto, @IdempotentExecution() execution: Execution) {
    const db = drizzle(await operationPool(execution));
    this.late = async () => void (await db.insert(payments).values({ id: randomUUID(), account, amount }));
  }

  /** What the handler before left behind, run when its operation has ended. */
  @Post('late')
  @NotIdempotent()
  runLate() {
    return this.late().then(
      () => 'written',
      (error: Error) => String((error.cause as Error | undefined) ?? error),
    );
  }
}
