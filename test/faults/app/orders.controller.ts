import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Body,
  type CanActivate,
  Controller,
  createParamDecorator,
  type ExecutionContext,
  Get,
  Inject,
  Post,
  UseGuards,
} from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import type { DataSource } from 'typeorm';
import { type Execution, Idempotent, IdempotencyService, IdempotentExecution } from 'nestjs-idempotency';
import { IdempotencyFaults } from 'nestjs-idempotency/testing';
import { Log } from '../history/log.js';
import { EffectRow } from './effect-row.js';
import type { Order } from './order.js';
import { ProviderClient } from './provider-client.js';

/** Believes whom a request says it is from. */
class TrustingGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{ headers: Record<string, string>; user?: object }>();
    request.user = { id: request.headers['x-principal'] };
    return true;
  }
}

/** The order, by whoever places it: principals send the same bodies under the same keys. */
const PlacedOrder = createParamDecorator((_: unknown, context: ExecutionContext): Order => {
  const { body, user } = context.switchToHttp().getRequest<{ body: Order; user: { id: string } }>();
  return { ...body, op: `${body.op}-${user.id}` };
});

@Controller()
@UseGuards(TrustingGuard)
export class OrdersController {
  constructor(
    @InjectDataSource() private readonly dataSource: DataSource,
    @Inject(IdempotencyService) private readonly idempotency: IdempotencyService,
    @Inject(IdempotencyFaults) private readonly faults: IdempotencyFaults,
    @Inject(Log) private readonly log: Log,
    @Inject(ProviderClient) private readonly provider: ProviderClient,
  ) {}

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

  @Post('transactional')
  @Idempotent({ transactional: true })
  async transactional(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    const { op, work } = order;
    this.begin(order, execution);
    await sleep(work / 2);
    await this.faults.reach('before effect');
    const { token, attempt } = execution;
    await execution.manager.insert(EffectRow, { id: randomUUID(), op, token, attempt });
    await this.faults.reach('after effect');
    await sleep(work / 2);
    return this.receipt(order, execution);
  }

  @Post('checkout')
  @Idempotent()
  async checkout(@PlacedOrder() order: Order, @IdempotentExecution() execution: Execution) {
    this.begin(order, execution);
    const key = execution.deriveKey('charge');
    const reservation = await this.step(order, execution, 'reserve', () => ({ id: randomUUID() }));
    const charge = await this.step(
      order,
      execution,
      'charge',
      () => this.provider.charge(key, order.op),
      () => this.provider.find(key),
    );
    const mail = await this.step(order, execution, 'mail', async () => {
      await sleep(order.work);
      return { id: randomUUID() };
    });
    return { ...this.receipt(order, execution), ids: [reservation.id, charge.id, mail.id] };
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

  private async changeTheWorld(order: Order, execution: Execution) {
    this.begin(order, execution);
    await sleep(order.work / 2);
    await this.faults.reach('before effect');
    this.log.say({ kind: 'effect', op: order.op, token: execution.token, attempt: execution.attempt });
    await this.faults.reach('after effect');
    await sleep(order.work / 2);
    return this.receipt(order, execution);
  }

  private begin({ op }: Order, { token, attempt }: Execution): void {
    this.log.say({ kind: 'began', op, token, attempt });
  }

  private async step<T>(
    { op }: Order,
    execution: Execution,
    step: string,
    work: () => Promise<T> | T,
    verify?: () => Promise<T | undefined>,
  ): Promise<T> {
    const { token } = execution;
    const run = () => {
      this.log.say({ kind: 'step ran', op, step, token });
      return work();
    };
    const result = await execution.step(step, run, verify && { verify });
    this.log.say({ kind: 'step done', op, step, token });
    return result;
  }

  /** Different for each execution, so that an answer tells which one made it. */
  private receipt({ op }: Order, { token, attempt }: Execution) {
    const principal = op.slice(op.lastIndexOf('-') + 1);
    return { op, principal, token, attempt, id: randomUUID(), by: process.pid };
  }
}
