import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { ResponsesController } from './support/responses.controller.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { checkReplay, codeOf, countRuns, isReplay, type ReplayCase } from './support/cases.js';
import { RawConnection, send, valueOf } from './support/raw-http.js';
import { until } from '../support/until.js';

const CASES: ReplayCase[] = [
  { name: '@Res(): json', path: 'res-json', status: 202, text: /^{"id":"\w+"}$/ },
  { name: '@Res(): text', path: 'res-text', status: 201, text: /^text \w+$/ },
  { name: '@Res(): bytes', path: 'res-buffer', status: 201, has: { 'content-type': 'image/png' } },
  { name: '@Res(): nothing', path: 'res-empty', status: 204, text: '' },
  { name: '@Res(): a redirect', path: 'res-redirect', status: 303 },
  { name: '@Res(): after a pause', path: 'res-later', status: 201 },
  { name: '@Res(): after the handler has returned', path: 'res-after-return', status: 201 },
  { name: '@Res(): and then an error', path: 'res-then-throw', status: 201, text: /^{"id":"\w+"}$/ },
  { name: '@Res(): ended more than once', path: 'res-twice', status: 201, text: 'first' },
  { name: '@Res() and @Next()', path: 'next', status: 201 },
  { name: 'passthrough: status and headers', path: 'passthrough', status: 203, has: { etag: '"v1"' } },
  {
    name: 'passthrough: @HttpCode()',
    path: 'passthrough-code',
    status: 206,
    has: { link: '</a>; rel="a", </b>; rel="b"' },
  },
  { name: 'passthrough: a header taken away', path: 'passthrough-removed', status: 201 },
  { name: 'passthrough: a header changed', path: 'passthrough-changed', status: 201 },
  { name: 'writeHead with a reason and headers', path: 'native', status: 207, has: { 'x-several': 'one, two' } },
  { name: 'writeHead with names and values', path: 'native-pairs', status: 200, text: 'ok', has: { 'x-two': 'a, b' } },
  { name: 'end in another encoding', path: 'native-latin1', status: 201, text: 'caf\u00e9' },
  { name: 'chunks', path: 'chunks', status: 201, text: /^(chunk \d \w+\n){5}$/ },
  { name: 'chunks out of memory that is used again', path: 'chunks-reused', status: 201, text: 'abc' },
  { name: 'headers flushed first', path: 'flushed', status: 200, text: /^\w{16}$/ },
  { name: 'a stream that is piped', path: 'piped', status: 201 },
  { name: 'a pipeline', path: 'pipeline', status: 201, text: /^a\w{16}c$/ },
  {
    name: 'a file',
    path: 'file',
    status: 201,
    text: /ResponsesController/,
    has: { 'content-type': 'image/png' },
  },
  { name: 'trailers, which are left out', path: 'trailers', status: 200, text: 'body' },
  {
    name: 'a coded body',
    path: 'gzipped',
    status: 201,
    headers: { 'Accept-Encoding': 'gzip' },
    has: { 'content-encoding': 'gzip' },
  },
  { name: 'a header and a status after the end', path: 'header-after-end', status: 201, text: 'done' },
  { name: 'a chunk that is none', path: 'invalid/chunk', status: 500, again: 'rerun' },
  { name: 'a status that is none', path: 'invalid/status', status: 500, again: 'rerun' },
  { name: 'a header with a line break', path: 'invalid/header', status: 500, again: 'rerun' },
  { name: 'a body as large as may be', path: 'large-enough', status: 201, text: 'x'.repeat(1_000) },
];

