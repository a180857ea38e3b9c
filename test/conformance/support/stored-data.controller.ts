import { randomUUID } from 'node:crypto';
import { Body, Controller, Post, Res } from '@nestjs/common';
import { type Execution, Idempotent, IdempotentExecution } from '../../../lib/index.js';
import { ran } from './cases.js';

@Controller('stored-data')
@Idempotent()
export class StoredDataController {
  @Post('headers')
  headers(@Res({ passthrough: true }) response: { header(name: string, value: string): unknown }) {
    ran();
    for (const name of ['Set-Cookie', 'Authorization', 'Cookie', 'Proxy-Authenticate']) {
      response.header(name, `secret-${name.toLowerCase()}=1`);
    }
    response.header('X-Public', 'kept');
    return { run: randomUUID() };
  }

  @Post('echo')
  echo() {
    ran();
    return { run: randomUUID(), answer: 'the answer' };
  }

  /** The result of its step cannot be kept, which is logged with the step's name. */
  @Post('step')
  async step(@Body() { sku }: { sku: string }, @IdempotentExecution() execution: Execution) {
    ran();
    await execution.step(`ship ${sku}`, () => new Response('shipped'));
    return { run: randomUUID() };
  }

  /** Fails at its first attempt, after its step or without it. */
  @Post('charge')
  async charge(@Body() { fails }: { fails: 'before' | 'after' }, @IdempotentExecution() execution: Execution) {
    if (execution.attempt === 1 && fails === 'before') throw new Error('try again');
    await execution.step('charge', () => ran());
    if (execution.attempt === 1) throw new Error('try again');
    return { paid: true };
  }

  @Post('text')
  text() {
    ran();
    return 'y'.repeat(1_000);
  }
}
