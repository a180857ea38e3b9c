import { randomUUID } from 'node:crypto';
import { Body, Controller, HttpCode, HttpException, Post, Search } from '@nestjs/common';
import { json } from 'express';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Idempotent } from '../../lib/index.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { call } from '../support/http-client.js';
import { until } from '../support/until.js';

let runs = 0;

@Idempotent()
@Controller('orders')
class OrdersController {
  @Post()
  place(@Body() order: object) {
    return { order, run: ++runs };
  }

  @Post('declined')
  @HttpCode(202)
  decline() {
    throw new HttpException(`declined in run ${++runs}`, 402);
  }

  @Search()
  search() {
    return { found: runs };
  }
}

describe.each(PLATFORMS)('what other code does to requests, on %s', (platform) => {
  let app: RunningApp;
  /** As loggers and metrics see it. */
  const statuses: number[] = [];
  const ask = (more: Parameters<typeof call>[1], path = '') => call(`http://127.0.0.1:${app.port}/orders${path}`, more);

  beforeAll(async () => {
    app = await startApp(platform, {
      controllers: [OrdersController],
      configure: (nest) => {
        // The bytes of a body, for the signatures of webhooks. `raw` is Fastify's name for node's request.
        const verify = (request: IncomingMessage, _response: unknown, bytes: Buffer) =>
          void Object.assign(request, { raw: bytes });
        if (platform === 'express') nest.use(json({ verify }));
        nest.use((_request: unknown, response: ServerResponse, next: () => void) => {
          response.on('finish', () => statuses.push(response.statusCode));
          next();
        });
      },
    });
  });
  afterAll(() => app?.close());

  test('middleware may keep the bytes of a body as `request.raw`', async () => {
    const order = { key: randomUUID(), body: { item: 'book' } };
    const first = await ask(order);
    expect(first.status).toBe(201);
    expect((await ask(order)).body).toBe(first.body);
  });

  test('a replay has its status in logs and metrics, too', async () => {
    const key = randomUUID();
    statuses.length = 0;
    const first = await ask({ key }, '/declined');
    expect(await ask({ key }, '/declined')).toMatchObject({ status: 402, body: first.body });
    await until(() => statuses.length === 2);
    expect(statuses).toEqual([402, 402]);
  });

  test('a safe method of an idempotent controller needs no key', async () => {
    expect(await ask({ method: 'SEARCH' })).toMatchObject({ status: 200, body: `{"found":${runs}}` });
  });
});
