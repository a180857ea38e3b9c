import { Body, Controller, Post } from '@nestjs/common';
import { type Execution, Idempotent, IdempotentExecution } from 'nestjs-idempotency';
import { CurrentUser, type User } from '../auth/user.js';
import { PaymentDto } from './payment.dto.js';
import type { Payment } from './payment.entity.js';
import { PaymentsService } from './payments.service.js';

@Controller('payments')
export class PaymentsController {
  constructor(private readonly payments: PaymentsService) {}

  /** The charge is an effect elsewhere, so the handler is made of steps. */
  @Idempotent({ operation: 'payments.pay', request: { redact: ['/card'] } })
  @Post()
  pay(
    @Body() dto: PaymentDto,
    @CurrentUser() user: User,
    @IdempotentExecution() execution: Execution,
  ): Promise<Payment> {
    return this.payments.pay(dto, user.id, execution);
  }
}
