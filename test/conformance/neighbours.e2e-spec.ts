import { randomUUID } from 'node:crypto';
import { Body, Controller, HttpCode, HttpException, Post, Search, StreamableFile } from '@nestjs/common';
import { json } from 'express';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { Idempotent, NotIdempotent } from '../../lib/index.js';
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

  @Post('report')
  report() {
    return new StreamableFile(Readable.from(['run\n', `${++runs}\n`]));
  }

  @Post('report-without-key')
  @NotIdempotent()
  reportWithoutKey() {
    return this.report();
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
  /** How many more listeners of 'close' the latest response could have had, when it had most, without node's warning of a leak. */
  let roomForListeners: number;
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
          roomForListeners = Infinity;
          response.on('newListener', (event) => {
            if (event !== 'close') return;
            const room = response.getMaxListeners() - response.listenerCount(event) - 1;
            roomForListeners = Math.min(roomForListeners, room);
          });
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

  test('frameworks and tracers may listen to a response as often as without the library', async () => {
    const key = randomUUID();
    const rooms: number[] = [];
    for (const path of ['/report-without-key', '/report', '/report']) {
      statuses.length = 0;
      await ask({ key }, path);
      await until(() => statuses.length === 1);
      rooms.push(roomForListeners);
    }
    const [bare, first, replayed] = rooms;
    expect(first).toBe(bare);
    expect(replayed).toBeGreaterThanOrEqual(bare);
  });

  test('a safe method of an idempotent controller needs no key', async () => {
    expect(await ask({ method: 'SEARCH' })).toMatchObject({ status: 200, body: `{"found":${runs}}` });
  });
});
