import { createHash } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { BadRequestException } from '@nestjs/common';
import type { Exchange } from '../../../../lib/edges/http/exchange.js';
import {
  announcesBody,
  digestOfMultipart,
  isUnread,
  StreamedBody,
  streamedBodyOf,
  unreadBodyOf,
} from '../../../../lib/edges/http/streamed-body.js';

const HEAD = Buffer.from('the fingerprint of everything but the body');

function exchange(request: object, more: object = {}): Exchange {
  const whole = { request: { headers: {}, ...request }, rawRequest: {}, rawResponse: new EventEmitter(), ...more };
  return whole as unknown as Exchange;
}

const ofType = (type?: string) => exchange({ headers: type === undefined ? {} : { 'content-type': type } });

/** The body of a request whose handler reads it to its end. */
async function readBody(chunks: readonly unknown[], type?: string, head = HEAD): Promise<StreamedBody> {
  const stream = Readable.from(chunks);
  const body = streamedBodyOf(stream, head, ofType(type));
  await stream.toArray();
  return body;
}

async function fingerprintOf(chunks: readonly unknown[], type?: string, head = HEAD): Promise<string> {
  return (await (await readBody(chunks, type, head)).fingerprint()).toString('hex');
}

const text = (...chunks: readonly string[]) => chunks.map((chunk) => Buffer.from(chunk));

/** A body of which some bytes have arrived, with a handler that has read them. */
async function arriving(...chunks: readonly string[]) {
  const stream = new PassThrough();
  const body = streamedBodyOf(stream, HEAD, ofType());
  const read = once(stream, 'data');
  stream.on('data', () => {});
  for (const chunk of chunks) stream.write(chunk);
  await read;
  return { stream, body };
}

/** What a record says of a first request that was answered before its body had ended. */
async function partOf(...chunks: readonly string[]): Promise<Buffer> {
  const { stream, body } = await arriving(...chunks);
  const fingerprint = await body.fingerprint();
  stream.destroy();
  return fingerprint;
}

