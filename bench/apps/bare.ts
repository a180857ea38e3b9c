import {
  Body,
  type CallHandler,
  ConflictException,
  Controller,
  type ExecutionContext,
  HttpCode,
  Post,
  UseInterceptors,
} from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import { of } from 'rxjs';
import { DataSource } from 'typeorm';
import { charge, type NewCharge, type NewOrder, order, pacedCharge, serve } from './serve.js';

/** What Nest itself takes for an interceptor, whatever that does. */
class NothingInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle();
  }
}

const ANSWER = { id: '9f6a4c2e-6d0b-4a39-8a53-0c8e9d3b7f10', amount: 1250, currency: 'EUR', status: 'charged' };

/** The least that a replay can take: no key is looked at, and nobody is asked. */
class AnsweringInterceptor {
  intercept() {
    return of(ANSWER);
  }
}

/** The least that a 409 can take. */
class RefusingInterceptor {
  intercept(): never {
    throw new ConflictException();
  }
}

@Controller()
class BareController {
  constructor(@InjectDataSource() private readonly dataSource: DataSource) {}

  @Post('charges')
  create(@Body() body: NewCharge) {
    return charge(this.dataSource, body);
  }

  @Post('orders')
  createOrder(@Body() body: NewOrder) {
    return order(this.dataSource, body);
  }

  @Post('paced')
  createPaced(@Body() body: NewCharge) {
    return pacedCharge(this.dataSource, body);
  }

  @Post('intercepted')
  @UseInterceptors(NothingInterceptor)
  createIntercepted(@Body() body: NewCharge) {
    return charge(this.dataSource, body);
  }

  @Post('answered')
  @UseInterceptors(AnsweringInterceptor)
  createAnswered(@Body() body: NewCharge) {
    return charge(this.dataSource, body);
  }

  @Post('refused')
  @UseInterceptors(RefusingInterceptor)
  createRefused(@Body() body: NewCharge) {
    return charge(this.dataSource, body);
  }

  @Post('nothing')
  @HttpCode(200)
  nothing() {
    return { status: 'done' };
  }
}

await serve([BareController]);
