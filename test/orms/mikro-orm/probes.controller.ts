import { randomUUID } from 'node:crypto';
import { EntityManager, MikroORM } from '@mikro-orm/postgresql';
import { Body, Controller, Post } from '@nestjs/common';
import { type Execution, Idempotent, IdempotentExecution, NotIdempotent } from 'nestjs-idempotency';
import { PaymentDto } from '../payment.dto.js';
import { Payment } from './entities.js';
import { OperationEntityManager } from './operation-entity-manager.js';

/** What the page says of MikroORM, put to the test. */
@Controller('probes')
export class ProbesController {
  private late!: () => Promise<void>;

  constructor(
    private readonly em: EntityManager,
    private readonly orm: MikroORM,
    private readonly operation: OperationEntityManager,
  ) {}

  /** The write is not in the operation's transaction, whatever the decorator says. */
  @Idempotent({ transactional: true })
  @Post('apart')
  async apart(@Body() { account, amount }: PaymentDto) {
    this.em.create(Payment, { id: randomUUID(), account, amount });
    await this.em.flush();
  }

  @Idempotent({ transactional: true })
  @Post('nested')
  nested(
    @Body() { account, amount, fail }: PaymentDto & { fail?: boolean },
    @IdempotentExecution() execution: Execution,
  ) {
    return this.operation.run(execution, async () => {
      const results: string[] = [];
      for (const n of [0, 1, 2]) {
        const paying = this.em.transactional(async (em) => {
          em.create(Payment, { id: randomUUID(), account, amount });
          await em.flush();
          await em.transactional(async (inner) => void inner.create(Payment, { id: randomUUID(), account, amount }));
          if (n === 1) throw new Error('not this one');
        });
        const [{ status }] = await Promise.allSettled([paying]);
        results.push(status);
      }
      if (fail) throw new Error('after the payments');
      return results;
    });
  }

  @Idempotent({ transactional: true })
  @Post('left-behind')
  async leftBehind(@Body() { account, amount }: PaymentDto, @IdempotentExecution() execution: Execution) {
    await this.operation.run(execution, async () => {
      const em = this.em.fork({ keepTransactionContext: true });
      this.late = async () => void (await em.insert(Payment, { id: randomUUID(), account, amount }));
    });
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

  /** What MikroORM's schema generator would do to the database. */
  @Post('schema')
  @NotIdempotent()
  async schema() {
    return { sql: await this.orm.schema.getUpdateSchemaSQL() };
  }
}
