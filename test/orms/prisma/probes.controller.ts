import { randomUUID } from 'node:crypto';
import { Body, Controller, Post } from '@nestjs/common';
import { PrismaPg } from '@prisma/adapter-pg';
import { type Execution, Idempotent, IdempotentExecution, NotIdempotent } from 'nestjs-idempotency';
import { operationPool } from '../operation-pool.js';
import { PaymentDto } from '../payment.dto.js';
import { PrismaClient } from './generated/client.js';
import { PrismaService } from './prisma.service.js';

/** What the page says of Prisma, put to the test. */
@Controller('probes')
export class ProbesController {
  private late!: () => Promise<void>;

  constructor(private readonly prisma: PrismaService) {}

  /** The write is not in the operation's transaction, whatever the decorator says. */
  @Idempotent({ transactional: true })
  @Post('apart')
  async apart(@Body() { account, amount }: PaymentDto) {
    await this.prisma.payment.create({ data: { id: randomUUID(), account, amount } });
  }

  @Idempotent({ transactional: true })
  @Post('nested')
  async nested(
    @Body() { account, amount, fail }: PaymentDto & { fail?: boolean },
    @IdempotentExecution() execution: Execution,
  ) {
    const prisma = new PrismaClient({ adapter: new PrismaPg(await operationPool(execution)) });
    const pay = (n: number) =>
      prisma.$transaction(async (tx) => {
        await tx.payment.create({ data: { id: randomUUID(), account, amount } });
        await tx.payment.createMany({ data: [{ id: randomUUID(), account, amount }] });
        if (n === 1) throw new Error('not this one');
      });
    const results = await Promise.allSettled([0, 1, 2].map(pay));
    if (fail) throw new Error('after the payments');
    return results.map(({ status }) => status);
  }

  @Idempotent({ transactional: true })
  @Post('left-behind')
  async leftBehind(@Body() { account, amount }: PaymentDto, @IdempotentExecution() execution: Execution) {
    const prisma = new PrismaClient({ adapter: new PrismaPg(await operationPool(execution)) });
    this.late = async () => void (await prisma.payment.create({ data: { id: randomUUID(), account, amount } }));
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
