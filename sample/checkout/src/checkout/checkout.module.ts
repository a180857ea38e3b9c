import { Module } from '@nestjs/common';
import { config } from '../config.js';
import { OrdersModule } from '../orders/orders.module.js';
import { PaymentsModule } from '../payments/payments.module.js';
import { CheckoutController } from './checkout.controller.js';
import { CheckoutService } from './checkout.service.js';
import { UnprotectedCheckoutController } from './unprotected-checkout.controller.js';

@Module({
  imports: [OrdersModule, PaymentsModule],
  controllers: [config.protection ? CheckoutController : UnprotectedCheckoutController],
  providers: [CheckoutService],
  exports: [CheckoutService],
})
export class CheckoutModule {}
