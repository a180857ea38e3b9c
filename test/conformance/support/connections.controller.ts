import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  Body,
  Controller,
  type NestInterceptor,
  Param,
  type PipeTransform,
  Post,
  Res,
  StreamableFile,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import { map, of, timer } from 'rxjs';
import { Idempotent } from '../../../lib/index.js';
import { ran } from './cases.js';
import { late } from './late.js';

interface Task {
  readonly ms?: number;
  /** Until the test lets it end. */
  readonly held?: boolean;
}

const slowGuard = { canActivate: () => sleep(500, true) };
const slowPipe: PipeTransform = { transform: (value: unknown) => sleep(1_200, value) };

interface PlatformResponse {
  readonly raw?: ServerResponse;
  readonly closed?: boolean;
  send(body: unknown): unknown;
}

const isGone = (response: PlatformResponse) => (response.raw ?? response).closed === true;

function answerIfThere(response: PlatformResponse): void {
  if (!isGone(response)) response.send({ id: randomUUID() });
}

/** Does not go on to the handler when its client has gone meanwhile. */
const leavesIfGone: NestInterceptor = {
  async intercept(context, next) {
    await sleep(500);
    return isGone(context.switchToHttp().getResponse()) ? of(undefined) : next.handle();
  },
};

@Controller('connections')
@Idempotent()
export class ConnectionsController {
  @Post('value')
  async value(@Body() { ms = 0, held = false }: Task) {
    ran();
    await (held ? late.run() : sleep(ms));
    return { id: randomUUID() };
  }

  @Post('failing')
  async failing(@Body() { ms = 0 }: Task) {
    ran();
    await sleep(ms);
    throw new Error('failed');
  }

  @Post('observable')
  observable(@Body() { ms = 0 }: Task) {
    ran();
    return timer(ms).pipe(map(() => ({ id: randomUUID() })));
  }

  @Post('promised')
  async promised(@Body() { ms = 0 }: Task) {
    ran();
    await sleep(5);
    return timer(ms).pipe(map(() => ({ id: randomUUID() })));
  }

  @Post('native')
  async native(@Body() { ms = 0 }: Task, @Res() response: { raw?: ServerResponse; send(body: unknown): unknown }) {
    ran();
    await sleep(ms);
    response.send({ id: randomUUID() });
  }

  @Post('file')
  async file(@Body() { ms = 0 }: Task) {
    ran();
    await sleep(ms);
    return new StreamableFile(Readable.from([Buffer.from(randomUUID())]));
  }

  @Post('waiting')
  @Idempotent({ onConflict: 'wait' })
  async waiting(@Body() { ms = 0 }: Task) {
    ran();
    await sleep(ms);
    return { id: randomUUID() };
  }

  @Post('slow-guard/:kind')
  @UseGuards(slowGuard)
  async slowGuard(@Param('kind') kind: string) {
    ran();
    await sleep(1);
    return kind === 'file' ? new StreamableFile(Buffer.from(randomUUID())) : { id: randomUUID() };
  }

  /** Looks whether a client still waits. */
  @Post('silent')
  @Idempotent({ lease: '1s' })
  async silent(@Body() { ms = 0 }: Task, @Res() response: PlatformResponse) {
    ran();
    await sleep(ms);
    answerIfThere(response);
  }

  @Post('slow-guard-silent')
  @Idempotent({ lease: '1s' })
  @UseGuards(slowGuard)
  async slowGuardSilent(@Res() response: PlatformResponse) {
    ran();
    answerIfThere(response);
  }

  @Post('silent-inside')
  @UseInterceptors(leavesIfGone)
  @Idempotent()
  silentInside(@Res() response: PlatformResponse) {
    ran();
    answerIfThere(response);
  }

  @Post('slow-pipe')
  async slowPipe(@Body(slowPipe) _task: Task) {
    ran();
    await late.run();
    return { id: randomUUID() };
  }
}
