import { HttpException, Injectable } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import type { Execution } from 'nestjs-idempotency';
import { DataSource } from 'typeorm';
import { post } from '../orders/ledger-entry.entity.js';
import { Order } from '../orders/order.entity.js';
import { OrdersService } from '../orders/orders.service.js';
import { type Charge, ProviderClient } from '../provider/provider.client.js';
import type { PaymentDto } from './payment.dto.js';
import { Payment } from './payment.entity.js';

@Injectable()
export class PaymentsService {
  constructor(
    private readonly orders: OrdersService,
    private readonly provider: ProviderClient,
    @InjectDataSource() private readonly dataSource: DataSource,
  ) {}

  /**
   * Charges the card, writes to the ledger, sends a receipt. An instance that takes over after a crash skips the steps that
   * are done. It sends a step that was interrupted again, with the same derived key, and the provider recognises that.
   */
  async pay(dto: PaymentDto, customer: string, execution: Execution): Promise<Payment> {
    const id = execution.deriveKey('payment');
    const order = await this.orders.reserve(dto.order, customer, id);

    const { amount, currency } = order;
    const charge = await execution.step('charge', () =>
      this.provider.charge(
        execution.deriveKey('charge'),
        { amount, currency, reference: order.id, card: dto.card },
        execution.signal,
      ),
    );
    if (charge.status === 'declined') {
      await this.orders.release(order.id, id);
      throw new HttpException('The card was declined', 402); // an outcome: it is recorded and replayed
    }

    const payment = await this.settle(id, order, charge);

    await execution.step('receipt', () =>
      this.provider.sendReceipt(
        execution.deriveKey('receipt'),
        { customer, order: order.id, amount },
        execution.signal,
      ),
    );
    return payment;
  }

  /** No step: a second time finds the payment there. */
  private settle(id: string, { id: order, customer, amount, currency }: Order, charge: Charge): Promise<Payment> {
    return this.dataSource.transaction(async (manager) => {
      const payment = { id, order, charge: charge.id, amount, currency };
      if (await manager.existsBy(Payment, { id })) return payment;
      await manager.insert(Payment, payment);
      await manager.update(Order, { id: order }, { status: 'paid' });
      await post(manager, { id, debit: 'bank', credit: `receivable:${customer}`, amount });
      return payment;
    });
  }
}
