import { randomUUID } from 'node:crypto';
import { type ClientHttp2Session, connect, type IncomingHttpHeaders } from 'node:http2';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { ResponsesController } from './support/responses.controller.js';
import { type RunningApp, startApp } from './support/app.js';
import { countRuns } from './support/cases.js';
import { FailuresController } from './support/failures.controller.js';
import { ReturnValuesController } from './support/return-values.controller.js';

interface Answer {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

describe('HTTP/2, on fastify', () => {
  let app: RunningApp;
  let session: ClientHttp2Session;

  beforeAll(async () => {
    app = await startApp('fastify', {
      controllers: [ReturnValuesController, ResponsesController, FailuresController],
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

  test('a problem', async () => {
    const key = randomUUID();
    await post('/results/object', key, { a: 1 });
    const { headers, body } = await post('/results/object', key, { a: 2 });
    expect([headers[':status'], headers['content-type']]).toEqual([422, 'application/problem+json; charset=utf-8']);
    expect(JSON.parse(body)).toMatchObject({ code: 'key-reused' });
  });
});
