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
  RequestTimeoutException,
  Res,
  UseInterceptors,
  ValidationPipe,
} from '@nestjs/common';
import { IsInt } from 'class-validator';
import { catchError, throwError, timeout, TimeoutError } from 'rxjs';
import { IdempotencyInterceptor } from '../../../lib/index.js';
import { ran } from './cases.js';

interface PlatformResponse extends Partial<ServerResponse> {
  readonly raw?: ServerResponse;
  send(body: unknown): unknown;
}

interface Task {
  readonly ms?: number;
  readonly fail?: boolean;
  readonly silent?: boolean;
}

class Order {
  @IsInt() amount!: number;
}

@Injectable()
export class TimeoutInterceptor implements NestInterceptor {
  intercept(_context: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(
      timeout(150),
      catchError((error: unknown) =>
        throwError(() => (error instanceof TimeoutError ? new RequestTimeoutException() : error)),
      ),
    );
  }
}

/** Knows nothing of idempotency. */
@UseInterceptors(IdempotencyInterceptor)
@Controller('by-hand')
export class ByHandController {
  @Post('late')
  async late(@Body() { ms = 0, fail = false }: Task) {
    ran();
    await sleep(ms);
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
