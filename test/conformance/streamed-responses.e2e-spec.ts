import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { IdempotencyRecord } from '../../lib/index.js';
import { until } from '../support/until.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, comparable, countRuns, isReplay } from './support/cases.js';
import { encode, send } from './support/raw-http.js';
import { gate, goOn, progress, StreamedResponsesController } from './support/streamed-responses.controller.js';

/** A client that reads what comes while it comes. */
class Reader {
  text = '';
  isClosed = false;
  isReset = false;
  private readonly socket: Socket;

  constructor(
    port: number | string,
    path: string,
    readonly key = randomUUID(),
    version = '1.1',
  ) {
    this.socket = typeof port === 'string' ? connect(port) : connect({ port, host: '127.0.0.1' });
    this.socket.on('data', (chunk) => (this.text += chunk.toString()));
    this.socket.on('close', () => (this.isClosed = true));
    this.socket.on('error', ({ code }: NodeJS.ErrnoException) => (this.isReset = code === 'ECONNRESET'));
    const request = encode({ path: `/streams/${path}`, key: this.key }).toString('latin1');
    this.socket.write(request.replace('HTTP/1.1', `HTTP/${version}`));
  }

  has(text: string): Promise<void> {
    return until(() => this.text.includes(text));
  }

  get hasEnded(): boolean {
    return this.text.endsWith('0\r\n\r\n');
  }

  leave(): void {
    this.socket.destroy();
  }
}

