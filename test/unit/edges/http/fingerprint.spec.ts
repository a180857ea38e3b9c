import { createHash } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { EventEmitter } from 'node:events';
import type { Exchange } from '../../../../lib/edges/http/exchange.js';
import { describeWithoutBody, describeRequest } from '../../../../lib/edges/http/fingerprint.js';

const sha256 = (text: string | Buffer) => createHash('sha256').update(text).digest('base64');

/** A request whose body was read, unless it comes as a stream. */
function exchange(request: object, more: object = {}): Exchange {
  return {
    method: 'POST',
    endpoint: 'POST /payments/:id',
    request: { headers: {}, ...request },
    rawRequest: { url: '/payments/7', readableDidRead: true },
    rawResponse: new EventEmitter(),
    ...more,
  } as unknown as Exchange;
}

/** Written out, as a request has to have the same description in every release, or its retry is taken for another. */
describe('the description of a request', () => {
  const lines = async (request: object, options: object = {}, more: object = {}, version = '') =>
    (await describeRequest(exchange(request, more), options, { version })).fingerprint.split('\n');

  it('has all that distinguishes it from others', async () => {
    const request = {
      headers: { 'content-type': ' Application/JSON ; charset=utf-8', 'x-tenant': 'acme' },
      params: { id: '7' },
      body: { b: 1, a: { d: 2, c: 3 } },
    };
    const more = { rawRequest: { url: '/payments/7?b=2&a=1&a=0', readableDidRead: true } };
    expect(await lines(request, { headers: ['x-tenant', 'x-none'] }, more, '2')).toEqual([
      'v1',
      'POST /payments/:id',
      '2',
      '{"id":"7"}',
      'a=1&a=0&b=2',
      'application/json',
      'x-tenant: acme',
      'x-none: ',
      '',
      'json {"a":{"c":3,"d":2},"b":1}',
    ]);
  });

  it.each([
    ['nothing', undefined, 'none'],
    ['null', null, 'none'],
    ['bytes', Buffer.from('abc'), `bytes ${sha256('abc')}`],
    ['text', 'abc', 'text abc'],
    ['a number', 7, 'json 7'],
    ['a list', [2, 1], 'json [2,1]'],
  ])('with a body of %s', async (_, body, text) => {
    const rawRequest = { url: undefined, readableDidRead: true };
    expect(await lines({ body }, {}, { rawRequest })).toEqual(['v1', 'POST /payments/:id', '', '{}', '', '', '', text]);
  });

  it('has a query where the path is nothing else', async () => {
    expect((await lines({}, {}, { rawRequest: { url: '?a=1', readableDidRead: true } }))[4]).toBe('a=1');
  });

  it('is without what is to be ignored, which is kept of it all the same', async () => {
    const body = { amount: 7, sentAt: 'now' };
    const headers = { 'content-type': 'application/json' };
    const described = await describeRequest(exchange({ body, headers }), { ignore: ['/sentAt'] }, { version: '' });
    expect(described.fingerprint).toMatch(/\njson {"amount":7}$/);
    expect(described).toMatchObject({ mediaType: 'application/json', content: body, json: undefined });
    const whole = await describeRequest(exchange({ body, headers }), {}, { version: '' });
    expect(whole.json).toBe('{"amount":7,"sentAt":"now"}');
    expect(whole.content).toBe(body);
  });

  it('describes the files of a form', async () => {
    const headers = { 'content-type': 'multipart/form-data; boundary=x' };
    const file = {
      fieldname: 'scan',
      originalname: 'a.png',
      mimetype: 'image/png',
      size: 3,
      buffer: Buffer.from('abc'),
    };
    const [text, files] = (await lines({ headers, body: { a: '1' }, file })).slice(-2);
    expect(text).toBe('json {"a":"1"}');
    expect(files).toBe(
      `files [{"field":"scan","name":"a.png","sha256":"${sha256('abc')}","size":3,"type":"image/png"}]`,
    );
    expect((await lines({ headers, body: { a: '1' } })).at(-1)).toBe('json {"a":"1"}');
    expect((await lines({ headers, body: null })).at(-1)).toBe('none');
    expect((await lines({ headers, body: 'raw' })).at(-1)).toMatch(/^form [\w+/]{43}=$/);
    // Not a form.
    expect((await lines({ headers: {}, body: { a: '1' }, file })).at(-1)).toBe('json {"a":"1"}');
  });
});

describe('a request described briefly', () => {
  it.each([
    ['an object', { a: 1 }, { a: 1 }],
    ['a list', [1], [1]],
    ['null', null, undefined],
    ['nothing', undefined, undefined],
    ['text', 'abc', undefined],
    ['bytes', Buffer.from('abc'), undefined],
    ['a stream', new PassThrough(), undefined],
  ])('with a body of %s', (_, body, content) => {
    const headers = { 'content-type': 'application/json; charset=utf-8' };
    expect(describeWithoutBody(exchange({ body, headers }))).toEqual({
      fingerprint: '',
      mediaType: 'application/json',
      content,
    });
  });

  it('keeps nothing of a form, which may hold files', () => {
    const headers = { 'content-type': 'multipart/form-data; boundary=x' };
    const mediaType = 'multipart/form-data';
    expect(describeWithoutBody(exchange({ body: { a: 1 }, headers }))).toEqual({
      fingerprint: '',
      mediaType,
      content: undefined,
    });
  });
});

describe('a body that is still to be read', () => {
  it('is no part of the text, and handed on with it', async () => {
    const stream = new PassThrough();
    const headers = { 'content-length': '3' };
    const described = await describeRequest(exchange({ headers }, { rawRequest: stream }), {}, { version: '' });
    expect(described.fingerprint.split('\n').at(-1)).toBe('stream');
    expect(described).toMatchObject({ stream, content: undefined });
  });
});
