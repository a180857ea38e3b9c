import { Body, Controller, Get, Post } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { type Execution, Idempotent, IdempotentExecution } from 'nestjs-idempotency';
import { Repository } from 'typeorm';
import { Booking } from './booking.entity.js';

export class BookingDto {
  room!: string;
}

@Controller('bookings')
export class BookingsController {
  constructor(@InjectRepository(Booking) private readonly bookings: Repository<Booking>) {}

  /** The booking and its outcome commit together. */
  @Idempotent({ transactional: true })
  @Post()
  async book(@Body() { room }: BookingDto, @IdempotentExecution() execution: Execution): Promise<Booking> {
    const booking = { id: execution.deriveKey('booking'), room };
    await execution.manager.insert(Booking, booking);
    return booking;
  }

  @Get()
  list(): Promise<Booking[]> {
    return this.bookings.find();
  }
}
