import { Injectable, Logger } from '@nestjs/common';
import type { Execution } from 'nestjs-idempotency';
import type { Order } from '../orders/order.entity.js';
import { OrdersService } from '../orders/orders.service.js';
import { PaymentsService } from '../payments/payments.service.js';
import { CardDeclinedException } from './card-declined.exception.js';
import type { CartDto } from './cart.dto.js';

/** What the checkout needs of the running execution. */
export type CheckoutExecution = Pick<Execution, 'attempt' | 'signal' | 'step' | 'deriveKey'>;

@Injectable()
export class CheckoutService {
  private readonly logger = new Logger('Checkout');

  constructor(
    private readonly orders: OrdersService,
    private readonly payments: PaymentsService,
  ) {}

  /**
   * Reserve, charge, confirm. If the shop dies on the way, the retry's execution does not repeat the steps that were
   * completed, and asks (`verify`) what became of the one that was not.
   */
  async placeOrder(cart: CartDto, execution: CheckoutExecution): Promise<Order> {
    const orderId = execution.deriveKey('order');
    const log = (text: string) =>
      this.logger.log(`order ${orderId.slice(0, 8)}, attempt ${execution.attempt}: ${text}`);
    log('started');

    const { total, currency } = await execution.step(
      'reserve',
      () => {
        log('reserving the goods');
        return this.orders.reserve(orderId, cart.items);
      },
      {
        verify: () => {
          log('asking whether the goods are reserved');
          return this.orders.findReservation(orderId);
        },
      },
    );

    const chargeKey = execution.deriveKey('charge');
    const charge = await execution.step(
      'charge',
      () => {
        log(`charging ${total / 100} ${currency}`);
        return this.payments.charge(
          chargeKey,
          { amount: total, currency, reference: orderId, card: cart.card },
          execution.signal,
        );
      },
      {
        verify: () => {
          log('asking the provider whether it has charged');
          return this.payments.find(chargeKey);
        },
      },
    );

    if (charge.status === 'declined') {
      await execution.step('cancel', () => this.orders.cancel(orderId));
      log('declined');
      throw new CardDeclinedException();
    }

    await execution.step('confirm', () => this.orders.markPaid(orderId, charge.id));
    log('paid');
    return this.orders.get(orderId);
  }
}
