import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Body, Controller, Get, Inject, Post, UseGuards } from '@nestjs/common';
import { type Execution, Idempotent, IdempotencyService, IdempotentExecution } from 'nestjs-idempotency';
import { WORKLOADS } from '../history/workloads.js';
import { failureOf, Handlers, meetsTrouble, PlacedOrder, TOO_LARGE, TrustingGuard } from './handlers.js';
import type { Order } from './order.js';

const DAY = 86_400_000;

/** Handlers without a transaction. */
@Controller()
@UseGuards(TrustingGuard)
export class OrdersController extends Handlers {
  @Inject(IdempotencyService) private readonly idempotency!: IdempotencyService;

  @Post('plain')
  @Idempotent()
  plain(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    return this.changeTheWorld(order, execution);
  }

  @Post('waiting')
  @Idempotent({ onConflict: 'wait', waitTimeout: '3s' })
  waiting(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    return this.changeTheWorld(order, execution);
  }

  @Post('long')
  @Idempotent()
  long(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    return this.changeTheWorld(order, execution);
  }

  @Post('held')
  @Idempotent({ afterCrash: 'hold' })
  held(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    return this.changeTheWorld(order, execution);
  }

  @Post('large')
  @Idempotent()
  async large(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    const run = await this.changeTheWorld(order, execution);
    this.met(run, 'response refused');
    return { ...run, pad: TOO_LARGE };
  }

  @Post('stepped')
  @Idempotent()
  stepped(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    return this.changeTheWorld(order, execution, (run) =>
      this.step(run, execution, 'reserve', () => ({ step: 'reserve' })),
    );
  }

  @Post('checkout')
  @Idempotent()
  async checkout(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    const run = this.begin(order, execution);
    const key = execution.deriveKey('charge');
    const reservation = await this.step(run, execution, 'reserve', () => ({ id: randomUUID() }));
    const charge = await this.step(
      run,
      execution,
      'charge',
      () => this.provider.charge(key, order.op),
      () => this.provider.find(key),
    );
    const mail = await this.step(run, execution, 'mail', async () => {
      await sleep(order.work);
      return { id: randomUUID() };
    });
    return { ...run, ids: [reservation.id, charge.id, mail.id] };
  }

  @Post('items')
  @Idempotent()
  async items(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    const run = this.begin(order, execution);
    for (const step of WORKLOADS.items.steps!) {
      await this.step(run, execution, step, () => ({ step }));
      await this.faults.reach('after effect');
      await sleep(order.work / 3);
    }
    this.met(run, 'step names by case');
    if (meetsTrouble(order, execution)) throw failureOf(run);
    return run;
  }

  /**
   * Its retention is shorter than its run. What it leaves when it ends is kept for longer, so that clients have time to come
   * back: until then, nothing may expire.
   */
  @Post('brief')
  @Idempotent({ retention: '1s' })
  async brief(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    const run = this.begin(order, execution);
    execution.setRetention(DAY);
    for (const step of WORKLOADS.brief.steps!) {
      await this.step(run, execution, step, () => ({ step }));
      await sleep(order.work / 3);
    }
    this.met(run, 'ran longer than its retention');
    return run;
  }

  @Post('operator/resolve')
  async resolve(@Body() { key, scope, operation, op }: { key: string; scope: string; operation: string; op: string }) {
    const record = await this.idempotency.find({ key, scope, operation });
    const body = JSON.stringify({ op, principal: scope, resolved: true });
    const headers = { 'Content-Type': 'application/json; charset=utf-8' };
    return { resolved: record && (await this.idempotency.resolve(record.id, { status: 201, headers, body })) };
  }

  @Post('operator/purge')
  async purge() {
    return { purged: await this.idempotency.purgeExpired() };
  }

  @Get('operator/health')
  async health() {
    await this.dataSource.query('SELECT 1');
  }
}
