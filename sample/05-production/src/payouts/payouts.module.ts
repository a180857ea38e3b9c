import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ProviderModule } from '../provider/provider.module.js';
import { Payout } from './payout.entity.js';
import { PayoutsController } from './payouts.controller.js';

@Module({ imports: [TypeOrmModule.forFeature([Payout]), ProviderModule], controllers: [PayoutsController] })
export class PayoutsModule {}
