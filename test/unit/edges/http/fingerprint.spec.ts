import { createHash } from 'node:crypto';
import { PassThrough, Readable } from 'node:stream';
import { EventEmitter, once } from 'node:events';
import type { Exchange } from '../../../../lib/edges/http/exchange.js';
import { describeWithoutBody, describeRequest } from '../../../../lib/edges/http/fingerprint.js';
import { StreamedBody, streamedBodyOf, unreadBodyOf } from '../../../../lib/edges/http/streamed-body.js';
import { describeFiles, withoutContent } from '../../../../lib/edges/http/uploads.js';

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
  const HEAD = Buffer.alloc(32, 'h');

  function streamed(chunks: readonly (string | Buffer)[], contentType?: string, stream: Readable = new PassThrough()) {
    const rawResponse = new EventEmitter();
    const body = new StreamedBody(
      stream,
      HEAD,
      exchange({ headers: { 'content-type': contentType } }, { rawResponse }),
    );
    for (const chunk of chunks) stream.push(Buffer.from(chunk as Buffer));
    stream.push(null);
    return { stream, body, rawResponse };
  }

  const fingerprint = (text: string, whole = true) => {
    const bytes = createHash('sha256').update(HEAD).update(text, 'latin1').digest();
    bytes[25] = whole ? 1 : 0;
    bytes.writeUIntBE(text.length, 26, 6);
    return bytes.toString('hex');
  };

  const read = async (...of: Parameters<typeof streamed>) => {
    const { stream, body } = streamed(...of);
    const text = Buffer.concat(await stream.toArray()).toString('latin1');
    return { text, fingerprint: (await body.fingerprint()).toString('hex') };
  };

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
    for (const state of ['readableDidRead', 'readableEnded']) {
      expect(of({ 'content-length': '3' }, undefined, { [state]: true })).toBeUndefined();
    }
    const http2 = (endAfterHeaders: boolean) => of({}, undefined, { stream: { endAfterHeaders } });
    expect([http2(true), http2(false)]).toEqual([undefined, { stream: { endAfterHeaders: false } }]);
  });

  it('is no part of the text, and handed on with it', async () => {
    const stream = new PassThrough();
    const headers = { 'content-length': '3' };
    const described = await describeRequest(exchange({ headers }, { rawRequest: stream }), {}, { version: '' });
    expect(described.fingerprint.split('\n').at(-1)).toBe('stream');
    expect(described).toMatchObject({ stream, content: undefined });
  });

  it('is compared by all of its bytes, whatever pieces they come in', async () => {
    for (const chunks of [['abcdef'], ['abc', 'def'], 'abcdef'.split(''), ['', 'abcdef']]) {
      expect(await read(chunks)).toEqual({ text: 'abcdef', fingerprint: fingerprint('abcdef') });
    }
    expect((await read([])).fingerprint).toBe(fingerprint(''));
  });

  it('is compared by its bytes though it is read as text', async () => {
    const { stream, body } = streamed([Buffer.from('\u00e4\u20ac').subarray(0, 3), Buffer.from('\u20ac').subarray(1)]);
    stream.setEncoding('utf8');
    expect((await stream.toArray()).join('')).toBe('\u00e4\u20ac');
    const latin1 = Buffer.from('\u00e4\u20ac').toString('latin1');
    expect((await body.fingerprint()).toString('hex')).toBe(fingerprint(latin1));
  });

  it.each([
    ['bare', 'multipart/form-data; boundary=%'],
    ['quoted', 'multipart/form-data; boundary="%"'],
    ['without a space', 'multipart/form-data;boundary=%'],
    ['after another parameter', 'multipart/form-data; charset=utf-8;  Boundary=%; x=1'],
  ])('has the same fingerprint whatever its delimiter, and wherever it is cut: %s', async (_, type) => {
    const plain = fingerprint('\0--\r\none\r\n\0--\r\ntwo\r\n\0----');
    for (const delimiter of ['aaa', 'bbbbbb']) {
      const text = `--${delimiter}\r\none\r\n--${delimiter}\r\ntwo\r\n--${delimiter}--`;
      for (let cut = 0; cut <= text.length; cut++) {
        const chunks = [text.slice(0, cut), text.slice(cut)];
        expect(await read(chunks, type.replace('%', delimiter))).toEqual({ text, fingerprint: plain });
      }
      expect((await read(text.split(''), type.replace('%', delimiter))).fingerprint).toBe(plain);
    }
    // Only what is one.
    const text = '--aaa\r\none\r\n--aaa--';
    expect((await read([text], 'multipart/form-data; boundary=ccc')).fingerprint).toBe(fingerprint(text));
  });

  it('has delimiters only where it is multipart', async () => {
    const text = '--x\r\none\r\n--x--';
    expect((await read([text], 'text/plain; boundary=x')).fingerprint).toBe(fingerprint(text));
    expect((await read([text], 'text/multipart/x; boundary=x')).fingerprint).toBe(fingerprint(text));
  });

  it('counts as far as it was read where its handler leaves the rest', async () => {
    const stream = new PassThrough();
    const body = new StreamedBody(stream, HEAD, exchange({}));
    stream.push('abc');
    stream.once('data', () => stream.pause());
    await once(stream, 'data');
    stream.push('def');
    expect((await body.fingerprint()).toString('hex')).toBe(fingerprint('abc', false));
    // Asked for again, it is the same, though more has been read.
    stream.resume();
    stream.push(null);
    await once(stream, 'end');
    expect((await body.fingerprint()).toString('hex')).toBe(fingerprint('abc', false));
  });

  it('counts whole where no handler reads it', async () => {
    const { body } = streamed(['abc', 'def']);
    expect((await body.fingerprint()).toString('hex')).toBe(fingerprint('abcdef'));
  });

  it('counts as it is where its end does not come', async () => {
    const stream = new PassThrough();
    const body = new StreamedBody(stream, HEAD, exchange({}));
    stream.push('abc');
    expect((await body.fingerprint()).toString('hex')).toBe(fingerprint('abc', false));
  });

  it('broke off where it is over before its end', async () => {
    const { body, stream } = streamed(['abc']);
    expect(body.isTruncated).toBe(false);
    await stream.toArray();
    expect([stream.destroyed, body.isTruncated]).toEqual([true, false]);
    const open = new PassThrough();
    const broken = new StreamedBody(open, HEAD, exchange({}));
    open.destroy();
    expect(broken.isTruncated).toBe(true);
    expect((await broken.fingerprint()).toString('hex')).toBe(fingerprint('', false));
  });

  describe('as that of a duplicate', () => {
    const matches = (chunks: readonly string[], recorded: string) =>
      streamed(chunks).body.matches(Buffer.from(recorded, 'hex'));

    it('has to be the same to its end', async () => {
      const recorded = fingerprint('abcdef');
      for (const chunks of [['abcdef'], ['ab', 'cdef'], 'abcdef'.split('')]) {
        expect(await matches(chunks, recorded)).toBe(true);
      }
      for (const text of ['abcdeg', 'bbcdef', 'abcde', 'abcdefg', '']) {
        expect(await matches([text], recorded)).toBe(false);
        expect(await matches(text.split(''), recorded)).toBe(false);
      }
    });

    it('has to be the same as far as the first was read', async () => {
      const recorded = fingerprint('abc', false);
      for (const chunks of [['abcdef'], ['abc'], ['abcx'], ['a', 'bcde']])
        expect(await matches(chunks, recorded)).toBe(true);
      for (const chunks of [['ab'], ['abd'], ['a', 'cc'], []]) expect(await matches(chunks, recorded)).toBe(false);
      expect(await matches(['whatever'], fingerprint('', false))).toBe(true);
    });

    it('is another than one that was parsed', async () => {
      expect(await matches(['abc'], createHash('sha256').update('parsed').digest('hex'))).toBe(false);
    });

    it('is taken for the same where that of the first was never known', async () => {
      expect(await matches(['abc'], HEAD.toString('hex'))).toBe(true);
    });

    it('is not waited for once it is known to differ', async () => {
      const stream = new PassThrough();
      const body = new StreamedBody(stream, HEAD, exchange({}));
      stream.push('abcd');
      expect(await body.matches(Buffer.from(fingerprint('abc'), 'hex'))).toBe(false);
    });

    it('is the same where the same request is tried again', async () => {
      const stream = new PassThrough();
      const of = exchange({ body: stream });
      const body = streamedBodyOf(unreadBodyOf(of)!, HEAD, of);
      stream.end('abc');
      await stream.toArray();
      const recorded = await body.fingerprint();
      expect(streamedBodyOf(unreadBodyOf(of)!, HEAD, of)).toBe(body);
      expect(await body.matches(recorded)).toBe(true);
      expect(await body.matches(Buffer.from(fingerprint('abd'), 'hex'))).toBe(false);
    });

    it('is refused where it breaks off', async () => {
      const stream = new PassThrough();
      const body = new StreamedBody(stream, HEAD, exchange({}));
      stream.push('ab');
      const compared = body.matches(Buffer.from(fingerprint('abc'), 'hex'));
      stream.destroy();
      await expect(compared).rejects.toThrow('The request was aborted');
      await expect(body.matches(Buffer.from(fingerprint('abc'), 'hex'))).rejects.toThrow('The request was aborted');
    });
  });

  it('is released where no handler reads it, and left to the handler that does', async () => {
    const unwanted = streamed(['abc']);
    unwanted.rawResponse.emit('finish');
    expect(unwanted.stream.readableFlowing).toBe(true);
    const wanted = streamed(['abc']);
    wanted.stream.once('data', () => wanted.stream.pause());
    await once(wanted.stream, 'data');
    wanted.rawResponse.emit('finish');
    expect(wanted.stream.readableFlowing).toBe(false);
  });
});

describe('files', () => {
  const file = { fieldname: 'scan', originalname: 'a.png', mimetype: 'image/png', size: 3, buffer: Buffer.from('abc') };
  const described = { field: 'scan', name: 'a.png', type: 'image/png', size: 3, sha256: sha256('abc') };
  const describeAll = (request: object) => describeFiles(request as never);

  it('are none where no handler has read any', async () => {
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
    // A field that is named like what marks a file.
    expect(await describeAll({ files: { fieldname: [file] } })).toEqual([described]);
  });

  it('may lack anything', async () => {
    const nothing = { field: 'scan', name: null, type: null, size: null, sha256: null };
    expect(await describeAll({ file: { fieldname: 'scan' } })).toEqual([nothing]);
    expect(await describeAll({ files: [{}] })).toEqual([{ ...nothing, field: null }]);
    expect(await describeAll({ file: { fieldname: 'scan', path: '/nonexistent/upload' } })).toEqual([nothing]);
  });

  it('on disk are compared by their content', async () => {
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
