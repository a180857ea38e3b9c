import { Body, Controller, Get, Post } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { type Execution, Idempotent, IdempotentExecution } from 'nestjs-idempotency';
import { Repository } from 'typeorm';
import { Payment } from './payment.entity.js';

export class PaymentDto {
  amount!: number;
}

@Controller('payments')
export class PaymentsController {
  constructor(@InjectRepository(Payment) private readonly payments: Repository<Payment>) {}

  /** A platform may stop a function at any moment: the payment and its outcome commit together. */
  @Idempotent({ transactional: true })
  @Post()
  async pay(@Body() { amount }: PaymentDto, @IdempotentExecution() execution: Execution): Promise<Payment> {
    const payment = { id: execution.deriveKey('payment'), amount };
    await execution.manager.insert(Payment, payment);
    return payment;
  }

  @Get()
  list(): Promise<Payment[]> {
    return this.payments.find();
  }
}
