import { randomUUID } from 'node:crypto';
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from 'node:http2';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { IdempotencyRecord } from '../../lib/index.js';
import { until } from '../support/until.js';
import { type RunningApp, startApp } from './support/app.js';
import { countRuns } from './support/cases.js';
import { gate, goOn, progress, StreamedResponsesController } from './support/streamed-responses.controller.js';

/** A client that reads what comes while it comes. */
class Reader {
  text = '';
  isClosed = false;
  private readonly stream: ClientHttp2Stream;

  constructor(
    session: ClientHttp2Session,
    path: string,
    readonly key: string = randomUUID(),
  ) {
    this.stream = session.request({
      ':method': 'POST',
      ':path': `/streams/${path}`,
      'content-type': 'application/json',
      'idempotency-key': key,
    });
    this.stream.on('data', (chunk: Buffer) => (this.text += chunk.toString()));
    this.stream.on('error', () => undefined);
    this.stream.on('close', () => (this.isClosed = true));
    this.stream.end('{}');
  }

  has(text: string): Promise<void> {
    return until(() => this.text.includes(text));
  }

  /** Whether the response is whole, as far as its client can see. */
  get hasEnded(): boolean {
    return this.isClosed && this.stream.rstCode === constants.NGHTTP2_NO_ERROR;
  }

  leave(): void {
    this.stream.close(constants.NGHTTP2_CANCEL);
  }
}

// Fastify alone: Express does not speak HTTP/2.
describe('streamed responses over HTTP/2, on fastify', () => {
  let app: RunningApp;
  let session: ClientHttp2Session;

  beforeAll(async () => {
    app = await startApp('fastify', {
      controllers: [StreamedResponsesController],
      adapter: new FastifyAdapter({ http2: true } as never),
    });
    session = connect(`http://127.0.0.1:${app.port}`);
  });
  afterAll(async () => {
    session?.destroy();
    await app?.close();
  });
  beforeEach(() => {
    gate.removeAllListeners();
    progress.written = progress.whole = 0;
  });

  const read = (path: string, key?: string) => new Reader(session, path, key);

  async function retry({ key }: Reader, path: string): Promise<string> {
    const reader = read(path, key);
    await until(() => reader.isClosed);
    return (JSON.parse(reader.text) as { code: string }).code;
  }

  const READ_BY_NEST = ['readable', 'web-stream', 'web-response'];
  const KINDS = ['native', 'flushed', 'file', 'bytes', 'piped', 'pipeline', 'transactional', ...READ_BY_NEST];

  test.each(KINDS)('%s: each line arrives as it is written, and the operation runs once', async (path) => {
    const before = countRuns();
    const reader = read(path);
    await reader.has('line 0');
    expect(await retry(reader, path)).toBe('in-progress');
    await goOn(2);
    await goOn(3);
    await until(() => reader.isClosed);
    expect(reader).toMatchObject({ hasEnded: true, text: 'line 0\nline 1\nline 2\n' });
    expect(await retry(reader, path)).toBe('replay-unavailable');
    expect(countRuns() - before).toBe(1);
  });

  test.each(KINDS)('%s: a client that goes away does not end it', async (path) => {
    const before = countRuns();
    const reader = read(path);
    await reader.has('line 0');
    reader.leave();
    await until(() => reader.isClosed);
    await goOn(2);
    expect(await retry(reader, path)).toBe('in-progress');
    await goOn(3);
    await until(async () => (await retry(reader, path)) === 'replay-unavailable');
    expect({ whole: progress.whole, runs: countRuns() - before }).toEqual({ whole: 1, runs: 1 });
  });

  test.each(['native', 'file', 'late'])('%s: a client that goes away at once does not end it', async (path) => {
    const reader = read(path);
    reader.leave();
    await until(() => gate.listenerCount('next') > 0);
    for (let line = progress.written; line < (path === 'late' ? 1 : 3); line++) await goOn(line + 1);
    await until(async () => (await retry(reader, path)) === 'replay-unavailable');
    expect(progress.whole).toBe(1);
  });

  test.each(['breaking', 'failing-file'])(
    '%s: one that fails after its first byte does not look whole',
    async (path) => {
      const reader = read(path);
      await reader.has('line 0');
      await until(() => gate.listenerCount('next') > 0);
      gate.emit('next');
      await until(() => reader.isClosed);
      expect(reader.hasEnded).toBe(false);
    },
  );

  test.each(['native', 'file'])('%s: one whose record is lost does not look whole', async (path) => {
    const reader = read(path);
    await reader.has('line 0');
    await app.dataSource.getRepository(IdempotencyRecord).clear();
    await goOn(2);
    await goOn(3);
    await until(() => reader.isClosed);
    expect(reader).toMatchObject({ hasEnded: false, text: 'line 0\nline 1\nline 2\n' });
  });

  test('one that falls silent when its client has gone is unknown', async () => {
    const reader = read('silent');
    await reader.has('line 0');
    reader.leave();
    await until(async () => (await retry(reader, 'silent')) === 'outcome-unknown');
  });
});