describe('a body that is still to be read', () => {
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

  it('has no delimiter that is longer than a boundary may be: to look for one could take seconds for a megabyte', async () => {
    for (const [length, isOne] of [
      [70, true],
      [71, false],
    ] as const) {
      const boundary = '-'.repeat(length);
      const text = `--${boundary}\r\none\r\n--${boundary}--`;
      const expected = fingerprint(isOne ? '\0--\r\none\r\n\0----' : text);
      expect((await read([text], `multipart/form-data; boundary=${boundary}`)).fingerprint).toBe(expected);
    }
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

describe('the fingerprint of a body that a handler reads', () => {
  test('is that of the bytes, whatever the handler gets', async () => {
    const bytes = await fingerprintOf(text('é'));
    const stream = new PassThrough();
    const body = streamedBodyOf(stream, HEAD, ofType());
    stream.setEncoding('latin1');
    stream.end('é');
    await stream.toArray();
    expect((await body.fingerprint()).toString('hex')).toBe(bytes);
    expect(await fingerprintOf(['é'])).toBe(bytes);
    expect(await fingerprintOf([new Uint8Array(Buffer.from('é'))])).toBe(bytes);
  });

  test('covers values of an object stream', async () => {
    const one = await fingerprintOf([{ a: 1 }]);
    expect(await fingerprintOf([{ a: 2 }])).not.toBe(one);
    expect(await fingerprintOf([{ a: 1 }])).toBe(one);
    expect(await fingerprintOf([() => {}])).toBe(await fingerprintOf([]));
  });

  test('waits for the rest while it comes', async () => {
    const { stream, body } = await arriving('abc');
    const fingerprint = body.fingerprint();
    stream.end('def');
    expect((await fingerprint).toString('hex')).toBe(await fingerprintOf(text('abcdef')));
  });

  test('does not wait for a handler that has paused the body', async () => {
    const { stream, body } = await arriving('abc');
    stream.pause();
    const fingerprint = await body.fingerprint();
    stream.destroy();
    expect(fingerprint).toEqual(await partOf('abc'));
  });

  test('ends where the connection does', async () => {
    const { stream, body } = await arriving('abc');
    const fingerprint = body.fingerprint();
    stream.destroy();
    expect(await fingerprint).toEqual(await partOf('abc'));
    expect(body.isTruncated).toBe(true);
  });

  test('is of one body for a stream, as an outer interceptor that retries asks again', () => {
    const stream = new PassThrough();
    expect(streamedBodyOf(stream, HEAD, ofType())).toBe(streamedBodyOf(stream, HEAD, ofType()));
    expect(streamedBodyOf(new PassThrough(), HEAD, ofType())).not.toBe(streamedBodyOf(stream, HEAD, ofType()));
  });

  test('that was read whole is not truncated', async () => {
    const body = await readBody(text('abc'));
    expect(body.isTruncated).toBe(false);
    expect((await arriving('abc')).body.isTruncated).toBe(false);
  });
});

describe('a duplicate', () => {
  test('reads a body to its end, so that its connection can serve the next request', async () => {
    const recorded = await partOf('abc');
    const stream = Readable.from(text('abc', 'def'));
    const ended = once(stream, 'end');
    expect(await streamedBodyOf(stream, HEAD, ofType()).matches(recorded)).toBe(true);
    await ended;
  });

  test.each([
    ['breaks off', (stream: PassThrough) => stream.destroy()],
    ['fails', (stream: PassThrough) => stream.destroy(new Error('reset'))],
  ])('whose body %s is refused', async (_, end) => {
    const recorded = await (await readBody(text('abcdef'))).fingerprint();
    const stream = new PassThrough();
    const matches = streamedBodyOf(stream, HEAD, ofType()).matches(recorded);
    stream.write('abc');
    end(stream);
    await expect(matches).rejects.toThrow(new BadRequestException('The request was aborted'));
  });

  test('whose body has broken off already is refused', async () => {
    const recorded = await (await readBody(text('abcdef'))).fingerprint();
    const stream = new PassThrough();
    const body = streamedBodyOf(stream, HEAD, ofType());
    stream.destroy();
    await expect(body.matches(recorded)).rejects.toThrow('The request was aborted');
  });
});

describe('a form', () => {
  const form = (delimiter: string, value = 'b') =>
    `${delimiter}\r\ncontent-disposition: form-data; name="a"\r\n\r\n${value}\r\n${delimiter}--\r\n`;
  const typeOf = (boundary: string) => `multipart/form-data; boundary=${boundary}`;

  test('has it whatever the boundary’s length', async () => {
    const short = await fingerprintOf(text(form('--x')), typeOf('x'));
    expect(await fingerprintOf(text(form('--a-longer-boundary')), typeOf('a-longer-boundary'))).toBe(short);
  });

  test('does not keep a chunk that its reader changes', async () => {
    const stream = new PassThrough();
    const body = streamedBodyOf(stream, HEAD, ofType(typeOf('boundary')));
    stream.on('data', (chunk: Buffer) => chunk.fill(0));
    const whole = form('--boundary');
    stream.write(Buffer.from(whole.slice(0, 5)));
    stream.end(Buffer.from(whole.slice(5)));
    await once(stream, 'end');
    expect((await body.fingerprint()).toString('hex')).toBe(await fingerprintOf(text(whole), typeOf('boundary')));
  });

  test.each([
    ['is marked by its type in any case', 'Multipart/Form-Data; charset=utf-8; Boundary=x', true],
    ['is another multipart type', 'multipart/mixed;boundary=x', true],
    ['is not of another type', 'text/plain; boundary=x', false],
    ['is not of a type that only contains multipart', 'application/multipart/form-data; boundary=x', false],
  ])('%s', async (_, type, isForm) => {
    const same =
      (await fingerprintOf(text(form('--x')), type)) === (await fingerprintOf(text(form('--x')), typeOf('x')));
    expect(same).toBe(isForm);
  });

  test('that was read as it came is digested alike', () => {
    const one = digestOfMultipart(form('--x'), typeOf('x'));
    expect(digestOfMultipart(Buffer.from(form('--yy')), typeOf('yy'))).toBe(one);
    expect(digestOfMultipart(form('--x', 'c'), typeOf('x'))).not.toBe(one);
    expect(digestOfMultipart(form('--x'), undefined)).not.toBe(one);
    expect(Buffer.from(one, 'base64')).toHaveLength(32);
  });
});

describe('a body', () => {
  const announced = (headers: object, rawRequest: object = {}) =>
    announcesBody({ request: { headers }, rawRequest } as unknown as Exchange);

  test.each([
    ['by its length', { 'content-length': '1' }, true],
    ['not by a length of zero', { 'content-length': '0' }, false],
    ['by its coding', { 'transfer-encoding': 'chunked' }, true],
    ['not without either', {}, false],
  ])('is announced %s', (_, headers, isAnnounced) => expect(announced(headers)).toBe(isAnnounced));

  test.each([true, false])('is announced by a flag over HTTP/2: %s', (endAfterHeaders) => {
    expect(announced({ 'content-length': endAfterHeaders ? '1' : '0' }, { stream: { endAfterHeaders } })).toBe(
      !endAfterHeaders,
    );
  });

  test('is unread until someone reads it', async () => {
    const stream = Readable.from(['a']);
    expect(isUnread(stream)).toBe(true);
    await stream.toArray();
    expect(isUnread(stream)).toBe(false);
  });

  test('is unread where it had ended empty', async () => {
    const stream = new PassThrough();
    stream.end();
    stream.resume();
    await once(stream, 'end');
    expect(isUnread(stream)).toBe(false);
  });

  test('that a parser has read is not to be read', () => {
    const request = exchange({ headers: {}, body: { a: 1 } }, { rawRequest: Readable.from(['a']) });
    expect(unreadBodyOf(request)).toBeFalsy();
  });

  test('that a parser passes on as a stream was read once it is', async () => {
    const body = Readable.from(['a']);
    expect(unreadBodyOf(exchange({ body }))).toBe(body);
    await body.toArray();
    expect(unreadBodyOf(exchange({ body }))).toBeUndefined();
  });
});
