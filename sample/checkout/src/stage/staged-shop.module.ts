import { Module } from '@nestjs/common';
import { AppModule } from '../app.module.js';
import { CheckoutModule } from '../checkout/checkout.module.js';
import { EventRelay } from './event-relay.js';
import { UnprotectedRoute } from './unprotected-route.js';

@Module({
  imports: [AppModule, CheckoutModule],
  controllers: [UnprotectedRoute],
  providers: [EventRelay],
})
export class StagedShopModule {}
