import { Body, Controller, Post } from '@nestjs/common';
import { type Execution, Idempotent, IdempotentExecution } from 'nestjs-idempotency';
import type { Order } from '../orders/order.entity.js';
import { CartDto } from './cart.dto.js';
import { CheckoutService } from './checkout.service.js';

@Controller('checkout')
export class CheckoutController {
  constructor(private readonly checkout: CheckoutService) {}

  @Idempotent()
  @Post()
  placeOrder(@Body() cart: CartDto, @IdempotentExecution() execution: Execution): Promise<Order> {
    return this.checkout.placeOrder(cart, execution);
  }
}
