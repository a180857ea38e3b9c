import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Body,
  ConflictException,
  Controller,
  Param,
  ParseIntPipe,
  Post,
  RequestTimeoutException,
  Res,
  UseInterceptors,
} from '@nestjs/common';
import { catchError, of, throwError, timeout } from 'rxjs';
import { Column, Entity, PrimaryColumn } from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution } from '../../../lib/index.js';
import { ran } from './cases.js';

/** What an operation does, beside its answer. */
@Entity('effect')
export class Effect {
  @PrimaryColumn({ type: 'varchar', length: 36 }) id!: string;
  @Column({ type: 'varchar', length: 36 }) key!: string;
}

interface PlatformResponse extends Partial<ServerResponse> {
  readonly raw?: ServerResponse;
  status(code: number): unknown;
  send(body: unknown): unknown;
}

interface Task {
  readonly ms?: number;
}

type Handled = { handle(): ReturnType<typeof of> };

const withFallback = {
  intercept: (_context: unknown, next: Handled) => next.handle().pipe(catchError(() => of({ fallback: randomUUID() }))),
};

const within = {
  intercept: (_context: unknown, next: Handled) =>
    next.handle().pipe(
      timeout(40),
      catchError(() => throwError(() => new RequestTimeoutException())),
    ),
};

async function effect({ manager, key }: Execution): Promise<void> {
  ran();
  await manager.insert(Effect, { id: randomUUID(), key });
}

const Transactional = () => Idempotent({ transactional: true, response: { maxBytes: 500 } });

/** Every end of a handler that wrote something in its transaction. */
@Controller('transactions')
export class TransactionsController {
  @Post('answers/:status')
  @Transactional()
  async answers(
    @IdempotentExecution() execution: Execution,
    @Param('status', ParseIntPipe) status: number,
    @Res({ passthrough: true }) response: PlatformResponse,
  ) {
    await effect(execution);
    response.status(status);
    return { id: randomUUID() };
  }

  @Post('throws')
  @Transactional()
  async throws(@IdempotentExecution() execution: Execution) {
    await effect(execution);
    throw new ConflictException(randomUUID());
  }

  @Post('fails')
  @Transactional()
  async fails(@IdempotentExecution() execution: Execution) {
    await effect(execution);
    throw new Error('later perhaps');
  }

  @Post('fallback')
  @Transactional()
  @UseInterceptors(withFallback)
  async fallback(@IdempotentExecution() execution: Execution) {
    await effect(execution);
    throw new ConflictException('caught outside');
  }

  @Post('fallback-outage')
  @Transactional()
  @UseInterceptors(withFallback)
  async fallbackOutage(@IdempotentExecution() execution: Execution) {
    await effect(execution);
    throw new Error('caught outside');
  }

  @Post('large/:status')
  @Transactional()
  async large(
    @IdempotentExecution() execution: Execution,
    @Param('status', ParseIntPipe) status: number,
    @Res({ passthrough: true }) response: PlatformResponse,
  ) {
    await effect(execution);
    response.status(status);
    return 'x'.repeat(1_000);
  }

  @Post('unpackable/:status')
  @Transactional()
  async unpackable(
    @IdempotentExecution() execution: Execution,
    @Param('status', ParseIntPipe) status: number,
    @Res() response: PlatformResponse,
  ) {
    await effect(execution);
    const raw = response.raw ?? (response as ServerResponse);
    const broken = () => {
      throw new Error('as of middleware that went wrong');
    };
    Object.assign(raw, { statusCode: status, getRawHeaderNames: broken }).end('sent all the same');
  }

  @Post('silent')
  @Idempotent({ transactional: true, lease: '1s' })
  async silent(
    @IdempotentExecution() execution: Execution,
    @Body() { ms = 0 }: Task,
    @Res() response: PlatformResponse,
  ) {
    await effect(execution);
    await sleep(ms);
    const { closed } = response.raw ?? response;
    if (!closed) response.send({ id: randomUUID() });
  }

  @Post('timeout')
  @Transactional()
  @UseInterceptors(within)
  async late(@IdempotentExecution() execution: Execution, @Body() { ms = 0 }: Task) {
    await effect(execution);
    await sleep(ms);
    return { id: randomUUID() };
  }

  @Post('conflict')
  @Transactional()
  async conflict(@IdempotentExecution() execution: Execution) {
    await effect(execution);
    if (execution.attempt === 1) {
      await execution.manager.query(`DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '40001'; END $$`);
    }
    return { id: randomUUID() };
  }
}
