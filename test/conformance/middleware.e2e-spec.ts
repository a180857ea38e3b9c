import { randomUUID } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import compress from '@fastify/compress';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import compression from 'compression';
import helmet from 'helmet';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { checkReplay, codeOf, comparable, countRuns, isReplay } from './support/cases.js';
import { logged, MiddlewareController } from './support/middleware.controller.js';
import { requestIds, sessions } from './support/middleware.js';
import { type RawAnswer, type RawRequest, send, valueOf } from './support/raw-http.js';

const controllers = [MiddlewareController];
const GZIP = { 'Accept-Encoding': 'gzip' };

/** The body as the client sees it in the end. */
function textOf({ head, body }: RawAnswer): string {
  return (valueOf(head, 'content-encoding') === 'gzip' ? gunzipSync(body) : body).toString();
}

describe.each(PLATFORMS)('middleware and interceptors, on %s', (platform) => {
  let plain: RunningApp;
  let dressed: RunningApp;
  let saved: RunningApp;

  beforeAll(async () => {
    [plain, dressed, saved] = await Promise.all([
      startApp(platform, { controllers }),
      startApp(platform, {
        controllers,
        configure: async (app) => {
          app.use(requestIds);
          app.use(helmet());
          if (platform === 'express') app.use(compression({ threshold: 1_000 }));
          else await (app as NestFastifyApplication).register(compress as never, { threshold: 1_000 } as never);
          app.enableCors({ origin: true, credentials: true, exposedHeaders: ['X-Request-Id'] });
        },
      }),
      startApp(platform, { controllers, configure: (app) => void app.use(sessions) }),
    ]);
  });
  afterAll(() => Promise.all([plain?.close(), dressed?.close(), saved?.close()]));

  const twice = async ({ port }: RunningApp, path: string, first: Partial<RawRequest>, second = first) => {
    const key = randomUUID();
    const before = countRuns();
    const answers = [
      await send(port, { path: `/middleware/${path}`, key, ...first }),
      await send(port, { path: `/middleware/${path}`, key, ...second }),
    ];
    expect(answers.map(isReplay)).toEqual([false, true]);
    expect(countRuns() - before).toBe(1);
    return answers;
  };

  test('a cookie is set once, and other headers again', async () => {
    const [first, second] = await checkReplay(plain, { name: '', path: '/middleware/cookie', status: 201 });
    expect([valueOf(first.head, 'set-cookie'), valueOf(second.head, 'set-cookie')]).toEqual([
      expect.stringMatching(/^session=[-\w]+; HttpOnly$/),
      undefined,
    ]);
    expect(valueOf(second.head, 'x-kept')).toBe(valueOf(first.head, 'x-kept'));
  });

  test('an ETag is the same', async () => {
    const [first] = await checkReplay(plain, { name: '', path: '/middleware/plain', status: 201 });
    if (platform === 'express') expect(valueOf(first.head, 'etag')).toMatch(/^W\//);
  });

  test('a request id is that of the request', async () => {
    const [first, second] = await twice(dressed, 'short', {});
    const [one, two] = [first, second].map(({ head }) => valueOf(head, 'x-request-id'));
    expect([one, two]).toEqual([expect.stringMatching(/^[-\w]{36}$/), expect.stringMatching(/^[-\w]{36}$/)]);
    expect(two).not.toBe(one);
    expect(comparable(second, ['x-request-id'])).toEqual(comparable(first, ['x-request-id']));
  });

  test('security headers are there once', async () => {
    for (const { head } of await twice(dressed, 'short', {})) {
      expect(head.filter((line) => /^content-security-policy:/i.test(line))).toHaveLength(1);
      expect(valueOf(head, 'x-content-type-options')).toBe('nosniff');
    }
  });

  test('CORS headers are those of the origin that asks', async () => {
    const origins = ['https://one.example', 'https://two.example'];
    const answers = await twice(
      dressed,
      'short',
      { headers: { Origin: origins[0] } },
      { headers: { Origin: origins[1] } },
    );
    expect(answers.map(({ head }) => valueOf(head, 'access-control-allow-origin'))).toEqual(origins);
    expect(answers.map(({ head }) => valueOf(head, 'access-control-expose-headers'))).toEqual(
      Array(2).fill('X-Request-Id'),
    );
  });

  test('a CORS preflight is not touched', async () => {
    const headers = {
      Origin: 'https://one.example',
      'Access-Control-Request-Method': 'POST',
      'Access-Control-Request-Headers': 'idempotency-key',
    };
    const answer = await send(dressed.port, { method: 'OPTIONS', path: '/middleware/short', headers });
    expect([answer.status, isReplay(answer)]).toEqual([204, false]);
    expect(valueOf(answer.head, 'access-control-allow-headers')).toBe('idempotency-key');
  });

  test('CORS and security headers are on problems too', async () => {
    const answer = await send(dressed.port, { path: '/middleware/short', headers: { Origin: 'https://one.example' } });
    expect([answer.status, codeOf(answer)]).toEqual([400, 'key-missing']);
    expect(valueOf(answer.head, 'access-control-allow-origin')).toBe('https://one.example');
    expect(valueOf(answer.head, 'x-content-type-options')).toBe('nosniff');
  });

  test.each([
    ['on both', GZIP, GZIP, ['gzip', 'gzip']],
    ['on the first alone', GZIP, {}, ['gzip', undefined]],
    // What went over the wire was plain. Fastify's hooks have no part in the bytes of a replay.
    ['on the replay alone', {}, GZIP, [undefined, platform === 'express' ? 'gzip' : undefined]],
    ['on neither', {}, {}, [undefined, undefined]],
  ])('compression %s: every client can read its answer', async (_on, one, two, codings) => {
    const [first, second] = await twice(dressed, 'plain', { headers: one }, { headers: two });
    expect([first, second].map(({ head }) => valueOf(head, 'content-encoding'))).toEqual(codings);
    expect(textOf(first)).toMatch(/^{"id":"[-\w]+","text":"compressible /);
    expect(textOf(second)).toBe(textOf(first));
  });

  test.each(['short', 'nothing', 'native'])('middleware that sends later: %s', async (path) => {
    const [first, second] = await twice(saved, path, {});
    expect(comparable(second)).toEqual(comparable(first));
    const cookies = [first, second].map(({ head }) => valueOf(head, 'set-cookie'));
    expect(cookies).toEqual(Array(2).fill(expect.stringMatching(/^sid=/)));
    expect(cookies[1]).not.toBe(cookies[0]);
  });

  test.each(['envelope-outside', 'envelope-inside'])('%s: wrapped once', async (path) => {
    const [first] = await checkReplay(plain, { name: '', path: `/middleware/${path}`, status: 201 });
    expect(JSON.parse(first.body.toString())).toEqual({
      data: { id: expect.any(String) },
      wrapped: expect.any(String),
    });
  });

  test('a header that an outer interceptor sets is replayed as it was', async () => {
    const [first] = await checkReplay(plain, { name: '', path: '/middleware/header-after', status: 201 });
    expect(valueOf(first.head, 'x-took')).toMatch(/^[-\w]{36}$/);
  });

  test.each(['short', 'native', 'nothing'])(
    'an outer interceptor that logs completes on a replay: %s',
    async (path) => {
      logged.length = 0;
      const [first] = await twice(plain, path, {});
      const value = path === 'short' ? first.body.toString() : undefined;
      expect(logged.filter((line) => !line.startsWith('value'))).toEqual(['begun', 'completed', 'begun', 'completed']);
      if (value) expect(logged.filter((line) => line.startsWith('value'))).toEqual(Array(2).fill(`value ${value}`));
    },
  );

  test.each([
    ['JSON is what it says', 'json', '{"type":"about:blank"}'],
    ['text is not read as JSON', 'text', undefined],
    ['JSON that is none is not read', 'no-json', undefined],
  ])('what outer interceptors see of a replay: %s', async (_what, path, value) => {
    await twice(plain, path, {});
    logged.length = 0;
    const [, replay] = await twice(plain, path, {});
    expect([replay.status, logged.at(-2), logged.at(-1)]).toEqual([201, `value ${value}`, 'completed']);
  });

  test('headers that are excluded are not replayed', async () => {
    const [first, second] = await twice(plain, 'excluded', {});
    expect([valueOf(first.head, 'x-secret'), valueOf(second.head, 'x-secret')]).toEqual(['once', undefined]);
    expect(valueOf(second.head, 'x-public')).toBe('always');
  });

  test('headers that are not included are not replayed', async () => {
    const [first, second] = await twice(plain, 'included', {});
    expect([valueOf(first.head, 'x-secret'), valueOf(second.head, 'x-secret')]).toEqual(['once', undefined]);
    expect(valueOf(second.head, 'x-public')).toBe('always');
    expect(valueOf(second.head, 'content-type')).toBe(valueOf(first.head, 'content-type'));
  });
});