describe.each(PLATFORMS)('streamed responses, on %s', (platform) => {
  let app: RunningApp;
  const controllers = [StreamedResponsesController];
  beforeAll(async () => {
    app = await startApp(platform, { controllers });
  });
  afterAll(() => app?.close());
  beforeEach(() => {
    gate.removeAllListeners();
    progress.written = progress.whole = 0;
  });

  const retry = async ({ key }: Reader, path: string) =>
    codeOf(await send(app.port, { path: `/streams/${path}`, key }));

  const READ_BY_NEST = ['readable', 'web-stream', 'web-response'];
  const KINDS = ['native', 'flushed', 'file', 'bytes', 'piped', 'pipeline', 'transactional', ...READ_BY_NEST];

  test.each(KINDS)('%s: each line arrives as it is written, and the operation runs once', async (path) => {
    const before = countRuns();
    const reader = new Reader(app.port, path);
    await reader.has('line 0');
    expect(await retry(reader, path)).toBe('in-progress');
    await goOn(2);
    await reader.has('line 1');
    expect(reader.hasEnded).toBe(false);
    await goOn(3);
    await until(() => reader.hasEnded);
    // On record before its end was sent.
    expect(await retry(reader, path)).toBe('replay-unavailable');
    expect(countRuns() - before).toBe(1);
    reader.leave();
  });

  test.each(KINDS)('%s: a client that goes away does not end it', async (path) => {
    const before = countRuns();
    const reader = new Reader(app.port, path);
    await reader.has('line 0');
    reader.leave();
    await goOn(2);
    expect(await retry(reader, path)).toBe('in-progress');
    await goOn(3);
    await until(async () => (await retry(reader, path)) === 'replay-unavailable');
    expect({ whole: progress.whole, runs: countRuns() - before }).toEqual({ whole: 1, runs: 1 });
  });

  test.each(['native', 'file'])('%s: one whose record is lost does not end as if it were kept', async (path) => {
    const reader = new Reader(app.port, path);
    await reader.has('line 0');
    await app.dataSource.getRepository(IdempotencyRecord).clear();
    await goOn(2);
    await goOn(3);
    await until(() => reader.isClosed);
    expect(reader.hasEnded).toBe(false);
    expect(reader.text).toContain('line 2');
  });

  test('a client that goes away before the first byte does not end it', async () => {
    const reader = new Reader(app.port, 'late');
    await until(() => gate.listenerCount('next') > 0);
    reader.leave();
    expect(await retry(reader, 'late')).toBe('in-progress');
    await goOn(1);
    await until(async () => (await retry(reader, 'late')) === 'replay-unavailable');
    expect(progress.whole).toBe(1);
  });

  test('one that falls silent when its client has gone is unknown', async () => {
    const reader = new Reader(app.port, 'silent');
    await reader.has('line 0');
    expect(await retry(reader, 'silent')).toBe('in-progress');
    reader.leave();
    await until(async () => (await retry(reader, 'silent')) === 'outcome-unknown');
  });

  test('one whose handler fails after the first byte is broken off, and runs again', async () => {
    const key = randomUUID();
    const before = countRuns();
    for (let i = 0; i < 2; i++) {
      const reader = new Reader(app.port, 'breaking', key);
      await reader.has('line 0');
      await until(() => gate.listenerCount('next') > 0);
      gate.emit('next');
      await until(() => reader.isClosed);
      expect(reader.hasEnded).toBe(false);
    }
    expect(countRuns() - before).toBe(2);
  });

  // As of nginx, which asks servers over HTTP/1.0 by default. It took a stream that was broken off for a whole one, and passed it on as such.
  describe('over HTTP/1.0, where the end of a connection is that of its response', () => {
    test.each(['breaking', 'failing-file'])('%s: one that fails is reset', async (path) => {
      const reader = new Reader(app.port, path, undefined, '1.0');
      await reader.has('line 0');
      await until(() => gate.listenerCount('next') > 0);
      gate.emit('next');
      await until(() => reader.isClosed);
      expect(reader).toMatchObject({ isReset: true });
    });

    test.each(['native', 'file'])('%s: one whose record is lost is reset', async (path) => {
      const reader = new Reader(app.port, path, undefined, '1.0');
      await reader.has('line 0');
      await app.dataSource.getRepository(IdempotencyRecord).clear();
      await goOn(2);
      await goOn(3);
      await until(() => reader.isClosed);
      expect(reader).toMatchObject({ isReset: true });
    });

    // Node throws where there is no reset, as with TLS.
    test('one that fails over a Unix socket is closed, and runs again', async () => {
      const path = join(tmpdir(), `streams-${randomUUID()}.sock`);
      const front = createServer((socket) => app.app.getHttpServer().emit('connection', socket)).listen(path);
      try {
        await once(front, 'listening');
        const key = randomUUID();
        const before = countRuns();
        for (let i = 0; i < 2; i++) {
          const reader = new Reader(path, 'breaking', key, '1.0');
          await reader.has('line 0');
          await until(() => gate.listenerCount('next') > 0);
          gate.emit('next');
          await until(() => reader.isClosed);
        }
        expect(countRuns() - before).toBe(2);
      } finally {
        front.close();
      }
    });

    test.each(['native', 'file'])('%s: one that succeeds is not', async (path) => {
      const reader = new Reader(app.port, path, undefined, '1.0');
      await reader.has('line 0');
      await goOn(2);
      await goOn(3);
      await until(() => reader.isClosed);
      expect(reader).toMatchObject({ isReset: false, text: expect.stringContaining('line 2') as string });
    });
  });

  test.each([
    ['at-once', 201],
    ['refused', 409],
  ])('%s: what is written at once is replayed', async (path, status) => {
    const request = { path: `/streams/${path}`, key: randomUUID() };
    const [first, second] = [await send(app.port, request), await send(app.port, request)];
    expect([first.status, isReplay(first), isReplay(second)]).toEqual([status, false, true]);
    expect(comparable(second)).toEqual(comparable(first));
  });

  test('what fails before the first byte runs again', async () => {
    const before = countRuns();
    const request = { path: '/streams/failing', key: randomUUID() };
    expect([(await send(app.port, request)).status, (await send(app.port, request)).status]).toEqual([500, 500]);
    expect(countRuns() - before).toBe(2);
  });

  const hints = (path: string) => app.log.lines.filter((line) => line.includes(`/${path}: the response is a stream`));

  test.each(['undecided-flush', 'undecided-type'])('%s: passes soon, which the log says once', async (path) => {
    for (let i = 0; i < 2; i++) {
      progress.written = 0;
      const reader = new Reader(app.port, path);
      await reader.has('line 0');
      await goOn(2);
      await reader.has('line 1');
      await goOn(3);
      await until(() => reader.hasEnded);
      expect(await retry(reader, path)).toBe('replay-unavailable');
      reader.leave();
    }
    expect(hints(path)).toEqual([expect.stringMatching(/^WARN POST .*`response: { stream: true }`/)]);
  });

  test('a short one is replayed all the same', async () => {
    const request = { path: '/streams/short', key: randomUUID() };
    const [first, second] = [await send(app.port, request), await send(app.port, request)];
    expect(isReplay(second)).toBe(true);
    expect(comparable(second)).toEqual(comparable(first));
    expect(hints('short')).toHaveLength(1);
  });

  test('one that is to be held is held, and replayed', async () => {
    const reader = new Reader(app.port, 'held');
    await until(() => progress.written === 1);
    await goOn(2);
    await goOn(3);
    await reader.has('line 2');
    const replay = await send(app.port, { path: '/streams/held', key: reader.key });
    expect([isReplay(replay), replay.body.toString()]).toEqual([true, 'line 0\nline 1\nline 2\n']);
    expect(hints('held')).toEqual([]);
    reader.leave();
  });

  /** Internal to node. Bun has its own. */
  interface WritesHead extends ServerResponse {
    _implicitHeader: (this: ServerResponse) => void;
  }

  test.each(['native', 'flushed', 'undecided-flush'])(
    '%s: a runtime may ask for headersSent, as Bun does',
    async (path) => {
      const asBun = (_: IncomingMessage, response: WritesHead) => {
        const { _implicitHeader: implicitHeader } = response;
        response._implicitHeader = function () {
          if (!this.headersSent) implicitHeader.call(this);
        };
      };
      const server = app.app.getHttpServer() as Server;
      server.prependListener('request', asBun);
      const reader = new Reader(app.port, path);
      await reader.has('line 0');
      server.off('request', asBun);
      await goOn(2);
      await goOn(3);
      await until(() => reader.hasEnded);
      expect(reader.text).toMatch(/^HTTP\/1\.1 201 /);
      reader.leave();
    },
  );

  // Last: Nest's logger is that of the application that was started last.
  test('the option of the module is that of operations that have none', async () => {
    const streaming = await startApp(platform, { controllers, options: { response: { stream: true } } });
    const reader = new Reader(streaming.port, 'undecided-flush');
    await reader.has('line 0');
    await goOn(2);
    await goOn(3);
    await until(() => reader.hasEnded);
    expect(streaming.log.toString()).not.toContain('is a stream');
    reader.leave();
    await streaming.close();
  });
});