describe.each(PLATFORMS)('how handlers answer, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, {
      controllers: [ResponsesController],
      configure: (nest) => {
        nest.use((_request: unknown, response: ServerResponse, next: () => void) => {
          response.setHeader('X-From-Middleware', 'always');
          next();
        });
      },
    });
  });
  afterAll(() => app?.close());

  test.each(CASES)('$name', async (one) => {
    await checkReplay(app, { ...one, path: `/responses/${one.path}` });
  });

  test('no trailer is announced or sent', async () => {
    const [first] = await checkReplay(app, { name: '', path: '/responses/trailers', status: 200 });
    expect({ announced: valueOf(first.head, 'trailer'), sent: first.trailers }).toEqual({
      announced: undefined,
      sent: [],
    });
  });

  test('early hints go out with the first answer, and not with its replay', async () => {
    const [first, second] = await checkReplay(app, { name: '', path: '/responses/early-hints', status: 201 });
    expect(first.informational).toEqual(['HTTP/1.1 103 Early Hints', 'Link: </style.css>; rel=preload']);
    expect(second.informational).toEqual([]);
  });

  test('a coded body is decoded for a client that does not accept the coding', async () => {
    const request = { path: '/responses/gzipped', key: randomUUID() };
    const first = await send(app.port, { ...request, headers: { 'Accept-Encoding': 'gzip' } });
    expect(valueOf(first.head, 'content-encoding')).toBe('gzip');
    const plain = await send(app.port, { ...request, headers: { 'Accept-Encoding': 'br, gzip;q=0' } });
    expect(isReplay(plain)).toBe(true);
    expect(plain.body.toString()).toBe(`plain ${'text '.repeat(100)}`);
    expect(valueOf(plain.head, 'content-encoding')).toBeUndefined();
    expect(valueOf(plain.head, 'content-length')).toBe(String(plain.body.length));
    expect(valueOf(plain.head, 'etag')).toBe('W/"strong"');
  });

  test.each(['too-large', 'too-large-stream'])('%s: sent untouched, and not again', async (path) => {
    const request = { path: `/responses/${path}`, key: randomUUID() };
    const before = countRuns();
    const first = await send(app.port, request);
    expect(first.status).toBe(201);
    expect(first.body.length).toBe(path === 'too-large' ? 1_012 : 1_800);
    expect(new Set(first.body).size).toBeGreaterThanOrEqual(3);
    const second = await send(app.port, request);
    expect([second.status, codeOf(second), isReplay(second)]).toEqual([409, 'replay-unavailable', false]);
    expect(countRuns() - before).toBe(1);
  });

  test('a stream of events passes through while it goes on, and is not begun again', async () => {
    const request = { path: '/responses/endless', key: randomUUID() };
    const before = countRuns();
    const connection = await RawConnection.open(app.port);
    connection.send(request);
    let seen = '';
    while (!seen.includes('data: 3')) seen += await connection.some();
    expect(seen).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(codeOf(await send(app.port, request))).toBe('in-progress');
    connection.close();
    await until(async () => codeOf(await send(app.port, request)) === 'replay-unavailable');
    expect(countRuns() - before).toBe(1);
  });

  test('a stream longer than the lease begins to pass through', async () => {
    const request = { path: '/responses/slow-stream', key: randomUUID() };
    const first = await send(app.port, request);
    expect(first.body.toString()).toBe('part 0;part 1;part 2;part 3;part 4;');
    const second = await send(app.port, request);
    expect([second.status, codeOf(second)]).toEqual([409, 'replay-unavailable']);
  });

  test('a response that cannot be packed is sent, and not again', async () => {
    const request = { path: '/responses/unpackable', key: randomUUID() };
    expect((await send(app.port, request)).body.toString()).toBe('sent all the same');
    expect(codeOf(await send(app.port, request))).toBe('replay-unavailable');
    expect(app.log.toString()).toContain('ERROR POST /responses/unpackable: the response cannot be kept');
  });

  test('a stream that breaks off leaves no hanging key', async () => {
    const request = { path: '/responses/pipeline-failing', key: randomUUID() };
    const before = countRuns();
    await expect(send(app.port, request)).rejects.toThrow('closed');
    // Node reports the end of the connection, and the pipeline is given a moment to answer after that.
    let second = await send(app.port, request);
    for (let tries = 0; codeOf(second) === 'in-progress' && tries < 40; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      second = await send(app.port, request);
    }
    expect([second.status, codeOf(second)]).toEqual([409, 'replay-unavailable']);
    expect(countRuns() - before).toBe(1);
  });
});
