/** The application of the topologies: one process. Run by {@link Fleet}. */
import 'reflect-metadata';
import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Body, Controller, type INestApplication, Inject, Module, Post, Req } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { type Execution, IdempotencyModule, Idempotent, IdempotentExecution } from 'nestjs-idempotency';
import { now } from './clock.js';
import { EffectRow } from './effect-row.js';
import type { Order, Run, Setup } from './order.js';
import { ProviderClient } from './provider.js';

const setup = JSON.parse(process.env.SETUP!) as Setup;
const arrivals = new WeakMap<object, number>();

@Controller()
class OrdersController {
  constructor(@Inject(ProviderClient) private readonly provider: ProviderClient) {}

  @Post('plain')
  @Idempotent()
  plain(@Body() order: Order, @Req() request: object, @IdempotentExecution() execution: Execution) {
    return this.changeTheWorld(order, request, execution);
  }

  @Post('waiting')
  @Idempotent({ onConflict: 'wait', waitTimeout: '3s' })
  waiting(@Body() order: Order, @Req() request: object, @IdempotentExecution() execution: Execution) {
    return this.changeTheWorld(order, request, execution);
  }

  @Post('transactional')
  @Idempotent({ transactional: true })
  async transactional(@Body() order: Order, @Req() request: object, @IdempotentExecution() execution: Execution) {
    const run = begin(order, request, execution);
    const { op, run: id } = run;
    await execution.manager.insert(EffectRow, { id: randomUUID(), op, run: id, part: 'debit' });
    await sleep(order.work);
    await execution.manager.insert(EffectRow, { id: randomUUID(), op, run: id, part: 'credit' });
    return run;
  }

  @Post('steps')
  @Idempotent()
  async steps(@Body() order: Order, @Req() request: object, @IdempotentExecution() execution: Execution) {
    const run = begin(order, request, execution);
    const key = execution.deriveKey('charge');
    const charge = await execution.step('charge', () => this.provider.charge(run, key), {
      verify: () => this.provider.find(key),
    });
    await sleep(order.work);
    const mail = await execution.step('mail', () => this.provider.effect(run, 'mail'));
    await this.provider.done(run, 'mail');
    return { ...run, ids: [charge.id, mail.id] };
  }

  private async changeTheWorld(order: Order, request: object, execution: Execution) {
    const run = begin(order, request, execution);
    await sleep(order.work / 2);
    await this.provider.effect(run, 'effect');
    await sleep(order.work / 2);
    return run;
  }
}

function begin({ op }: Order, request: object, { token, attempt }: Execution): Run {
  const { raw } = request as { raw?: object };
  return { op, run: randomUUID(), token, attempt, arrivedAt: arrivals.get(raw ?? request)! };
}

@Module({
  imports: [
    TypeOrmModule.forRoot({
      ...setup.database,
      autoLoadEntities: true,
      entities: [EffectRow],
      retryAttempts: 100,
      retryDelay: 200,
    } as TypeOrmModuleOptions),
    IdempotencyModule.forRoot({ audit: 'off', ...setup.options }),
  ],
  controllers: [OrdersController],
  providers: [{ provide: ProviderClient, useValue: new ProviderClient(setup.providerUrl) }],
})
class TopologyApp {}

const options = { logger: ['error' as const, 'warn' as const] };
const app: INestApplication =
  setup.platform === 'fastify'
    ? await NestFactory.create(TopologyApp, new FastifyAdapter(), options)
    : await NestFactory.create(TopologyApp, options);
process.once('disconnect', () => process.exit(1));
(app.getHttpServer() as NodeJS.EventEmitter).prependListener('request', (request: object) =>
  arrivals.set(request, now()),
);
await app.listen(0, '127.0.0.1');
process.send?.({ port: (app.getHttpServer() as { address(): AddressInfo }).address().port });
