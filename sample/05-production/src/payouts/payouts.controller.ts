import { Body, Controller, Post } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { type Execution, Idempotent, IdempotentExecution } from 'nestjs-idempotency';
import { Repository } from 'typeorm';
import { CurrentUser, type User } from '../auth/user.js';
import { ProviderClient } from '../provider/provider.client.js';
import { PayoutDto } from './payout.dto.js';
import { Payout } from './payout.entity.js';

@Controller('payouts')
export class PayoutsController {
  constructor(
    @InjectRepository(Payout) private readonly payouts: Repository<Payout>,
    private readonly provider: ProviderClient,
  ) {}

  /**
   * The bank takes no idempotency keys and cannot be asked, so nothing is sent to it a second time: after a crash the record
   * is held until a person has decided, and an error is an outcome too, which is recorded and replayed.
   */
  @Idempotent({
    operation: 'payouts.send',
    afterCrash: 'hold',
    outcome: () => 'store',
    request: { redact: ['/iban'] },
  })
  @Post()
  async send(
    @Body() { iban, amount, currency }: PayoutDto,
    @CurrentUser() user: User,
    @IdempotentExecution() execution: Execution,
  ): Promise<Payout> {
    const id = execution.deriveKey('payout');
    const payout = { id, customer: user.id, iban, amount, currency };
    // Once an operator has released a held record, the row of the first attempt is there.
    await this.payouts.upsert({ ...payout, status: 'pending', transfer: null }, ['id']);
    try {
      const { id: transfer } = await this.provider.transfer({ iban, amount, currency });
      await this.payouts.update(id, { status: 'sent', transfer });
      return { ...payout, status: 'sent', transfer };
    } catch (error) {
      await this.payouts.update(id, { status: 'unknown' });
      throw error;
    }
  }
}
