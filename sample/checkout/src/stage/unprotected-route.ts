import { Controller } from '@nestjs/common';
import { NotIdempotent } from 'nestjs-idempotency';
import { UnprotectedCheckoutController } from '../checkout/unprotected-checkout.controller.js';

/** The checkout without protection, beside the one with it: the page's switch chooses between them. */
@NotIdempotent()
@Controller('unprotected/checkout')
export class UnprotectedRoute extends UnprotectedCheckoutController {}
