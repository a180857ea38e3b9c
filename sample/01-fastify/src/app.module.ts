import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IdempotencyModule } from 'nestjs-idempotency';
import { Booking } from './booking.entity.js';
import { BookingsController } from './bookings.controller.js';

@Module({
  imports: [
    TypeOrmModule.forRoot({
      type: 'better-sqlite3',
      database: process.env.DATABASE_FILE ?? 'bookings.sqlite',
      autoLoadEntities: true,
      synchronize: true,
    }),
    TypeOrmModule.forFeature([Booking]),
    IdempotencyModule.forRoot({ onConflict: 'wait' }),
  ],
  controllers: [BookingsController],
})
export class AppModule {}
