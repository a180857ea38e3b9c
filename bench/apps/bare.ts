import {
  Body,
  type CallHandler,
  Controller,
  type ExecutionContext,
  HttpCode,
  Post,
  UseInterceptors,
} from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { charge, type NewCharge, serve } from './serve.js';

/** What Nest itself takes for an interceptor, whatever that does. */
class NothingInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle();
  }
}

@Controller()
class BareController {
  constructor(@InjectDataSource() private readonly dataSource: DataSource) {}

  @Post('charges')
  create(@Body() body: NewCharge) {
    return charge(this.dataSource, body);
  }

  @Post('intercepted')
  @UseInterceptors(NothingInterceptor)
  createIntercepted(@Body() body: NewCharge) {
    return charge(this.dataSource, body);
  }

  @Post('nothing')
  @HttpCode(200)
  nothing() {
    return { status: 'done' };
  }
}

await serve([BareController]);
