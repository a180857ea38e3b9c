import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CapturedResponse, ResponseCapture } from '../../../../lib/edges/http/response-capture.js';
import { discardWrites } from '../../../../lib/edges/http/response-interceptor.js';
import { responses } from './support.js';

const LIMITS = { maxBytes: 100, maxMs: 60_000 };

const { answerTo } = responses();

/** A capture of a response, and what it reported. */
function capturing(
  response: ServerResponse,
  limits: Partial<typeof LIMITS>,
  onResponse: (capture: ResponseCapture) => void = () => undefined,
) {
  const reported: CapturedResponse[] = [];
  const { maxBytes, maxMs } = { ...LIMITS, ...limits };
  const capture: ResponseCapture = new ResponseCapture(response, { maxBytes }, maxMs, {
    onResponse(captured) {
      reported.push(captured);
      onResponse(capture);
    },
    onUndecided: () => undefined,
    onUnsent: () => undefined,
  });
  return { capture, reported };
}

/** A capture that lets the response go as soon as it is complete. */
const letGo = (response: ServerResponse, limits: Partial<typeof LIMITS> = {}) =>
  capturing(response, limits, (capture) => capture.release());

/** A capture that lets nothing go by itself. */
const hold = (response: ServerResponse, limits: Partial<typeof LIMITS> = {}) => capturing(response, limits);

const errorOf = (work: () => unknown): { name?: string; code?: string; message?: string } => {
  try {
    work();
  } catch (error) {
    return error as Error;
  }
  return {};
};

describe('a response', () => {
  it('goes out when it is let go, and not before', async () => {
    let sent = false;
    const { status, headers, body } = await answerTo(async (response) => {
      const { capture, reported } = hold(response);
      response.once('finish', () => (sent = true));
      expect(capture.hasResponse).toBe(false);
      response.statusCode = 201;
      response.setHeader('X-One', '1');
      response.end('paid');
      expect(capture.hasResponse).toBe(true);
      expect(reported).toEqual([{ status: 201, body: Buffer.from('paid') }]);
      await sleep(20);
      expect(sent).toBe(false);
      expect(response.socket!.bytesWritten).toBe(0);
      capture.release();
      capture.release();
    });
    expect({ status, body }).toEqual({ status: 201, body: 'paid' });
    expect(headers).toMatchObject({ 'x-one': '1', 'content-length': '4' });
  });

  it('is all that was written, with a length instead of chunks and trailers', async () => {
    const { headers, body } = await answerTo((response) => {
      const { capture, reported } = hold(response);
      response.setHeader('Transfer-Encoding', 'chunked');
      response.setHeader('Trailer', 'X-Sum');
      expect(response.write('a')).toBe(true);
      expect(response.write('62', 'hex')).toBe(true);
      const bytes = Buffer.from('_c_');
      expect(response.write(bytes.subarray(1, 2))).toBe(true);
      // The writer's memory may be used again.
      bytes.fill('x');
      response.end();
      expect(reported).toEqual([{ status: 200, body: Buffer.from('abc') }]);
      // It is over.
      expect(response.write('more')).toBe(false);
      expect(response.end('more')).toBe(response);
      expect(reported).toHaveLength(1);
      capture.release();
    });
    expect(body).toBe('abc');
    expect(headers['content-length']).toBe('3');
    expect(headers['transfer-encoding']).toBeUndefined();
    expect(headers.trailer).toBeUndefined();
  });

  it('ends with a view of a larger memory', async () => {
    const { body } = await answerTo((response) => {
      letGo(response);
      response.end(Buffer.from('_view_').subarray(1, 5));
    });
    expect(body).toBe('view');
  });

  it('may be empty', async () => {
    const { status, body } = await answerTo((response) => {
      const { reported } = letGo(response);
      response.statusCode = 204;
      response.end();
      expect(reported).toEqual([{ status: 204, body: Buffer.alloc(0) }]);
    });
    expect({ status, body }).toEqual({ status: 204, body: '' });
  });

  it('has sent its head, as far as anybody can see, once something of it was made', async () => {
    await answerTo((response) => {
      const { capture } = hold(response);
      expect([response.headersSent, response.writableEnded]).toEqual([false, false]);
      response.statusCode = 202;
      response.setHeader('x', '0');
      response.write('a');
      expect([response.headersSent, response.writableEnded]).toEqual([true, false]);
      const sent = {
        code: 'ERR_HTTP_HEADERS_SENT',
        message: 'Cannot change headers after they are sent to the client',
      };
      for (const change of [
        () => response.setHeader('x', '1'),
        () => response.setHeaders(new Headers({ x: '1' })),
        () => response.appendHeader('x', '1'),
        () => response.removeHeader('x'),
      ]) {
        expect(errorOf(change)).toMatchObject(sent);
      }
      response.end();
      expect([response.headersSent, response.writableEnded]).toEqual([true, true]);
      response.statusCode = 500;
      capture.release();
    }).then(({ status }) => expect(status).toBe(202));
  });

  it('calls back a writer of chunks at once, and the last when it has gone', async () => {
    const calls: string[] = [];
    let finished = false;
    await answerTo(async (response) => {
      const { capture } = hold(response);
      response.once('finish', () => (finished = true));
      response.write('a', () => calls.push('a'));
      response.write('b', 'utf8', () => calls.push('b'));
      expect(calls).toEqual([]);
      await Promise.resolve();
      expect(calls).toEqual(['a', 'b']);
      response.end('c', () => calls.push(`end, finished: ${finished}`));
      await sleep(5);
      expect(calls).toEqual(['a', 'b']);
      capture.release();
    });
    expect(calls).toEqual(['a', 'b', 'end, finished: true']);
  });

  it('calls back the code that ends it without a chunk', async () => {
    let called = 0;
    await answerTo((response) => {
      letGo(response);
      response.end(() => called++);
    });
    expect(called).toBe(1);
  });

  it('passes where it is let go before it was made', async () => {
    const { body, headers } = await answerTo((response) => {
      const { capture, reported } = hold(response);
      capture.release();
      response.writeHead(200, { 'X-Late': '1' });
      response.flushHeaders();
      response.write('straight');
      response.end(' through');
      expect(reported).toEqual([]);
    });
    expect(body).toBe('straight through');
    expect(headers['x-late']).toBe('1');
  });

  it('goes on where it is let go in the middle', async () => {
    const calls: string[] = [];
    const { body } = await answerTo((response) => {
      const { capture } = hold(response);
      response.on('drain', () => calls.push('drain'));
      response.write('held, ');
      capture.release();
      expect(calls).toEqual(['drain']);
      expect(response.headersSent).toBe(true);
      response.write('then ');
      response.end('not');
    });
    expect(body).toBe('held, then not');
  });

  it('is begun by its head alone', async () => {
    const { headers, body } = await answerTo((response) => {
      const { capture } = hold(response);
      response.setHeader('X-Early', '1');
      response.flushHeaders();
      expect(capture.hasResponse).toBe(true);
      expect(response.headersSent).toBe(true);
      capture.release();
      expect(() => response.setHeader('X-Late', '1')).toThrow('after they are sent');
      response.end('later');
    });
    expect({ early: headers['x-early'], body }).toEqual({ early: '1', body: 'later' });
  });
});

