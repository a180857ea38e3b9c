import { randomUUID } from 'node:crypto';
import { Controller, Post, StreamableFile } from '@nestjs/common';
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { Idempotent } from '../../lib/index.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { countRuns, isReplay, ran } from './support/cases.js';
import { send } from './support/raw-http.js';

const BEYOND_THE_LIMIT = 'x'.repeat(2_000);

@Controller('payments')
class PaymentsController {
  @Post()
  @Idempotent()
  pay() {
    ran();
    return { paid: true };
  }

  @Post('large')
  @Idempotent({ response: { maxBytes: 1_000 } })
  large() {
    ran();
    return { paid: true, text: BEYOND_THE_LIMIT };
  }

  @Post('stream')
  @Idempotent({ response: { stream: true } })
  stream() {
    ran();
    return new StreamableFile(Readable.from(['paid', '\n']));
  }

  @Post('large-stream')
  @Idempotent({ response: { maxBytes: 1_000 } })
  largeStream() {
    ran();
    return new StreamableFile(Readable.from([BEYOND_THE_LIMIT, '\n']));
  }
}

/** Middleware that fails when the head of a response is written, as a listener of on-headers may. */
function failing(times: number) {
  return (_request: unknown, response: ServerResponse, next: () => void) => {
    let left = times;
    const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => ServerResponse;
    response.writeHead = (...args: unknown[]) => {
      if (left-- > 0) throw new Error('not the name of a header');
      return writeHead(...args);
    };
    next();
  };
}

describe.each(PLATFORMS)('middleware that throws when a response is sent, on %s', (platform) => {
  let app: RunningApp;
  let times: number;

  beforeAll(async () => {
    app = await startApp(platform, {
      controllers: [PaymentsController],
      configure: (nest) =>
        void nest.use((request: unknown, response: ServerResponse, next: () => void) =>
          failing(times)(request, response, next),
        ),
    });
  });
  afterAll(() => app?.close());

  test('the client gets 500 from the filters, and a retry the outcome', async () => {
    const request = { path: '/payments', key: randomUUID() };
    const before = countRuns();
    times = 1;
    expect((await send(app.port, request)).status).toBe(500);
    expect(app.log.toString()).toContain('not the name of a header');
    times = 0;
    const retried = await send(app.port, request);
    expect([retried.status, isReplay(retried), countRuns() - before]).toEqual([201, true, 1]);
  });

  test('a replay: the client gets 500, too', async () => {
    const request = { path: '/payments', key: randomUUID() };
    times = 0;
    expect((await send(app.port, request)).status).toBe(201);
    times = 1;
    expect((await send(app.port, request)).status).toBe(500);
    times = 0;
    expect(isReplay(await send(app.port, request))).toBe(true);
  });

  test.each(['large', 'large-stream', 'stream'])(
    'the connection is closed if no response can be sent: %s',
    async (path) => {
      const request = { path: `/payments/${path}`, key: randomUUID() };
      const before = countRuns();
      times = 2;
      await expect(send(app.port, request)).rejects.toThrow('the connection was closed');
      times = 0;
      const retried = await send(app.port, request);
      expect([retried.status, countRuns() - before]).toEqual([409, 1]);
    },
  );
});
