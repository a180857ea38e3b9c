import { randomUUID } from 'node:crypto';
import { Body, Controller, Post } from '@nestjs/common';
import type { Order } from '../orders/order.entity.js';
import { CartDto } from './cart.dto.js';
import { type CheckoutExecution, CheckoutService } from './checkout.service.js';

/** The same checkout with nothing to tell a retry from a new order: `PROTECTION=off`. */
@Controller('checkout')
export class UnprotectedCheckoutController {
  constructor(private readonly checkout: CheckoutService) {}

  @Post()
  placeOrder(@Body() cart: CartDto): Promise<Order> {
    return this.checkout.placeOrder(cart, unprotectedExecution());
  }
}

function unprotectedExecution(): CheckoutExecution {
  return {
    attempt: 1,
    signal: new AbortController().signal,
    step: async (_name, run) => run(),
    deriveKey: () => randomUUID(),
  };
}
