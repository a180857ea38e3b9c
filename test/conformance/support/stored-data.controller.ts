import { randomUUID } from 'node:crypto';
import { Controller, Post, Res } from '@nestjs/common';
import { Idempotent } from '../../../lib/index.js';
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

  @Post('text')
  text() {
    ran();
    return 'y'.repeat(1_000);
  }
}
