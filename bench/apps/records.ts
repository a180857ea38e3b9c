import { setTimeout as sleep } from 'node:timers/promises';
import type { INestApplication } from '@nestjs/common';
import { Body, Controller, Post } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import { Idempotent, IdempotencyModule, IdempotencyService } from 'nestjs-idempotency';
import { DataSource } from 'typeorm';
import { charge, type NewCharge, type Question, serve, settings } from './serve.js';

/** For the benches of scale and memory: what a running service has that a request does not show. */
@Controller()
class ChargesController {
  constructor(@InjectDataSource() private readonly dataSource: DataSource) {}

  @Post('charges')
  @Idempotent()
  create(@Body() body: NewCharge) {
    return charge(this.dataSource, body);
  }
}

const OPTIONS = { operation: 'hold', onConflict: 'wait', waitTimeout: '10m', lease: '10m' } as const;

let finish: () => void = () => undefined;
let running: Promise<unknown>[] = [];

async function answer(question: Question, app: INestApplication): Promise<unknown> {
  const service = app.get(IdempotencyService);
  switch (question.ask) {
    case 'memory':
      return memory();
    case 'hold':
      return hold(service, question.prefix as string, question.count as number, question.same === true);
    case 'wait':
      for (let i = 0; i < (question.count as number); i++) {
        running.push(service.run({ ...OPTIONS, key: question.prefix as string }, () => undefined));
      }
      await sleep(1000);
      return memory();
    case 'finish':
      finish();
      await Promise.all(running);
      running = [];
      return memory();
    default:
      return {};
  }
}

/** Starts operations that do not end before they are told to; the first is the one that duplicates wait for. */
async function hold(service: IdempotencyService, prefix: string, count: number, same: boolean) {
  const gate = new Promise<void>((resolve) => (finish = resolve));
  const begun: Promise<unknown>[] = [];
  for (let i = 0; i < count; i++) {
    const key = same ? prefix : `${prefix}${i}`;
    begun.push(
      new Promise((begin) => {
        running.push(service.run({ ...OPTIONS, key }, () => (begin(undefined), gate)));
        if (same && i > 0) begin(undefined);
      }),
    );
    if (i % 1000 === 999) await Promise.all(begun.splice(0));
  }
  await Promise.all(begun);
  return memory();
}

async function memory() {
  for (let i = 0; i < 4; i++) {
    await sleep(100);
    globalThis.gc?.();
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  return { bytes: heapUsed + external, rss };
}

await serve(
  [ChargesController],
  [IdempotencyModule.forRoot({ audit: 'off', sweep: false, ...settings.module })],
  answer,
);
