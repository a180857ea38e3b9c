import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import { Redis } from 'ioredis';
import { type Execution, Idempotent, IdempotencyModule, IdempotentExecution } from 'nestjs-idempotency';
import { DataSource } from 'typeorm';
import { charge, type NewCharge, type NewOrder, order, pacedCharge, serve, settings } from './serve.js';

@Controller()
class ChargesController {
  constructor(@InjectDataSource() private readonly dataSource: DataSource) {}

  @Post('charges')
  @Idempotent()
  create(@Body() body: NewCharge) {
    return charge(this.dataSource, body);
  }

  @Post('orders')
  @Idempotent()
  createOrder(@Body() body: NewOrder) {
    return order(this.dataSource, body);
  }

  @Post('paced')
  @Idempotent()
  createPaced(@Body() body: NewCharge) {
    return pacedCharge(this.dataSource, body);
  }

  @Post('transactional')
  @Idempotent({ transactional: true })
  createInTransaction(@Body() body: NewCharge, @IdempotentExecution() execution: Execution) {
    return charge(execution.manager as DataSource['manager'], body);
  }

  @Post('joined')
  @Idempotent({ onConflict: 'wait' })
  createOrJoin(@Body() body: NewCharge) {
    return charge(this.dataSource, body);
  }

  @Post('nothing')
  @HttpCode(200)
  @Idempotent()
  nothing() {
    return { status: 'done' };
  }

  /** Takes as long as it is told. */
  @Post('slow')
  @Idempotent({ onConflict: 'reject' })
  slow(@Body() { ms }: { ms: number }) {
    return this.take(ms);
  }

  @Post('awaited')
  @Idempotent({ onConflict: 'wait' })
  awaited(@Body() { ms }: { ms: number }) {
    return this.take(ms);
  }

  private async take(ms: number) {
    await sleep(ms);
    return { id: randomUUID() };
  }
}

const redis = (settings.redisPorts ?? []).map((port) => new Redis(port, '127.0.0.1'));

await serve(
  [ChargesController],
  [IdempotencyModule.forRoot({ audit: 'off', ...(redis.length && { redis }), ...settings.module })],
);
