import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Body, Controller, Param, type PipeTransform, Post, Res, StreamableFile, UseGuards } from '@nestjs/common';
import { map, timer } from 'rxjs';
import { Idempotent } from '../../../lib/index.js';
import { ran } from './cases.js';

interface Task {
  readonly ms?: number;
}

const slowGuard = { canActivate: () => sleep(120, true) };
const slowPipe: PipeTransform = { transform: (value: unknown) => sleep(1_200, value) };

@Controller('connections')
@Idempotent()
export class ConnectionsController {
  @Post('value')
  async value(@Body() { ms = 0 }: Task) {
    ran();
    await sleep(ms);
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

  @Post('slow-pipe')
  async slowPipe(@Body(slowPipe) { ms = 0 }: Task) {
    ran();
    await sleep(ms);
    return { id: randomUUID() };
  }
}
