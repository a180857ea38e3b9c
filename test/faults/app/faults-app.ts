import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import { Module, type Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import { Redis } from 'ioredis';
import { DataSource } from 'typeorm';
import { IdempotencyModule, type IdempotencyModuleOptions, IdempotencyService } from 'nestjs-idempotency';
import { type FaultPoint, IdempotencyFaults, IdempotencyFaultsModule } from 'nestjs-idempotency/testing';
import { Log } from '../history/log.js';
import { watchStarvation } from '../history/starvation.js';
import { shiftClock } from './clock.js';
import { EffectRow } from './effect-row.js';
import { TimeoutsAndRetriesController } from './timeouts-and-retries.controller.js';
import { cutShort } from './timeouts-and-retries.js';
import { Observer } from './observe.js';
import type { Command, MemoryReading, Setup } from './order.js';
import { OrdersController } from './orders.controller.js';
import { ProviderClient } from './provider-client.js';
import { breakOnPurpose } from './switches.js';
import { TransfersController } from './transfers.controller.js';

const setup = JSON.parse(process.env.SETUP!) as Setup;
const log = new Log(setup.folder, setup.name);
watchStarvation(log);

const redis = setup.redisPorts.map((port) => {
  const client = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: 0, enableOfflineQueue: false });
  client.on('error', () => undefined);
  return client;
});

@Module({
  imports: [
    TypeOrmModule.forRoot({
      ...setup.database,
      autoLoadEntities: true,
      entities: [EffectRow],
      retryAttempts: 0,
    } as TypeOrmModuleOptions),
    IdempotencyModule.forRoot({
      audit: 'off',
      ...(setup.options as IdempotencyModuleOptions),
      ...(redis.length && { redis }),
    }),
    IdempotencyFaultsModule.forRoot({ wrap: (parts) => breakOnPurpose(setup.broken, parts) }),
  ],
  controllers: [OrdersController, TransfersController, TimeoutsAndRetriesController],
  providers: [
    { provide: Log, useValue: log },
    { provide: ProviderClient, useValue: new ProviderClient(setup.providerUrl) },
  ],
})
class FaultsApp {}

async function obey(command: Command, faults: IdempotencyFaults, dataSource: DataSource): Promise<unknown> {
  switch (command.do) {
    case 'crash':
      return faults.at(command.at, () => {
        log.say({ kind: 'fault', fault: 'crash', on: `${setup.name} ${command.at}` });
        process.kill(process.pid, 'SIGKILL');
        return new Promise<never>(() => undefined);
      });
    case 'lose request':
      return faults.loseRequest(command.of as 'claim');
    case 'lose answer':
      return faults.loseAnswer(command.of as 'claim');
    case 'delay':
      return faults.delay(command.at as FaultPoint, command.ms);
    case 'shift clock':
      return shiftClock(command.ms);
    case 'exhaust pool':
      return exhaust(dataSource, command.ms);
    case 'disarm':
      faults.reset();
      return observe(faults);
    case 'move to':
      return log.moveTo(command.folder);
    case 'measure':
      return measure();
  }
}

/** The lab starts its applications with `--expose-gc`. */
async function measure(): Promise<MemoryReading> {
  // What the first collection finalizes, the second one frees.
  for (let i = 0; i < 2; i++) {
    globalThis.gc!();
    await sleep(1);
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, rss };
}

const observer = new Observer(log);
const observe = (faults: IdempotencyFaults) => faults.everywhere(observer.atEveryPoint);

/** Takes every connection of the pool, and gives them back after a while. */
async function exhaust(dataSource: DataSource, ms: number): Promise<void> {
  const runners = Array.from({ length: 30 }, () => dataSource.createQueryRunner('master'));
  const taking = runners.map((runner) => runner.connect().catch(() => undefined));
  await sleep(ms);
  for (const [i, runner] of runners.entries()) {
    void taking[i].then(() => runner.release()).catch(() => undefined);
  }
}

async function start(module: Type) {
  const logger = ['error', 'fatal'] as const;
  const options = { logger: [...logger], abortOnError: false };
  const app =
    setup.platform === 'fastify'
      ? await NestFactory.create(module, new FastifyAdapter(), options)
      : await NestFactory.create(module, options);
  const faults = app.get(IdempotencyFaults);
  observe(faults);
  app.get(IdempotencyService).events$.subscribe(observer.onEvent);
  app.use(cutShort('/cut-short', log));
  process.on('message', (command: Command & { id?: number }) => {
    void obey(command, faults, app.get(DataSource)).then((value) => {
      if (command.id !== undefined) process.send?.({ id: command.id, value });
    });
  });
  process.once('disconnect', () => process.exit(1));
  await app.listen(setup.port, '127.0.0.1');
  process.send?.('ready');
}

shiftClock(setup.clockOffset);
await start(FaultsApp).catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
