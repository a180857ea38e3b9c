import { Body, Controller, Post } from '@nestjs/common';
import { eq, sql } from 'drizzle-orm';
import { drizzle, NodePgDatabase } from 'drizzle-orm/node-postgres';
import { type Execution, Idempotent, IdempotentExecution } from 'nestjs-idempotency';
import { operationPool } from '../operation-pool.js';
import { PaymentDto } from '../payment.dto.js';
import { accounts, payments } from './schema.js';

@Controller('payments')
export class PaymentsController {
  constructor(private readonly db: NodePgDatabase) {}

  /** In the operation's transaction: payment, balance and outcome commit together. */
  @Idempotent({ transactional: true })
  @Post()
  async pay(@Body() { account, amount }: PaymentDto, @IdempotentExecution() execution: Execution) {
    const db = drizzle(await operationPool(execution));
    const id = execution.deriveKey('payment');
    await db.insert(payments).values({ id, account, amount });
    await db
      .update(accounts)
      .set({ balance: sql`${accounts.balance} - ${amount}` })
      .where(eq(accounts.id, account));
    return { id };
  }

  /** In a transaction of Drizzle's own: the payment's row says whether an earlier attempt has committed it. */
  @Idempotent()
  @Post('by-key')
  async payByKey(@Body() { account, amount }: PaymentDto, @IdempotentExecution() execution: Execution) {
    const id = execution.deriveKey('payment');
    await this.db.transaction(async (tx) => {
      const inserted = await tx.insert(payments).values({ id, account, amount }).onConflictDoNothing().returning();
      if (inserted.length === 0) return;
      await tx
        .update(accounts)
        .set({ balance: sql`${accounts.balance} - ${amount}` })
        .where(eq(accounts.id, account));
    });
    return { id };
  }
}
