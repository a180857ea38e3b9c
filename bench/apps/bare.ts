import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import { DataSource } from 'typeorm';
import { charge, type NewCharge, serve } from './serve.js';

@Controller()
class BareController {
  constructor(@InjectDataSource() private readonly dataSource: DataSource) {}

  @Post('charges')
  create(@Body() body: NewCharge) {
    return charge(this.dataSource, body);
  }

  @Post('nothing')
  @HttpCode(200)
  nothing() {
    return { status: 'done' };
  }
}

await serve([BareController]);
