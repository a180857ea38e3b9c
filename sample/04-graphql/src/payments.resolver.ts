import { Args, Mutation, Query, Resolver } from '@nestjs/graphql';
import { InjectRepository } from '@nestjs/typeorm';
import { type Execution, Idempotent, IdempotentExecution } from 'nestjs-idempotency';
import { Repository } from 'typeorm';
import { Payment } from './payment.entity.js';
import { PaymentInput } from './payment.input.js';

@Resolver(() => Payment)
export class PaymentsResolver {
  constructor(@InjectRepository(Payment) private readonly repository: Repository<Payment>) {}

  /** The payment and its outcome commit together. */
  @Mutation(() => Payment)
  @Idempotent({ transactional: true })
  async pay(
    @Args('input') { order, amount }: PaymentInput,
    @IdempotentExecution() execution: Execution,
  ): Promise<Payment> {
    const payment = { id: execution.deriveKey('payment'), order, amount };
    await execution.manager.insert(Payment, payment);
    return payment;
  }

  @Query(() => [Payment])
  payments(): Promise<Payment[]> {
    return this.repository.find();
  }
}