describe('a response that cannot be kept', () => {
  it('is too large', async () => {
    const { body } = await answerTo((response) => {
      const { reported } = letGo(response, { maxBytes: 4 });
      expect(response.write('1234')).toBe(true);
      expect(reported).toEqual([]);
      expect(response.write('5')).toBe(false);
      expect(reported).toEqual([{ status: 200, body: undefined }]);
      response.end('6');
      expect(reported).toHaveLength(1);
    });
    expect(body).toBe('123456');
  });

  it('is too large in one piece, and is reported once', async () => {
    const unanswered = answerTo((response) => {
      const { reported } = hold(response, { maxBytes: 4 });
      response.end('12345');
      expect(reported).toEqual([{ status: 200, body: undefined }]);
      // Held all the same, until it is known what becomes of it.
      expect(response.socket!.bytesWritten).toBe(0);
      discardWrites(response);
      response.destroy();
    });
    await expect(unanswered).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  it('is reported once, however much of it is still to come', async () => {
    const { body } = await answerTo((response) => {
      const { capture, reported } = hold(response, { maxBytes: 4 });
      for (const chunk of ['12345', '6', '7']) response.write(chunk);
      response.end();
      expect(reported).toEqual([{ status: 200, body: undefined }]);
      capture.release();
    });
    expect(body).toBe('1234567');
  });

  it('is a stream of events', async () => {
    await answerTo((response) => {
      const { reported } = letGo(response);
      response.setHeader('Content-Type', 'text/event-stream; charset=utf-8');
      response.flushHeaders();
      expect(reported).toEqual([{ status: 200, body: undefined }]);
      response.end();
    });
  });

  it('has no end within its time', async () => {
    const { body } = await answerTo(async (response) => {
      const { reported } = letGo(response, { maxMs: 50 });
      response.write('a');
      expect(reported).toEqual([]);
      await sleep(100);
      expect(reported).toEqual([{ status: 200, body: undefined }]);
      response.end('b');
    });
    expect(body).toBe('ab');
  });

  it('is none that ended within its time, however long it is held after that', async () => {
    await answerTo(async (response) => {
      const { capture, reported } = hold(response, { maxMs: 50 });
      response.write('a');
      response.end('b');
      await sleep(100);
      expect(reported).toEqual([{ status: 200, body: Buffer.from('ab') }]);
      capture.release();
    });
  });

  it('is none that takes its time to begin', async () => {
    await answerTo(async (response) => {
      const { reported } = letGo(response, { maxMs: 20 });
      await sleep(60);
      response.end('late');
      expect(reported).toEqual([{ status: 200, body: Buffer.from('late') }]);
    });
  });
});

describe('a response that something waits for', () => {
  /** Whether anything is known to wait for the response, once `work` is done. */
  const isAwaited = async (before: (response: ServerResponse) => void, after: (response: ServerResponse) => void) => {
    let awaited!: string;
    await answerTo(async (response) => {
      response.on('finish', () => undefined);
      const { capture } = hold(response);
      before(response);
      const waits = capture.awaited().then(() => 'awaited');
      after(response);
      awaited = await Promise.race([waits, Promise.resolve().then(() => 'not awaited')]);
      if (!response.writableEnded) response.end();
      capture.release();
    });
    return awaited;
  };
  const nothing = () => undefined;

  it('is found to be, by a callback or a listener', async () => {
    expect(await isAwaited((response) => response.end('a', nothing), nothing)).toBe('awaited');
    expect(await isAwaited((response) => response.on('finish', nothing), nothing)).toBe('awaited');
  });

  it('is found to be when the listener comes later', async () => {
    expect(await isAwaited(nothing, (response) => response.on('finish', nothing))).toBe('awaited');
  });

  it('is not by listeners from before the handler, or for something else', async () => {
    expect(await isAwaited(nothing, nothing)).toBe('not awaited');
    expect(await isAwaited((response) => response.on('close', nothing), nothing)).toBe('not awaited');
    expect(await isAwaited(nothing, (response) => response.on('close', nothing))).toBe('not awaited');
  });

  it('leaves no listener behind', async () => {
    await answerTo((response) => {
      const { capture } = hold(response);
      void capture.awaited();
      response.on('finish', nothing);
      expect(response.listenerCount('newListener')).toBe(0);
      response.end();
      capture.release();
    });
  });
});

describe('a response that a filter writes again', () => {
  it('is that of the filter', async () => {
    const { status, body } = await answerTo((response) => {
      const { capture } = hold(response);
      let isCalled = false;
      response.statusCode = 201;
      response.end('dropped', () => (isCalled = true));
      capture.discard();
      expect(isCalled).toBe(true);
      expect(response.headersSent).toBe(false);
      response.statusCode = 500;
      response.end('written');
      capture.discard();
    });
    expect({ status, body }).toEqual({ status: 500, body: 'written' });
  });
});

describe('writeHead', () => {
  it.each([
    ['a status', [202], { status: 202 }],
    ['a message', [202, 'Taken'], { status: 202, message: 'Taken' }],
    ['headers', [202, { 'X-A': '1', 'X-None': undefined }], { status: 202, headers: { 'x-a': '1' } }],
    ['both', [202, 'Taken', { 'X-A': '1' }], { status: 202, message: 'Taken', headers: { 'x-a': '1' } }],
    ['a list', [202, ['X-A', '1', 'x-a', '2', 'X-B', '3']], { status: 202, headers: { 'x-a': '1, 2', 'x-b': '3' } }],
    ['a message and a list', [202, 'Taken', ['X-A', '1']], { message: 'Taken', headers: { 'x-a': '1' } }],
  ])('with %s', async (_, args, expected) => {
    const answer = await answerTo((response) => {
      letGo(response);
      response.setHeader('X-A', 'before');
      expect((response.writeHead as (...all: unknown[]) => unknown)(...args)).toBe(response);
      expect(response.headersSent).toBe(false);
      response.end();
    });
    const { headers = {}, ...rest } = expected as { headers?: object };
    expect(answer).toMatchObject({ ...rest, headers: { 'x-a': 'before', ...headers } });
  });
});

describe('what node refuses', () => {
  it.each([
    [
      'a chunk that is none',
      (r: ServerResponse) => r.write(7 as never),
      'TypeError',
      'ERR_INVALID_ARG_TYPE',
      /"chunk"/,
    ],
    ['an end that is none', (r: ServerResponse) => r.end({} as never), 'TypeError', 'ERR_INVALID_ARG_TYPE', /"chunk"/],
    [
      'a status that is none',
      (r: ServerResponse) => ((r.statusCode = 99), r.end()),
      'RangeError',
      'ERR_HTTP_INVALID_STATUS_CODE',
      /Invalid status code: 99/,
    ],
    [
      'a status that is too high',
      (r: ServerResponse) => ((r.statusCode = 1_000), r.write('x')),
      'RangeError',
      'ERR_HTTP_INVALID_STATUS_CODE',
      /Invalid status code: 1000/,
    ],
    [
      'a message of two lines',
      (r: ServerResponse) => ((r.statusMessage = 'a\nb'), r.end()),
      'TypeError',
      'ERR_INVALID_CHAR',
      /statusMessage/,
    ],
  ])('%s: at once, and another response can be made', async (_, work, name, code, message) => {
    const { status, body } = await answerTo((response) => {
      const { capture } = letGo(response);
      const error = errorOf(() => work(response));
      expect(error).toMatchObject({ name, code, message: expect.stringMatching(message) });
      expect(capture.hasResponse).toBe(false);
      response.statusCode = 500;
      response.statusMessage = 'sorry';
      response.end('an error');
    });
    expect({ status, body }).toEqual({ status: 500, body: 'an error' });
  });

  it.each([100, 999])('not a status at the limit: %i', async (statusCode) => {
    const unanswered = answerTo((response) => {
      const { reported } = hold(response);
      response.statusCode = statusCode;
      response.end();
      expect(reported).toMatchObject([{ status: statusCode }]);
      discardWrites(response);
      response.destroy();
    });
    await expect(unanswered).rejects.toMatchObject({ code: 'ECONNRESET' });
  });
});

describe('another response instead of one', () => {
  it('is all that goes out', async () => {
    const calls: string[] = [];
    const { status, headers, body } = await answerTo(async (response) => {
      const { capture } = hold(response);
      response.statusCode = 201;
      response.write('held', () => calls.push('write'));
      response.end('held', () => calls.push('end'));
      capture.replace((open) => {
        open.statusCode = 409;
        open.setHeader('X-Instead', '1');
        open.end('instead');
      });
      expect(calls).toEqual(['write', 'end']);
      capture.replace((open) => open.end('twice'));
      capture.release();
      // Whatever is done to it from then on is done to nothing.
      expect(response.setHeader('X-Late', '1')).toBe(response);
      expect(response.writeHead(200)).toBe(response);
      expect(response.write('late', () => calls.push('late write'))).toBe(true);
      expect(response.end('late', () => calls.push('late end'))).toBe(response);
      await sleep(1);
      expect(calls.slice(2)).toEqual(['late write', 'late end']);
    });
    expect({ status, body }).toEqual({ status: 409, body: 'instead' });
    expect(headers['x-instead']).toBe('1');
    expect(headers['x-late']).toBeUndefined();
  });

  it('is not made where the first has gone', async () => {
    let replaced = false;
    const { body } = await answerTo((response) => {
      const { capture } = letGo(response);
      response.end('first');
      capture.replace(() => (replaced = true));
    });
    expect({ body, replaced }).toEqual({ body: 'first', replaced: false });
  });
});

describe('a response whose client has gone', () => {
  it('takes everything, and does nothing', async () => {
    const { headers, body } = await answerTo((response) => {
      response.setHeader('X-Kept', '1');
      response.end('sent');
      discardWrites(response);
      expect(response.setHeaders(new Headers({ a: '1' }))).toBe(response);
      expect(response.appendHeader('X-Kept', '2')).toBe(response);
      expect(response.removeHeader('X-Kept')).toBeUndefined();
      expect(response.flushHeaders()).toBeUndefined();
      expect(response.addTrailers({})).toBeUndefined();
      expect(response.writeContinue()).toBeUndefined();
      expect(response.writeProcessing()).toBeUndefined();
      expect(response.writeEarlyHints({ link: '</a>' })).toBeUndefined();
      expect(response.write('x')).toBe(true);
    });
    expect({ kept: headers['x-kept'], body }).toEqual({ kept: '1', body: 'sent' });
  });
});
