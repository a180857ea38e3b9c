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

describe('the description of a named operation', () => {
  const where = async (params: unknown) => {
    const described = await describeRequest(exchange({ params }), {}, { named: 'pay\nPUT', version: '2' });
    return described.fingerprint.split('\n').slice(0, 4);
  };

  it.each([
    ['no parameters', undefined, '{}'],
    ['null', null, '{}'],
    ['an empty object', {}, '{}'],
    ['the values of parameters, whatever their names', { id: '7', of: 'a' }, '["7","a"]'],
    ['none of those that are absent', { id: undefined, of: 'a' }, '["a"]'],
    ['only those that are absent', { id: undefined }, '{}'],
    ['the rest of a path as Express has it', { rest: ['a', 'b'] }, '["a/b"]'],
    ['the rest of a path as Fastify has it', { '*': 'a/b' }, '["a/b"]'],
    ['a part of it that has a slash', { rest: ['a/b'] }, '[["a/b"]]'],
  ])('has its name instead of the route, and %s', async (_, params, text) => {
    expect(await where(params)).toEqual(['v1', 'pay', 'PUT', text]);
  });
});

describe('the query of a request', () => {
  const queryOf = async (query: string, options: object = {}) => {
    const rawRequest = { url: `/payments/7?${query}`, readableDidRead: true };
    const described = await describeRequest(exchange({}, { rawRequest }), options, { version: '' });
    return described.fingerprint.split('\n')[4];
  };

  it.each([
    ['is sorted by name', 'b=1&a=2', {}, 'a=2&b=1'],
    ['is decoded', 'a=%41', {}, 'a=A'],
    ['is without what is ignored', 'a=1&at=2', { ignore: ['?at'] }, 'a=1'],
    ['is what is chosen alone', 'a=1&b=2', { only: ['?a'] }, 'a=1'],
    ['is whole where only members of the body are chosen', 'a=1&b=2', { only: ['/c'] }, 'a=1&b=2'],
    ['is what is chosen and not ignored', 'a=1&b=2', { only: ['?a', '?b'], ignore: ['?b'] }, 'a=1'],
  ])('%s', async (_, query, options, text) => expect(await queryOf(query, options)).toBe(text));

  it('counts as sent where its bytes are no UTF-8', async () => {
    expect(await queryOf('a=caf%E9')).toBe('a=caf%EF%BF%BD#a=caf%E9');
    expect(await queryOf('b=1&a=caf%E8&c=%E9')).toBe('a=caf%EF%BF%BD&b=1&c=%EF%BF%BD#a=caf%E8&c=%E9');
  });

  it('counts as sent only where it is compared', async () => {
    expect(await queryOf('a=%EF%BF%BD&b=caf%E9', { ignore: ['?b'] })).toBe('a=%EF%BF%BD');
    expect(await queryOf('a=%EF%BF%BD&%E9', { ignore: ['?b'] })).toBe('a=%EF%BF%BD&%EF%BF%BD=#%E9');
  });

  it('may have U+FFFD itself', async () => expect(await queryOf('a=%EF%BF%BD')).toBe('a=%EF%BF%BD'));
});

describe('an upload', () => {
  const descriptionOf = (request: object, more: object = {}) =>
    Promise.resolve(describeRequest(exchange(request, more), {}, { version: '' }));
  const lastLines = (text: string, count: number) => text.split('\n').slice(-count);

  it('that the handler reads is described by its name and the other fields', async () => {
    const stream = new PassThrough();
    const file = { stream, fieldname: 'scan', originalname: 'a.png', mimetype: 'image/png' };
    const description = '{"field":"scan","name":"a.png","type":"image/png"}';
    const described = await descriptionOf({ file, body: { a: '1' } });
    expect(lastLines(described.fingerprint, 2)).toEqual([`stream ${description}`, 'json {"a":"1"}']);
    expect(described.stream).toBe(stream);
    const alone = await descriptionOf({ file: { ...file, stream: new PassThrough() } });
    expect(lastLines(alone.fingerprint, 1)).toEqual(['json {}']);
  });

  it('that was read earlier and not kept is not described whole', async () => {
    const headers = { 'content-type': 'multipart/form-data; boundary=x' };
    const kept = { fieldname: 'scan', buffer: Buffer.from('abc') };
    expect((await descriptionOf({ headers, file: { fieldname: 'scan' } })).isIncomplete).toBe(true);
    expect((await descriptionOf({ headers, file: kept })).isIncomplete).toBe(false);
    expect((await descriptionOf({ headers, body: { a: '1' } })).isIncomplete).toBe(false);
  });

  it('with fields that its package keeps elsewhere has them', async () => {
    const headers = { 'content-type': 'multipart/form-data; boundary=x' };
    const file = { fieldname: 'scan', buffer: Buffer.from('abc') };
    const described = await descriptionOf({ headers, file, fields: { a: '1' } });
    expect(lastLines(described.fingerprint, 2)[0]).toBe('json {"a":"1"}');
  });

  it.each([
    [
      'is not described whole where a body was announced and nothing kept of it',
      { 'content-length': '3' },
      undefined,
      true,
    ],
    ['is whole where none was announced', {}, undefined, false],
    ['is whole where it is null', { 'content-length': '4' }, null, false],
  ])('%s', async (_, headers, body, isIncomplete) => {
    expect((await descriptionOf({ headers, body })).isIncomplete).toBe(isIncomplete);
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
