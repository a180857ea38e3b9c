import { randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, countRuns, isReplay } from './support/cases.js';
import { useParsers } from './support/parsers.js';
import { type RawRequest, send } from './support/raw-http.js';
import { RequestFingerprintsController } from './support/request-fingerprints.controller.js';

const json = (body: string): Partial<RawRequest> => ({ headers: { 'Content-Type': 'application/json' }, body });
const typed = (type: string, body: string | Uint8Array): Partial<RawRequest> => ({
  headers: { 'Content-Type': type },
  body,
});

/** The same request, spelt in two ways. */
const SAME: [name: string, path: string, first: Partial<RawRequest>, second: Partial<RawRequest>][] = [
  ['a path parameter', 'echo/7', {}, {}],
  ['a path parameter, coded', 'echo/a%20b', {}, { path: '/requests/echo/a%20b' }],
  ['the path in another case', 'echo/7', {}, { path: '/REQUESTS/Echo/7' }],
  ['the path with a slash behind', 'echo/7', {}, { path: '/requests/echo/7/' }],
  ['the query in another order', 'echo/7?a=1&b=2', {}, { path: '/requests/echo/7?b=2&a=1' }],
  ['the query in another coding', 'echo/7?a=x%20y', {}, { path: '/requests/echo/7?a=x+y' }],
  ['members of JSON in another order', 'json', json('{"a":1,"b":{"c":2,"d":3}}'), json('{"b":{"d":3,"c":2},"a":1}')],
  ['numbers spelt otherwise', 'json', json('{"a":1,"b":100}'), json('{"a":1.0,"b":1e2}')],
  ['white space in JSON', 'json', json('{"a":[1,2]}'), json(' { "a" : [ 1,\n2 ] } ')],
  ['escapes in JSON', 'json', json('{"a":"é/"}'), json('{"a":"\\u00e9\\/"}')],
  ['half a surrogate pair in JSON', 'json', json('{"a":"\\ud800","b":1}'), json('{"b":1,"a":"\\ud800"}')],
  ['a number beyond a double', 'json', json('{"b":1,"a":1e400}'), json('{"a":1e400,"b":1}')],
  [
    'JSON nested 10,000 deep',
    'json',
    json(`${'['.repeat(1e4)}${']'.repeat(1e4)}`),
    json(`${'['.repeat(1e4)}${']'.repeat(1e4)}`),
  ],
  ['an array', 'json', json('[1,{"a":2}]'), json('[1, {"a": 2}]')],
  ['an empty object', 'json', json('{}'), json('{ }')],
  ['no body', 'json', {}, {}],
  ['a body of no bytes', 'json', { headers: { 'Content-Length': '0' } }, { headers: { 'Content-Length': '0' } }],
  [
    'no bytes of a form, announced or not',
    'json',
    { headers: { 'Content-Type': 'application/x-www-form-urlencoded', 'Content-Length': '0' } },
    { headers: { 'Content-Type': 'application/x-www-form-urlencoded' } },
  ],
  ['another charset parameter', 'json', json('{"a":1}'), typed('application/json; charset=utf-8', '{"a":1}')],
  [
    'JSON in chunks',
    'json',
    json('{"a":1}'),
    {
      headers: { 'Content-Type': 'application/json', 'Transfer-Encoding': 'chunked' },
      body: '4\r\n{"a"\r\n3\r\n:1}\r\n0\r\n\r\n',
    },
  ],
  [
    'JSON that is gzipped',
    'json',
    json('{"a":1}'),
    { headers: { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }, body: gzipSync('{"a":1}') },
  ],
  ['text', 'json', typed('text/plain', 'some text'), typed('text/plain', 'some text')],
  [
    'a form',
    'json',
    typed('application/x-www-form-urlencoded', 'a=1&b=2'),
    typed('application/x-www-form-urlencoded', 'b=2&a=1'),
  ],
  [
    'bytes that were parsed',
    'json',
    typed('application/x-parsed', Buffer.from([0, 255])),
    typed('application/x-parsed', Buffer.from([0, 255])),
  ],
  [
    'bytes that the handler reads',
    'stream',
    typed('application/octet-stream', Buffer.from([0, 255])),
    typed('application/octet-stream', Buffer.from([0, 255])),
  ],
  [
    'bytes that no handler reads',
    'unread',
    typed('application/octet-stream', 'abc'),
    typed('application/octet-stream', 'abc'),
  ],
  [
    'members that are ignored',
    'partly',
    { body: { a: 1, sentAt: 1, client: { try: 1 } } },
    { body: { a: 1, sentAt: 2, client: { try: 2 } } },
  ],
  ['no fingerprint', 'unlike', { body: { a: 1 } }, { body: { a: 2 } }],
  [
    'no fingerprint, and bytes that no handler reads',
    'unlike',
    typed('application/octet-stream', 'a'),
    typed('application/octet-stream', 'b'),
  ],
  ['a fingerprint of its own', 'own-fingerprint', { body: { order: 1, at: 1 } }, { body: { order: 1, at: 2 } }],
  ['methods of one route', 'any', { method: 'PUT' }, { method: 'PUT' }],
];

