import { createHash } from 'node:crypto';
import { PassThrough, Readable } from 'node:stream';
import { EventEmitter } from 'node:events';
import type { Exchange } from '../../../lib/edges/http/exchange.js';
import { describeBriefly, describeRequest } from '../../../lib/edges/http/fingerprint.js';
import { digestUnread, unreadBodyOf } from '../../../lib/edges/http/unread-body.js';
import { describeFiles, withoutContent } from '../../../lib/edges/http/uploads.js';

const sha256 = (text: string | Buffer) => createHash('sha256').update(text).digest('base64');

/** A request whose body was read, unless it comes as a stream. */
function exchange(request: object, more: object = {}): Exchange {
  return {
    method: 'POST',
    endpoint: 'POST /payments/:id',
    version: '',
    request: { headers: {}, ...request },
    rawRequest: { url: '/payments/7', readableDidRead: true },
    rawResponse: new EventEmitter(),
    ...more,
  } as unknown as Exchange;
}

/** Written out, as a request has to have the same description in every release, or its retry is taken for another. */
describe('the description of a request', () => {
  const lines = async (request: object, options: object = {}, more: object = {}) =>
    (await describeRequest(exchange(request, more), options)).fingerprint.split('\n');

  it('has all that tells it from others', async () => {
    const request = {
      headers: { 'content-type': ' Application/JSON ; charset=utf-8', 'x-tenant': 'acme' },
      params: { id: '7' },
      body: { b: 1, a: { d: 2, c: 3 } },
    };
    const more = { version: '2', rawRequest: { url: '/payments/7?b=2&a=1&a=0', readableDidRead: true } };
    expect(await lines(request, { headers: ['x-tenant', 'x-none'] }, more)).toEqual([
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
    const described = await describeRequest(exchange({ body, headers }), { ignore: ['/sentAt'] });
    expect(described.fingerprint).toMatch(/\njson {"amount":7}$/);
    expect(described).toMatchObject({ mediaType: 'application/json', content: body, json: undefined });
    const whole = await describeRequest(exchange({ body, headers }), {});
    expect(whole.json).toBe('{"amount":7,"sentAt":"now"}');
    expect(whole.content).toBe(body);
  });

  it('tells of the files of a form', async () => {
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
    expect((await lines({ headers, body: 'raw' })).at(-1)).toBe('text raw');
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
    expect(describeBriefly(exchange({ body, headers }))).toEqual({
      fingerprint: '',
      mediaType: 'application/json',
      content,
    });
  });

  it('keeps nothing of a form, which may hold files', () => {
    const headers = { 'content-type': 'multipart/form-data; boundary=x' };
    const mediaType = 'multipart/form-data';
    expect(describeBriefly(exchange({ body: { a: 1 }, headers }))).toEqual({
      fingerprint: '',
      mediaType,
      content: undefined,
    });
  });
});

describe('a body that is still to be read', () => {
  const PEEK = 1_024 * 1_024;

  function unread(body: string | Buffer, headers: Record<string, string> = {}) {
    const stream = Readable.from([Buffer.from(body)], { objectMode: false });
    const rawResponse = new EventEmitter();
    const all = { 'content-length': String(Buffer.byteLength(body)), ...headers };
    return { stream, rawResponse, exchange: exchange({ headers: all }, { rawRequest: stream, rawResponse }) };
  }
  const digestOf = ({ stream, exchange: of }: ReturnType<typeof unread>) => digestUnread(stream, of);

  it('is found where there is one', () => {
    const stream = new PassThrough();
    const of = (headers: object, body?: unknown, rawRequest: object = stream) =>
      unreadBodyOf(exchange({ headers, body }, { rawRequest }));
    expect(of({ 'content-length': '3' })).toBe(stream);
    expect(of({ 'transfer-encoding': 'chunked' })).toBe(stream);
    expect(of({ 'transfer-encoding': 'chunked', 'content-length': '0' })).toBe(stream);
    expect(of({})).toBeUndefined();
    expect(of({ 'content-length': '0' })).toBeUndefined();
    const decompressed = new PassThrough();
    expect(of({ 'content-length': '3' }, decompressed)).toBe(decompressed);
    for (const state of ['readableDidRead', 'readableEnded', 'readableFlowing']) {
      expect(of({ 'content-length': '3' }, undefined, { [state]: true })).toBeUndefined();
    }
  });

  it('is part of the description, and stays to be read', async () => {
    const { stream, exchange: of } = unread('abc');
    const { fingerprint, content } = await describeRequest(of, {});
    expect(fingerprint.split('\n').at(-1)).toBe(`bytes ${sha256('abc')}`);
    expect(content).toBeUndefined();
    expect(Buffer.concat(await stream.toArray()).toString()).toBe('abc');
  });

  it('is told from another by its length, where it is long', async () => {
    const long = 'x'.repeat(PEEK + 100);
    const digest = await digestOf(unread(long));
    expect(await digestOf(unread(long))).toBe(digest);
    expect(digest).toBe(sha256(`${'x'.repeat(PEEK)}\n${long.length}`));
    expect(await digestOf(unread(`${long}x`))).not.toBe(digest);
    // What is not looked at makes no difference, and a length need not be told.
    expect(await digestOf(unread(`${long.slice(0, -1)}y`))).toBe(digest);
    const chunked = unread(long);
    delete (chunked.exchange.request.headers as Record<string, unknown>)['content-length'];
    expect(await digestOf(chunked)).toBe(sha256(`${'x'.repeat(PEEK)}\n`));
  });

  it.each([
    ['bare', 'multipart/form-data; boundary=%'],
    ['quoted', 'multipart/form-data; boundary="%"'],
    ['without a space', 'multipart/form-data;boundary=%'],
    ['after another parameter', 'multipart/form-data; charset=utf-8;  Boundary=%; x=1'],
  ])('has the same digest whatever its delimiter: %s', async (_, type) => {
    const body = (delimiter: string) => `--${delimiter}\r\none\r\n--${delimiter}\r\ntwo\r\n--${delimiter}--`;
    const digest = (delimiter: string) =>
      digestOf(unread(body(delimiter), { 'content-type': type.replace('%', delimiter) }));
    expect(await digest('aaa')).toBe(await digest('bbbbbb'));
    expect(await digest('aaa')).toBe(sha256('\0--\r\none\r\n\0--\r\ntwo\r\n\0----'));
    // Only what is one.
    const other = await digestOf(unread(body('aaa'), { 'content-type': 'multipart/form-data; boundary=ccc' }));
    expect(other).toBe(sha256(body('aaa')));
  });

  it('has delimiters only where it is multipart', async () => {
    const body = '--x\r\none\r\n--x--';
    expect(await digestOf(unread(body, { 'content-type': 'text/plain; boundary=x' }))).toBe(sha256(body));
    expect(await digestOf(unread(body, { 'content-type': 'text/multipart/x; boundary=x' }))).toBe(sha256(body));
  });

  it('has the same digest though a delimiter lies across the end of what is looked at', async () => {
    const digest = (delimiter: string) => {
      const body = `${'x'.repeat(PEEK - 3)}--${delimiter}${'y'.repeat(500)}`;
      const length = { 'content-length': '9' };
      return digestOf(unread(body, { 'content-type': `multipart/form-data; boundary=${delimiter}`, ...length }));
    };
    expect(await digest('a'.repeat(60))).toBe(await digest('b'.repeat(60)));
  });

  it('is let go of where nobody wanted it, and left to whom did', async () => {
    const unwanted = unread('abc');
    await digestOf(unwanted);
    unwanted.rawResponse.emit('finish');
    expect(unwanted.stream.readableFlowing).toBe(true);
    for (const event of ['data', 'readable'] as const) {
      const wanted = unread('abc');
      await digestOf(wanted);
      wanted.stream.on(event, () => undefined);
      wanted.stream.pause();
      wanted.rawResponse.emit('finish');
      expect(wanted.stream.readableFlowing).not.toBe(true);
    }
  });
});

describe('files', () => {
  const file = { fieldname: 'scan', originalname: 'a.png', mimetype: 'image/png', size: 3, buffer: Buffer.from('abc') };
  const described = { field: 'scan', name: 'a.png', type: 'image/png', size: 3, sha256: sha256('abc') };
  const describeAll = (request: object) => describeFiles(request as never);

  it('are none where nobody has read any', async () => {
    expect(await describeAll({})).toBeUndefined();
    expect(await describeAll({ file: null, files: null })).toBeUndefined();
    // As Fastify has it.
    expect(await describeAll({ file: () => file, files: () => [file] })).toBeUndefined();
  });

  it('are found wherever they are kept', async () => {
    expect(await describeAll({ file })).toEqual([described]);
    expect(await describeAll({ files: [file, { ...file, fieldname: 'b' }] })).toMatchObject([
      { field: 'scan' },
      { field: 'b' },
    ]);
    expect(await describeAll({ files: { scan: [file], other: [{ ...file, size: 4 }] } })).toMatchObject([
      { size: 3 },
      { size: 4 },
    ]);
    // A field that is named like what tells a file.
    expect(await describeAll({ files: { fieldname: [file] } })).toEqual([described]);
  });

  it('may lack anything', async () => {
    const nothing = { field: 'scan', name: null, type: null, size: null, sha256: null };
    expect(await describeAll({ file: { fieldname: 'scan' } })).toEqual([nothing]);
    expect(await describeAll({ files: [{}] })).toEqual([{ ...nothing, field: null }]);
    expect(await describeAll({ file: { fieldname: 'scan', path: '/nonexistent/upload' } })).toEqual([nothing]);
  });

  it('on disk are told by their content', async () => {
    const path = import.meta.filename;
    const [{ sha256: digest }] = (await describeAll({ file: { fieldname: 'scan', path } }))!;
    expect(digest).toMatch(/^[A-Za-z0-9+/]{43}=$/);
  });
});

it('a form that was parsed already is described without the content of its files', async () => {
  const part = { type: 'file', fieldname: 'scan', filename: 'a.png', mimetype: 'image/png' };
  const body = {
    text: 'plain',
    none: null,
    number: 7,
    bytes: Buffer.from('abc'),
    nested: { a: 1 },
    field: { type: 'field', fieldname: 'field', value: 'x' },
    file: { ...part, toBuffer: async () => Buffer.from('abc') },
    gone: part,
    several: [{ ...part, toBuffer: async () => Buffer.from('abc') }, 'two'],
  };
  const file = { name: 'a.png', type: 'image/png', sha256: sha256('abc') };
  expect(await withoutContent(body)).toEqual({
    text: 'plain',
    none: null,
    number: 7,
    bytes: { sha256: sha256('abc') },
    nested: { a: 1 },
    field: 'x',
    file,
    gone: { ...file, sha256: null },
    several: [file, 'two'],
  });
});
