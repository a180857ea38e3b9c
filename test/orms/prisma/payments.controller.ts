import { Body, Controller, Post } from '@nestjs/common';
import { PrismaPg } from '@prisma/adapter-pg';
import { type Execution, Idempotent, IdempotentExecution } from 'nestjs-idempotency';
import { operationPool } from '../operation-pool.js';
import { PaymentDto } from '../payment.dto.js';
import { PrismaClient } from './generated/client.js';
import { PrismaService } from './prisma.service.js';

@Controller('payments')
export class PaymentsController {
  constructor(private readonly prisma: PrismaService) {}

  /** In the operation's transaction: payment, balance and outcome commit together. */
  @Idempotent({ transactional: true })
  @Post()
  async pay(@Body() { account, amount }: PaymentDto, @IdempotentExecution() execution: Execution) {
    const prisma = new PrismaClient({ adapter: new PrismaPg(await operationPool(execution)) });
    const id = execution.deriveKey('payment');
    await prisma.payment.create({ data: { id, account, amount } });
    await prisma.account.update({ where: { id: account }, data: { balance: { decrement: amount } } });
    return { id };
  }

  /** In a transaction of Prisma's own: the payment's row says whether an earlier attempt has committed it. */
  @Idempotent()
  @Post('by-key')
  async payByKey(@Body() { account, amount }: PaymentDto, @IdempotentExecution() execution: Execution) {
    const id = execution.deriveKey('payment');
    await this.prisma.$transaction(async (tx) => {
      const inserted = await tx.payment.createMany({ data: { id, account, amount }, skipDuplicates: true });
      if (inserted.count === 0) return;
      await tx.account.update({ where: { id: account }, data: { balance: { decrement: amount } } });
    });
    return { id };
  }
}