/** Another request. */
const OTHER: typeof SAME = [
  ['another path parameter', 'echo/7', {}, { path: '/requests/echo/8' }],
  ['a path parameter in another case', 'echo/a', {}, { path: '/requests/echo/A' }],
  ['another query', 'echo/7?a=1', {}, { path: '/requests/echo/7?a=2' }],
  ['a query more', 'echo/7', {}, { path: '/requests/echo/7?a=1' }],
  ['values of the query in another order', 'echo/7?a=1&a=2', {}, { path: '/requests/echo/7?a=2&a=1' }],
  ['another value', 'json', json('{"a":1}'), json('{"a":2}')],
  ['a number as text', 'json', json('{"a":1}'), json('{"a":"1"}')],
  ['null instead of nothing', 'json', json('{"a":1}'), json('{"a":1,"b":null}')],
  ['an array in another order', 'json', json('[1,2]'), json('[2,1]')],
  ['another half of a surrogate pair', 'json', json('{"a":"\\ud800"}'), json('{"a":"\\ud801"}')],
  ['another number beyond a double', 'json', json('{"a":1e400}'), json('{"a":-1e400}')],
  ['a number beyond a double, and null', 'json', json('{"a":1e400}'), json('{"a":null}')],
  ['a member named __proto__', 'json', json('{"a":1}'), json('{"a":1,"b":{"proto":2}}')],
  ['no body', 'json', json('{"a":1}'), {}],
  ['another media type', 'json', typed('text/plain', 'a=1'), typed('application/x-www-form-urlencoded', 'a=1')],
  ['other text', 'json', typed('text/plain', 'some text'), typed('text/plain', 'some other')],
  [
    'another form',
    'json',
    typed('application/x-www-form-urlencoded', 'a=1'),
    typed('application/x-www-form-urlencoded', 'a=2'),
  ],
  [
    'other bytes that were parsed',
    'json',
    typed('application/x-parsed', Buffer.from([0])),
    typed('application/x-parsed', Buffer.from([1])),
  ],
  [
    'other bytes that the handler reads',
    'stream',
    typed('application/octet-stream', 'a'),
    typed('application/octet-stream', 'b'),
  ],
  [
    'other bytes that no handler reads',
    'unread',
    typed('application/octet-stream', 'a'),
    typed('application/octet-stream', 'b'),
  ],
  ['bytes of another type', 'unread', typed('application/octet-stream', 'a'), typed('application/x-other', 'a')],
  ['another member than the ignored', 'partly', { body: { a: 1, sentAt: 1 } }, { body: { a: 2, sentAt: 1 } }],
  ['a header that counts', 'partly', { headers: { 'X-Mode': 'a' } }, { headers: { 'X-Mode': 'b' } }],
  ['another fingerprint of its own', 'own-fingerprint', { body: { order: 1 } }, { body: { order: 2 } }],
];

describe.each(PLATFORMS)('which requests are the same, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, {
      controllers: [RequestFingerprintsController],
      adapter: platform === 'fastify' ? lenientRouter() : undefined,
      configure: useParsers,
    });
  });
  afterAll(() => app?.close());

  test.each(SAME)('the same: %s', async (_name, path, first, second) => {
    const key = randomUUID();
    const before = countRuns();
    const one = await send(app.port, { path: `/requests/${path}`, key, ...first });
    const two = await send(app.port, { path: `/requests/${path}`, key, ...second });
    expect([Math.trunc(one.status / 100), isReplay(one)]).toEqual([2, false]);
    expect([two.status, isReplay(two), two.body.toString()]).toEqual([one.status, true, one.body.toString()]);
    expect(countRuns() - before).toBe(1);
  });

  test.each(OTHER)('not the same: %s', async (_name, path, first, second) => {
    const key = randomUUID();
    const before = countRuns();
    const one = await send(app.port, { path: `/requests/${path}`, key, ...first });
    const two = await send(app.port, { path: `/requests/${path}`, key, ...second });
    expect([Math.trunc(one.status / 100), isReplay(one)]).toEqual([2, false]);
    expect([two.status, codeOf(two)]).toEqual([422, 'key-reused']);
    expect(countRuns() - before).toBe(1);
  });

  test('other methods of a route are other operations', async () => {
    const key = randomUUID();
    const [post, put] = [
      await send(app.port, { path: '/requests/any', key }),
      await send(app.port, { path: '/requests/any', key, method: 'PUT' }),
    ];
    expect([post.status, put.status, isReplay(put)]).toEqual([200, 200, false]);
    expect(put.body.equals(post.body)).toBe(false);
  });

  test.each(['GET', 'HEAD', 'OPTIONS'])('%s is never touched', async (method) => {
    const key = randomUUID();
    const before = countRuns();
    for (let n = 0; n < 2; n++) {
      const answer = await send(app.port, { path: '/requests/any', method, key });
      expect([answer.status, isReplay(answer)]).toEqual([200, false]);
    }
    expect(countRuns() - before).toBe(2);
    expect((await send(app.port, { path: '/requests/any', method })).status).toBe(200);
  });
});

function lenientRouter(): FastifyAdapter {
  return new FastifyAdapter({ routerOptions: { caseSensitive: false, ignoreTrailingSlash: true } });
}
