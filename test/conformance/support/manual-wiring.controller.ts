import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Body,
  type CallHandler,
  ConflictException,
  Controller,
  type ExecutionContext,
  Injectable,
  type NestInterceptor,
  Post,
  Res,
  UseInterceptors,
  ValidationPipe,
} from '@nestjs/common';
import { IsInt } from 'class-validator';
import { IdempotencyInterceptor } from '../../../lib/index.js';
import { ran } from './cases.js';
import { begins, givingUp, late } from './late.js';

interface PlatformResponse extends Partial<ServerResponse> {
  readonly raw?: ServerResponse;
  send(body: unknown): unknown;
}

interface Task {
  readonly ms?: number;
  /** Until the test lets it end. */
  readonly held?: boolean;
  readonly fail?: boolean;
  readonly silent?: boolean;
}

class Order {
  @IsInt() amount!: number;
}

@Injectable()
export class TimeoutInterceptor implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler) {
    return givingUp(begins).intercept(context, next);
  }
}

/** Knows nothing of idempotency. */
@UseInterceptors(IdempotencyInterceptor)
@Controller('manual')
export class ManualWiringController {
  @Post('late')
  async late(@Body() { held = false, fail = false }: Task) {
    ran();
    if (held) await late.run();
    if (fail) throw new Error('late');
    return { id: randomUUID() };
  }

  @Post('refused')
  refused() {
    ran();
    throw new ConflictException(randomUUID());
  }

  @Post('failed')
  failed() {
    ran();
    throw new Error('failed');
  }

  @Post('validated')
  validated(@Body(new ValidationPipe({ transform: true })) order: Order) {
    ran();
    return { order, id: randomUUID() };
  }

  @Post('native')
  async native(@Body() { ms = 0, silent = false }: Task, @Res() response: PlatformResponse) {
    ran();
    await sleep(ms);
    const isGone = (response.raw ?? response).closed;
    if (!silent || !isGone) response.send({ id: randomUUID() });
  }
}
