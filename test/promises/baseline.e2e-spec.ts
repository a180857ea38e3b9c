import { randomUUID } from 'node:crypto';
import { Body, Controller, Post } from '@nestjs/common';
import { type Execution, Idempotent, IdempotentExecution } from '../../lib/index.js';
import { type RunningApp, startApp } from '../conformance/support/app.js';
import { call } from '../support/http-client.js';

/** What goes on under every patch of `npm run test:promises`: a patch that breaks one promise must not break everything. */
@Controller()
class OrdersController {
  runs = 0;

  @Post('plain')
  @Idempotent()
  plain(@Body() { sku }: { sku: string }) {
    return { sku, run: ++this.runs };
  }

  @Post('transactional')
  @Idempotent({ transactional: true })
  async transactional(@IdempotentExecution() { manager }: Execution) {
    return { one: await manager.query<unknown>('SELECT 1 AS one'), run: ++this.runs };
  }
}

describe('an ordinary request', () => {
  let app: RunningApp;

  beforeAll(async () => void (app = await startApp('express', { controllers: [OrdersController] })));
  afterAll(() => app?.close());

  test.each(['plain', 'transactional'])('runs and is answered: %s', async (path) => {
    const url = `http://127.0.0.1:${app.port}/${path}`;
    const answer = await call(url, { key: randomUUID(), body: { sku: 'tea' } });
    expect(answer.status).toBe(201);
  });
});
