import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { type ClientHttp2Session, connect, constants, type IncomingHttpHeaders } from 'node:http2';
import type { Readable } from 'node:stream';
import { type CanActivate, Controller, Post, UseGuards } from '@nestjs/common';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { Idempotent } from '../../lib/index.js';
import { until } from '../support/until.js';
import { ResponsesController } from './support/responses.controller.js';
import { type RunningApp, startApp } from './support/app.js';
import { countRuns, ran } from './support/cases.js';
import { FailuresController } from './support/failures.controller.js';
import { ReturnValuesController } from './support/return-values.controller.js';

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

const entered = new EventEmitter();

/** Lets a request go on once its client has gone. */
const departure: CanActivate = {
  canActivate: async (context) => {
    const { headers, raw } = context.switchToHttp().getRequest<{ headers: IncomingHttpHeaders; raw: Readable }>();
    if (!headers['x-leaves']) return true;
    entered.emit('request');
    await once(raw, 'close');
    return true;
  },
};

@Controller('bodiless')
@UseGuards(departure)
class BodilessController {
  @Post()
  @Idempotent()
  run() {
    ran();
    return { ok: true };
  }
}

describe('HTTP/2, on fastify', () => {
  let app: RunningApp;
  let session: ClientHttp2Session;

  beforeAll(async () => {
    app = await startApp('fastify', {
      controllers: [ReturnValuesController, ResponsesController, FailuresController, BodilessController],
      adapter: new FastifyAdapter({ http2: true } as never),
    });
    session = connect(`http://127.0.0.1:${app.port}`);
  });
  afterAll(async () => {
    session?.destroy();
    await app?.close();
  });

  const post = (path: string, key: string, body: object = {}): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const stream = session.request({
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/json',
        'idempotency-key': key,
      });
      const chunks: Buffer[] = [];
      let headers: IncomingHttpHeaders = {};
      stream.on('response', (received) => (headers = { ...received, date: '' } as IncomingHttpHeaders));
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => resolve({ headers, body: Buffer.concat(chunks).toString('latin1') }));
      stream.on('error', reject);
      stream.end(JSON.stringify(body));
    });

  test.each([
    ['/results/object', 201],
    ['/results/file-of-file', 201],
    ['/results/no-content', 204],
    ['/responses/res-json', 202],
    ['/responses/chunks', 201],
    ['/failures/status/404', 404],
  ])('%s is replayed', async (path, status) => {
    const key = randomUUID();
    const before = countRuns();
    const first = await post(path, key);
    const second = await post(path, key);
    expect([first.headers[':status'], first.headers['idempotent-replayed']]).toEqual([status, undefined]);
    expect(second).toEqual({ ...first, headers: { ...first.headers, 'idempotent-replayed': 'true' } });
    expect(countRuns() - before).toBe(1);
  });

  // It ends by an empty frame, which its server has not read when the client leaves: the retry was taken for another request.
  test('a request without a body, whose client leaves in a guard', async () => {
    const key = randomUUID();
    const before = countRuns();
    const request = (more = {}) =>
      session.request({ ':method': 'POST', ':path': '/bodiless', 'idempotency-key': key, ...more }).end();
    const first = request({ 'x-leaves': 'true' });
    await once(entered, 'request');
    first.close(constants.NGHTTP2_CANCEL);
    await until(() => countRuns() > before);
    let answer: { code?: string } = {};
    await until(async () => {
      const retry = request();
      answer = JSON.parse((await retry.setEncoding('utf8').toArray()).join('')) as typeof answer;
      return answer.code !== 'in-progress';
    });
    expect([answer, countRuns() - before]).toEqual([{ ok: true }, 1]);
  });

  test('a problem', async () => {
    const key = randomUUID();
    await post('/results/object', key, { a: 1 });
    const { headers, body } = await post('/results/object', key, { a: 2 });
    expect([headers[':status'], headers['content-type']]).toEqual([422, 'application/problem+json; charset=utf-8']);
    expect(JSON.parse(body)).toMatchObject({ code: 'key-reused' });
  });
});
