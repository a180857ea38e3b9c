import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import {
  applyHead,
  bytesOf,
  callBack,
  callbackOf,
  checkChunk,
  checkHead,
} from '../../../../lib/edges/http/write-arguments.js';

const response = () => new ServerResponse(new IncomingMessage(new Socket()));

function thrownBy(work: () => void): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe('the callback of a write', () => {
  const done = () => {};

  test.each([
    ['alone', [done]],
    ['after a chunk', ['a', done]],
    ['after an encoding', ['a', 'latin1', done]],
    ['after an encoding that is left out', ['a', undefined, done]],
  ])('is found %s', (_, args) => expect(callbackOf(args)).toBe(done));

  test('is none where no argument is a function', () => {
    expect(callbackOf(['a', 'utf8'])).toBeUndefined();
    expect(callbackOf([])).toBeUndefined();
  });

  test('is called later, as node does', async () => {
    let calls = 0;
    callBack(['a', () => calls++]);
    callBack(['a']);
    expect(calls).toBe(0);
    await Promise.resolve();
    expect(calls).toBe(1);
  });
});

describe('the bytes of a write', () => {
  test.each([
    ['text is UTF-8', ['é'], 'c3a9'],
    ['text in another encoding', ['é', 'latin1'], 'e9'],
    ['text in base64', ['6Q==', 'base64'], 'e9'],
    ['text whose second argument is the callback', ['é', () => {}], 'c3a9'],
    ['text whose encoding is null', ['é', null], 'c3a9'],
    ['empty text', [''], ''],
    ['a buffer', [Buffer.from('e9', 'hex')], 'e9'],
    ['other bytes', [new Uint8Array([233])], 'e9'],
  ])('%s', (_, args, hex) => expect(bytesOf(args)?.toString('hex')).toBe(hex));

  test.each([
    ['a callback', [() => {}]],
    ['nothing', []],
    ['null', [null]],
  ])('%s adds none', (_, args) => {
    expect(bytesOf(args)).toBeUndefined();
  });

  test('are copied: a writer may use its memory again', () => {
    const memory = Buffer.from('a');
    const bytes = bytesOf([memory]);
    memory.fill('b');
    expect(bytes?.toString()).toBe('a');
  });
});

describe('a chunk', () => {
  test.each([undefined, null, () => {}, '', 'a', Buffer.from('a'), new Uint8Array(1)])('%p passes', (chunk) => {
    expect(thrownBy(() => checkChunk(chunk))).toBeUndefined();
  });

  test.each([1, true, {}, [], new ArrayBuffer(1)])('%p is refused as node refuses it', (chunk) => {
    const error = thrownBy(() => checkChunk(chunk));
    expect(error).toBeInstanceOf(TypeError);
    expect(error).toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
      message: 'The "chunk" argument must be of type string or an instance of Buffer or Uint8Array.',
    });
  });
});

describe('a status line', () => {
  test.each([100, 200, 999])('of %d passes', (statusCode) => {
    expect(thrownBy(() => checkHead(Object.assign(response(), { statusCode })))).toBeUndefined();
  });

  test.each([99, 1000, Number.NaN, undefined])('of %p is refused as node refuses it', (statusCode) => {
    const error = thrownBy(() => checkHead(Object.assign(response(), { statusCode })));
    expect(error).toBeInstanceOf(RangeError);
    expect(error).toMatchObject({
      code: 'ERR_HTTP_INVALID_STATUS_CODE',
      message: `Invalid status code: ${String(statusCode)}`,
    });
  });

  test('with a message that node cannot send is refused', () => {
    const statusMessage = 'not\nsendable';
    expect(thrownBy(() => checkHead(Object.assign(response(), { statusMessage })))).toMatchObject({
      code: 'ERR_INVALID_CHAR',
    });
    expect(thrownBy(() => checkHead(Object.assign(response(), { statusMessage: 'Fine' })))).toBeUndefined();
  });
});

describe('writeHead()', () => {
  const headOf = (...args: readonly [number, ...unknown[]]) => {
    const to = response();
    to.setHeader('x-before', 'kept');
    const [status, ...rest] = args;
    applyHead(to, status, rest);
    return [to.statusCode, to.statusMessage, { ...to.getHeaders() }];
  };
  const before = { 'x-before': 'kept' };

  test('with a status', () => expect(headOf(202)).toEqual([202, undefined, before]));
  test('with a message', () => expect(headOf(202, 'Soon')).toEqual([202, 'Soon', before]));

  test('with headers', () => {
    expect(headOf(202, { a: '1', b: ['2', '3'], c: undefined })).toEqual([
      202,
      undefined,
      { ...before, a: '1', b: ['2', '3'] },
    ]);
  });

  test('with a message and headers', () => {
    expect(headOf(202, 'Soon', { 'X-Before': 'replaced' })).toEqual([202, 'Soon', { 'x-before': 'replaced' }]);
  });

  test('with headers in a list, of which the first of a name replaces and others add', () => {
    const list = ['X-Before', 'replaced', 'Set-Cookie', 'a', 'set-cookie', 'b', 'n', 1];
    expect(headOf(202, list)).toEqual([202, undefined, { 'x-before': 'replaced', 'set-cookie': ['a', 'b'], n: 1 }]);
  });
});
