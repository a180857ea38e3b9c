import { IncomingMessage, type OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { ExecutionContext } from '@nestjs/common';
import { type Exchange, exchangeOf } from '../../../../lib/edges/http/exchange.js';

const contextOf = (...args: readonly unknown[]) => ({ getArgByIndex: (i: number) => args[i] }) as ExecutionContext;

function express(members: object = {}) {
  const request = Object.assign(
    new IncomingMessage(new Socket()),
    { method: 'POST', route: { path: '/a/:id' } },
    members,
  );
  const response = new ServerResponse(request);
  return { request, response, exchange: exchangeOf(contextOf(request, response))! };
}

/** Fastify keeps headers itself until it sends them. */
function fastify() {
  const raw = new IncomingMessage(new Socket());
  const response = new ServerResponse(raw);
  const headers: OutgoingHttpHeaders = {};
  const reply = {
    raw: response,
    statusCode: 202,
    getHeaders: () => ({ ...headers }),
    removeHeader: (name: string) => delete headers[name],
    header: (name: string, value: string) => (headers[name] = value),
    send: () => 'sent',
    view: () => 'rendered',
  };
  const request = { method: 'PUT', headers: {}, raw, routeOptions: { url: '/b/:id' } };
  return { request, raw, response, reply, headers, exchange: exchangeOf(contextOf(request, reply))! };
}

describe('an exchange', () => {
  const request = { headers: {} };
  test.each([
    ['without a request', [undefined, {}]],
    ['without a response', [request, undefined]],
    ['with null', [null, null]],
    ['whose arguments are no objects', ['a', 'b']],
    ['of GraphQL, whose arguments have no headers', [{}, {}]],
    ['whose arguments are one object', [request, request]],
  ])('is none %s', (_, args) => expect(exchangeOf(contextOf(...args))).toBeUndefined());

  test('on Express has the method, the route and the status', () => {
    const { request, response, exchange } = express();
    response.statusCode = 202;
    response.setHeader('X-A', '1');
    expect([exchange.method, exchange.endpoint, exchange.status]).toEqual(['POST', 'POST /a/:id', 202]);
    expect([exchange.rawRequest, exchange.rawResponse, exchange.reply]).toEqual([request, response, undefined]);
    expect({ ...exchange.headers() }).toEqual({ 'x-a': '1' });
  });

  test('on Express is that, even where middleware keeps the bytes of the body as `raw`', () => {
    expect(express({ raw: Buffer.from('a') }).exchange.endpoint).toBe('POST /a/:id');
  });

  test('on Fastify has the method, the route and the status', () => {
    const { raw, response, reply, exchange, headers } = fastify();
    response.setHeader('X-A', '1');
    headers['x-b'] = '2';
    expect([exchange.method, exchange.endpoint, exchange.status]).toEqual(['PUT', 'PUT /b/:id', 202]);
    expect([exchange.rawRequest, exchange.rawResponse, exchange.reply]).toEqual([raw, response, reply]);
    expect(exchange.headers()).toEqual({ 'x-a': '1', 'x-b': '2' });
  });
});

describe('a response that another one takes the place of', () => {
  const before = { 'x-before': 'kept', 'x-removed': 'again' };
  const change = (exchange: Exchange) => {
    const { rawResponse } = exchange;
    rawResponse.setHeader('X-Before', 'changed');
    rawResponse.setHeader('X-New', '1');
    rawResponse.setHeader('Set-Cookie', 'a=b');
    Object.assign(rawResponse, { statusCode: 404, statusMessage: 'Gone' });
    exchange.reopen(before);
    return [rawResponse.statusCode, rawResponse.statusMessage, { ...rawResponse.getHeaders() }];
  };

  test('on Express has the headers from before it', () => {
    expect(change(express().exchange)).toEqual([200, '', before]);
  });

  test('on Fastify has them too, and the cookies of guards, which no hook writes again', () => {
    const { exchange, headers } = fastify();
    headers['x-new'] = '1';
    expect(change(exchange)).toEqual([200, '', { ...before, 'set-cookie': 'a=b' }]);
    expect(headers).toEqual({ ...before, 'set-cookie': 'a=b' });
  });
});

describe('the reply of the platform, after the response was written', () => {
  test('on Express changes no status and renders nothing', () => {
    const { response, exchange } = express();
    exchange.suppressFrameworkReply();
    const suppressed: object = response;
    expect((suppressed as { status(code: number): unknown }).status(404)).toBe(response);
    expect(response.statusCode).toBe(200);
    expect((suppressed as { render(view: string): unknown }).render('a')).toBeUndefined();
  });

  test('on Fastify sends and renders nothing', () => {
    const { reply, exchange } = fastify();
    exchange.suppressFrameworkReply();
    expect([reply.send(), reply.view()]).toEqual([reply, reply]);
  });
});
