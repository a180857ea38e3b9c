import { randomUUID } from 'node:crypto';
import { Controller, Post } from '@nestjs/common';
import { Idempotent } from '../../lib/index.js';
import { ResponsesController } from './support/responses.controller.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { checkReplay, codeOf, isReplay, ran, type ReplayCase } from './support/cases.js';
import { FailuresController } from './support/failures.controller.js';
import { send } from './support/raw-http.js';
import { ReturnValuesController } from './support/return-values.controller.js';

/** What a database may do to bytes, headers and empty things. */
const CASES: ReplayCase[] = [
  { name: 'an object', path: '/results/object', status: 201 },
  { name: 'every byte', path: '/results/octets', status: 201 },
  { name: 'an empty string', path: '/results/empty-string', status: 201, text: '' },
  { name: 'nothing', path: '/results/no-content', status: 204 },
  { name: 'a file', path: '/results/file-of-file', status: 201 },
  { name: 'a large body', path: '/results/large', status: 201 },
  { name: 'headers and a reason', path: '/responses/native', status: 207 },
  { name: 'a stream', path: '/responses/piped', status: 201 },
  { name: 'a stored error', path: '/failures/status/409', status: 409 },
  { name: 'a released error', path: '/failures/error', status: 500, again: 'rerun' },
  { name: 'a request with a body', path: '/results/put', method: 'PUT', body: { text: '\u0000 ünï ☃' }, status: 200 },
];

const LONG = Array.from({ length: 30 }, (_, i) => `segment-${i}`).join('/');

@Controller(LONG)
class LongController {
  @Post()
  @Idempotent()
  post() {
    ran();
    return { id: randomUUID() };
  }
}

describe.each(PLATFORMS)('on PostgreSQL, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, {
      dialect: 'postgres',
      controllers: [ReturnValuesController, ResponsesController, FailuresController, LongController],
    });
  });
  afterAll(() => app?.close());

  test.each(CASES)('$name', async (one) => {
    await checkReplay(app, one);
  });

  test('a route that is longer than its column', async () => {
    await checkReplay(app, { name: '', path: `/${LONG}`, status: 201 });
  });

  test('a tombstone', async () => {
    const request = { path: '/responses/too-large', key: randomUUID() };
    expect((await send(app.port, request)).status).toBe(201);
    expect(codeOf(await send(app.port, request))).toBe('replay-unavailable');
  });

  test('rejected by a pipe: a corrected body runs', async () => {
    const request = { path: '/failures/validated', key: randomUUID() };
    expect((await send(app.port, { ...request, body: { amount: 'x' } })).status).toBe(400);
    expect((await send(app.port, { ...request, body: { amount: 1 } })).status).toBe(201);
    expect(isReplay(await send(app.port, { ...request, body: { amount: 1 } }))).toBe(true);
    expect(codeOf(await send(app.port, { ...request, body: { amount: 2 } }))).toBe('key-reused');
  });
});
