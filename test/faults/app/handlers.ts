import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CanActivate, createParamDecorator, type ExecutionContext, HttpException, Inject } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import type { DataSource } from 'typeorm';
import type { Execution } from 'nestjs-idempotency';
import { IdempotencyFaults } from 'nestjs-idempotency/testing';
import type { Hardship } from '../history/entry.js';
import { Log } from '../history/log.js';
import type { Order } from './order.js';
import { ProviderClient } from './provider-client.js';

/** Believes whom a request says it is from. */
export class TrustingGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{ headers: Record<string, string>; user?: object }>();
    request.user = { id: request.headers['x-principal'] };
    return true;
  }
}

/** The order, by the principal that places it: principals send the same bodies under the same keys. */
export const PlacedOrder = createParamDecorator((_: unknown, context: ExecutionContext): Order => {
  const request = context.switchToHttp().getRequest<{ body: Order; user: { id: string }; calls?: number }>();
  const { body, user } = request;
  const call = (request.calls ?? 0) + 1;
  request.calls = call;
  return { ...body, op: `${body.op}-${user.id}`, call };
});

/** One call of a handler, and what it answers: different each time, so that an answer shows which one made it. */
export interface Run {
  readonly op: string;
  readonly principal: string;
  readonly token: number;
  readonly attempt: number;
  readonly id: string;
  readonly by: number;
}

/** Whether an order meets trouble in this attempt. */
export function meetsTrouble({ trouble }: Order, { attempt }: Execution): boolean {
  return trouble === 'always' || (trouble === 'first' && attempt === 1);
}

/** What a handler throws that has not succeeded. */
export function failureOf(run: Run): HttpException {
  return new HttpException({ ...run, failed: true }, 500);
}

/** More than the database takes for a response's body. */
export const TOO_LARGE = 'x'.repeat(2_000);

/** What all handlers of the lab share. */
export abstract class Handlers {
  constructor(
    @InjectDataSource() protected readonly dataSource: DataSource,
    @Inject(IdempotencyFaults) protected readonly faults: IdempotencyFaults,
    @Inject(Log) protected readonly log: Log,
    @Inject(ProviderClient) protected readonly provider: ProviderClient,
  ) {}

  protected begin({ op, call = 1 }: Order, { token, attempt }: Execution): Run {
    this.log.say({ kind: 'began', op, token, attempt, ...(call > 1 && { again: true }) });
    const principal = op.slice(op.lastIndexOf('-') + 1);
    return { op, principal, token, attempt, id: randomUUID(), by: process.pid };
  }

  /** Reports that what the workload is about has happened. */
  protected met({ op }: Run, what: Hardship): void {
    this.log.say({ kind: 'met', op, what });
  }

  /** One effect, past any transaction. */
  protected async changeTheWorld(order: Order, execution: Execution, before?: (run: Run) => Promise<unknown>) {
    const run = this.begin(order, execution);
    await before?.(run);
    await sleep(order.work / 2);
    await this.faults.reach('before effect');
    this.log.say({ kind: 'effect', op: order.op, token: execution.token, attempt: execution.attempt });
    await this.faults.reach('after effect');
    await sleep(order.work / 2);
    return run;
  }

  protected async step<T extends object>(
    { op, token, id }: Run,
    execution: Execution,
    step: string,
    work: () => Promise<T> | T,
    verify?: () => Promise<T | undefined>,
  ): Promise<T> {
    const news = { op, step, token, run: id };
    const run = () => {
      this.log.say({ kind: 'step ran', ...news });
      return work();
    };
    const result = await execution.step(step, run, verify && { verify });
    const { step: resultOf } = result as { step?: string };
    this.log.say({ kind: 'step done', ...news, resultOf });
    return result;
  }
}
