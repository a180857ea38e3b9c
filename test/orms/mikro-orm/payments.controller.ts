import { EntityManager } from '@mikro-orm/postgresql';
import { Body, Controller, Post } from '@nestjs/common';
import { type Execution, Idempotent, IdempotentExecution } from 'nestjs-idempotency';
import { PaymentDto } from '../payment.dto.js';
import { Payment } from './entities.js';
import { OperationEntityManager } from './operation-entity-manager.js';
import { PaymentsService } from './payments.service.js';

@Controller('payments')
export class PaymentsController {
  constructor(
    private readonly em: EntityManager,
    private readonly operation: OperationEntityManager,
    private readonly payments: PaymentsService,
  ) {}

  /** In the operation's transaction: payment, balance and outcome commit together. */
  @Idempotent({ transactional: true })
  @Post()
  async pay(@Body() dto: PaymentDto, @IdempotentExecution() execution: Execution) {
    const id = execution.deriveKey('payment');
    await this.operation.run(execution, () => this.payments.pay(id, dto));
    return { id };
  }

  /** In a transaction of MikroORM's own: the payment's row says whether an earlier attempt has committed it. */
  @Idempotent()
  @Post('by-key')
  async payByKey(@Body() dto: PaymentDto, @IdempotentExecution() execution: Execution) {
    const id = execution.deriveKey('payment');
    await this.em.transactional(async (em) => {
      if ((await em.count(Payment, { id })) === 0) await this.payments.pay(id, dto);
    });
    return { id };
  }
}
