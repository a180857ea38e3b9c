import { EntityManager } from '@mikro-orm/postgresql';
import { Injectable } from '@nestjs/common';
import type { PaymentDto } from '../payment.dto.js';
import { Account, Payment } from './entities.js';

/** Knows nothing of idempotency. */
@Injectable()
export class PaymentsService {
  constructor(private readonly em: EntityManager) {}

  async pay(id: string, { account, amount }: PaymentDto): Promise<void> {
    this.em.create(Payment, { id, account, amount });
    const payer = await this.em.findOneOrFail(Account, account);
    payer.balance -= amount;
  }
}
