import { EventEmitter, once } from 'node:events';
import { PassThrough, Readable } from 'node:stream';
import { BadRequestException } from '@nestjs/common';
import type { Exchange } from '../../../../lib/edges/http/exchange.js';
import {
  announcesBody,
  digestOfMultipart,
  isUnread,
  type StreamedBody,
  streamedBodyOf,
  unreadBodyOf,
} from '../../../../lib/edges/http/streamed-body.js';

const HEAD = Buffer.from('the fingerprint of everything but the body');

function exchangeOf(members: object = {}, response = new EventEmitter()): Exchange {
  return { request: { headers: {}, ...members }, rawRequest: {}, rawResponse: response } as unknown as Exchange;
}

const ofType = (type?: string) => exchangeOf({ headers: type === undefined ? {} : { 'content-type': type } });

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

const duplicate = (...chunks: readonly string[]) => streamedBodyOf(Readable.from(text(...chunks)), HEAD, ofType());

describe('the fingerprint of a body that a handler reads', () => {
  test('does not depend on how the body is split', async () => {
    const whole = await fingerprintOf(text('abcdef'));
    expect(await fingerprintOf(text('a', 'bcd', 'ef'))).toBe(whole);
    expect(whole).toHaveLength(64);
  });

  test('depends on the body, on its length, and on everything else', async () => {
    const different = new Set([
      await fingerprintOf(text('abc')),
      await fingerprintOf(text('abd')),
      await fingerprintOf(text('abcd')),
      await fingerprintOf([]),
      await fingerprintOf(text('abc'), undefined, Buffer.from('another')),
    ]);
    expect(different.size).toBe(5);
  });

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

  test('waits for a body that its handler has not read', async () => {
    const body = duplicate('abc');
    expect((await body.fingerprint()).toString('hex')).toBe(await fingerprintOf(text('abc')));
  });

  test('waits for the rest while it comes', async () => {
    const { stream, body } = await arriving('abc');
    const fingerprint = body.fingerprint();
    stream.end('def');
    expect((await fingerprint).toString('hex')).toBe(await fingerprintOf(text('abcdef')));
  });

  test('is asked for twice, and is one', async () => {
    const { stream, body } = await arriving('abc');
    const first = await body.fingerprint();
    stream.end('def');
    await once(stream, 'end');
    expect(await body.fingerprint()).toBe(first);
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
  test.each([
    ['with the same body', ['abc', 'def'], true],
    ['with another body', ['abc', 'deg'], false],
    ['with a shorter one', ['abc'], false],
    ['with a longer one', ['abc', 'def', 'g'], false],
    ['without one', [], false],
  ])('%s of a whole body', async (_, chunks, matches) => {
    const recorded = await (await readBody(text('abcdef'))).fingerprint();
    expect(await duplicate(...chunks).matches(recorded)).toBe(matches);
  });

  test.each([
    ['with the same part', ['abc'], true],
    ['with the rest', ['abc', 'def'], true],
    ['that is split elsewhere', ['a', 'bcdef'], true],
    ['with another part', ['abd', 'def'], false],
    ['with a shorter one', ['ab'], false],
  ])('%s of a body that had not ended', async (_, chunks, matches) => {
    expect(await duplicate(...chunks).matches(await partOf('abc'))).toBe(matches);
  });

  test('of a record that an operator resolved before its body was known', async () => {
    expect(await duplicate('abc').matches(HEAD)).toBe(true);
  });

  test('of itself, where an outer interceptor retries', async () => {
    const body = await readBody(text('abc'));
    const recorded = await body.fingerprint();
    expect(await body.matches(recorded)).toBe(true);
    expect(await body.matches(await (await readBody(text('abd'))).fingerprint())).toBe(false);
  });

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

  test('that is refused unread is drained when its response is sent', async () => {
    const response = new EventEmitter();
    const stream = Readable.from(text('abc'));
    streamedBodyOf(stream, HEAD, exchangeOf({}, response));
    const ended = once(stream, 'end');
    response.emit('finish');
    expect(await ended).toEqual([]);
  });

  test('that a handler reads is left to it', async () => {
    const response = new EventEmitter();
    const stream = new PassThrough();
    streamedBodyOf(stream, HEAD, exchangeOf({}, response));
    stream.write('abc');
    expect(String(stream.read())).toBe('abc');
    response.emit('finish');
    expect(stream.readableFlowing).toBe(null);
  });
});

describe('a form', () => {
  const form = (delimiter: string, value = 'b') =>
    `${delimiter}\r\ncontent-disposition: form-data; name="a"\r\n\r\n${value}\r\n${delimiter}--\r\n`;
  const typeOf = (boundary: string) => `multipart/form-data; boundary=${boundary}`;

  test('has the same fingerprint with another boundary', async () => {
    const one = await fingerprintOf(text(form('--x1')), typeOf('x1'));
    expect(await fingerprintOf(text(form('--y1')), typeOf('"y1"'))).toBe(one);
    expect(await fingerprintOf(text(form('--y1')), typeOf('y1'))).toBe(one);
    expect(await fingerprintOf(text(form('--y1', 'c')), typeOf('y1'))).not.toBe(one);
  });

  test('has it whatever the boundary’s length', async () => {
    const short = await fingerprintOf(text(form('--x')), typeOf('x'));
    expect(await fingerprintOf(text(form('--a-longer-boundary')), typeOf('a-longer-boundary'))).toBe(short);
  });

  test.each([1, 2, 3, 5, 7])('has it in chunks of %d bytes', async (size) => {
    const whole = form('--boundary');
    const chunks = whole.match(new RegExp(`[^]{1,${size}}`, 'g'))!;
    expect(await fingerprintOf(text(...chunks), typeOf('boundary'))).toBe(
      await fingerprintOf(text(whole), typeOf('boundary')),
    );
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

  const of = (request: object, rawRequest: unknown = {}) =>
    unreadBodyOf({ request: { headers: {}, ...request }, rawRequest } as unknown as Exchange);

  test('that a parser passes on as a stream is still to be read', async () => {
    const body = Readable.from(['a']);
    expect(of({ body })).toBe(body);
    await body.toArray();
    expect(of({ body })).toBe(undefined);
  });

  test('that no parser has read is still to be read, and again', async () => {
    const raw = Readable.from(['a']);
    const headers = { 'content-length': '1' };
    expect(of({ headers }, raw)).toBe(raw);
    streamedBodyOf(raw, HEAD, ofType());
    await raw.toArray();
    expect(of({ headers }, raw)).toBe(raw);
  });

  test.each([
    ['that is not announced', {}],
    ['that a parser has read', { body: { a: 1 } }],
  ])('%s is not to be read', (_, request) => expect(of(request, Readable.from(['a']))).toBeFalsy());
});
