import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import {
  discardWrites,
  interceptorOf,
  runOf,
  writeHandlerOf,
} from '../../../../lib/edges/http/response-interceptor.js';

const METHODS = [
  'write',
  'end',
  'writeHead',
  'flushHeaders',
  'setHeader',
  'setHeaders',
  'appendHeader',
  'removeHeader',
] as const;

const response = () => new ServerResponse(new IncomingMessage(new Socket()));

describe('an interceptor', () => {
  test('is one for a response', () => {
    const one = response();
    expect(interceptorOf(one)).toBe(interceptorOf(one));
    expect(interceptorOf(response())).not.toBe(interceptorOf(one));
  });

  test('has node’s methods', () => {
    const { original } = interceptorOf(response());
    for (const name of METHODS) expect(original[name]).toBe(ServerResponse.prototype[name]);
  });

  test('shares the methods of responses that nothing has wrapped', () => {
    expect(interceptorOf(response()).original).toBe(interceptorOf(response()).original);
  });

  test.each(METHODS)('has the %s of middleware that has wrapped it', (name) => {
    interceptorOf(response());
    const wrapped = response();
    const own = () => wrapped;
    Object.assign(wrapped, { [name]: own });
    const { original } = interceptorOf(wrapped);
    for (const method of METHODS) {
      expect(original[method]).toBe(method === name ? own : ServerResponse.prototype[method]);
    }
    // The next response is not that middleware's.
    expect(interceptorOf(response()).original[name]).toBe(ServerResponse.prototype[name]);
  });

  test('adds no setHeaders() where a response has none, as over HTTP/2', () => {
    const without = Object.setPrototypeOf({ write() {}, end() {} }, null) as ServerResponse;
    interceptorOf(without);
    expect('setHeaders' in without).toBe(false);
  });

  test('is not installed to ask for a handler or a run', () => {
    const plain = response();
    expect([writeHandlerOf(plain), runOf(plain)]).toEqual([undefined, undefined]);
    expect(Object.keys(plain)).not.toContain('write');
  });
});

describe('discarded writes', () => {
  test('call back, and are reported at the end', async () => {
    const calls: string[] = [];
    const discarded = response();
    discardWrites(discarded, () => calls.push('ended'));
    discarded.write('a', () => calls.push('written'));
    discarded.end('b', () => calls.push('called back'));
    expect(calls).toEqual(['ended']);
    await Promise.resolve();
    expect(calls).toEqual(['ended', 'written', 'called back']);
  });
});
