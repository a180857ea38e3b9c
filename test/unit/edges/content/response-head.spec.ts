import { IncomingMessage, type OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import {
  headSince,
  isOfExchange,
  packHead,
  restoreHead,
  unpackHead,
} from '../../../../lib/edges/content/response-head.js';
import { UnreadableRecordError } from '../../../../lib/engine/errors.js';
import { resetHeaders } from '../../../../lib/edges/http/write-response.js';

function aResponse(headers: OutgoingHttpHeaders = {}): ServerResponse {
  const response = new ServerResponse(new IncomingMessage(new Socket()));
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value!);
  return response;
}

const ALL = { include: undefined, exclude: new Set<string>() };

const EXCHANGE = `
  x-request-id request-id x-req-id x-amzn-requestid x-amz-request-id x-ms-client-request-id
  x-correlation-id correlationid x-acme-correlation-id x-trace-id x-b3-spanid x-amzn-trace-id
  traceparent tracestate traceresponse b3 uber-trace-id x-cloud-trace-context sentry-trace ratelimit
  ratelimit-policy ratelimit-limit x-ratelimit-reset x-ratelimit-limit-short x-rate-limit-remaining
  retry-after-short server-timing x-response-time cf-ray
`
  .trim()
  .split(/\s+/);
const OUTCOME = `
  x-payment-request-id x-transaction-id location etag cache-control retry-after link vary
  access-control-allow-origin x-rates x-limit content-security-policy x-tracking-number x-id
`
  .trim()
  .split(/\s+/);

describe('what belongs to one exchange', () => {
  test.each(EXCHANGE)('%s: is not stored, and stays as the present exchange has set it', (name) => {
    expect(isOfExchange(name)).toBe(true);
    const inside = aResponse({ [name]: 'first' });
    expect(headSince(inside, {}, ALL)).toEqual({ headers: [] });
    expect(headSince(inside, { [name]: 'middleware' }, ALL)).toEqual({ headers: [] });
    expect(headSince(aResponse(), { [name]: 'middleware' }, ALL)).toEqual({ headers: [] });
    // An earlier version stored it.
    const present = aResponse({ [name]: 'present' });
    restoreHead(present, { headers: [[name, 'first']] });
    expect(present.getHeader(name)).toBe('present');
  });

  test('is stored where it is included by name', () => {
    const include = new Set(['x-request-id']);
    expect(headSince(aResponse({ 'X-Request-Id': '1' }), {}, { ...ALL, include }).headers).toEqual([
      ['X-Request-Id', '1'],
    ]);
  });

  test('stays when the headers of a handler are taken back', () => {
    const before = { 'x-request-id': 'middleware', 'x-before': '1' };
    const response = aResponse({
      ...before,
      'x-request-id': 'inside',
      ratelimit: '9',
      'x-handler': '1',
      'Set-Cookie': 'a',
    });
    resetHeaders(response, before);
    expect(response.getHeaders()).toEqual({ 'x-before': '1', 'x-request-id': 'inside', ratelimit: '9' });
  });

  test('so may a cookie', () => {
    const response = aResponse({ 'Set-Cookie': ['a'], 'x-handler': '1' });
    resetHeaders(response, { 'set-cookie': ['before'] }, 'set-cookie');
    expect(response.getHeaders()).toEqual({ 'set-cookie': ['a'] });
    resetHeaders(response, { 'set-cookie': ['before'] });
    expect(response.getHeaders()).toEqual({ 'set-cookie': ['before'] });
  });
});

test.each(OUTCOME)('%s belongs to the outcome', (name) => {
  expect(isOfExchange(name)).toBe(false);
  expect(headSince(aResponse({ [name]: 'x' }), {}, ALL).headers).toEqual([[name, 'x']]);
});

test.each(['retry-after', 'access-control-allow-origin', 'access-control-expose-headers'])(
  '%s of the present exchange is kept, and else that of the outcome replayed',
  (name) => {
    const present = aResponse({ [name]: 'present' });
    restoreHead(present, { headers: [[name, 'stored']] });
    expect(present.getHeader(name)).toBe('present');
    const bare = aResponse();
    restoreHead(bare, { headers: [[name, 'stored']] });
    expect(bare.getHeader(name)).toBe('stored');
  },
);

test.each([
  ['Origin', 'Accept-Language, Origin', 'Accept-Language, Origin'],
  ['Origin', 'Accept-Language', 'Accept-Language, Origin'],
  [['Origin', 'Accept'], ['accept'], 'accept, Origin'],
  [undefined, ['accept', 'origin'], ['accept', 'origin']],
])('Vary: %j here and %j there', (here, there, both) => {
  const present = aResponse(here === undefined ? {} : { Vary: here });
  restoreHead(present, { headers: [['Vary', there]] });
  expect(present.getHeader('vary')).toEqual(both);
});

test('other headers of the outcome replace those that middleware has set', () => {
  const present = aResponse({ 'Cache-Control': 'no-store', 'X-Gone': '1' });
  restoreHead(present, { headers: [['Cache-Control', 'private']], removed: ['x-gone'] });
  expect(present.getHeaders()).toEqual({ 'cache-control': 'private' });
});

describe('a stored head', () => {
  test('is read as it was written', () => {
    const head = {
      headers: [
        ['X-A', '1'],
        ['X-B', ['2', '3']],
      ],
      removed: ['x-c'],
      statusMessage: 'Fine',
    } as const;
    expect(unpackHead(packHead(head as never))).toEqual(head);
    expect(unpackHead(null)).toEqual({ headers: [] });
  });

  test('has neither a list of removed headers nor a message where there are none', () => {
    expect(headSince(aResponse(), {}, ALL)).toEqual({ headers: [] });
    expect(Object.keys(headSince(aResponse(), {}, ALL))).toEqual(['headers']);
    const silent = aResponse({ 'X-A': '1' });
    restoreHead(silent, { headers: [] });
    expect(silent.getHeaders()).toEqual({ 'x-a': '1' });
  });

  test.each([
    ['no JSON', 'no JSON'],
    ['no headers', '{}'],
    ['headers that are no list', '{"headers":"X-A"}'],
    ['a line that is no list', '{"headers":["ab"]}'],
    ['a name that node refuses', '{"headers":[["a b","1"]]}'],
    ['a value that is no text', '{"headers":[["X-A",1]]}'],
    ['a value that node refuses', '{"headers":[["X-A","a\\nb"]]}'],
    ['one of several values that node refuses', '{"headers":[["X-A",["1","a\\nb"]]]}'],
    ['removed headers that are no list', '{"headers":[],"removed":"x-a"}'],
    ['a removed name that node refuses', '{"headers":[],"removed":["a b"]}'],
    ['a message that is no text', '{"headers":[],"statusMessage":1}'],
    ['a message that node refuses', '{"headers":[],"statusMessage":"a\\nb"}'],
  ])('with %s cannot be read', (_what, text) => {
    const read = () => unpackHead(Buffer.from(text));
    expect(read).toThrow(UnreadableRecordError);
    expect(read).toThrow(expect.objectContaining({ cause: expect.any(Error) }));
  });
});

test('names are remembered up to a number, and read as before beyond it', () => {
  const names = Array.from({ length: 2_000 }, (_, n) => `X-Trace-${n}-Id`);
  for (let round = 0; round < 2; round++) {
    expect(names.filter((name) => isOfExchange(name.toLowerCase()))).toEqual([]);
    expect(isOfExchange('x-trace-id')).toBe(true);
  }
});
