import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { PassThrough, Readable } from 'node:stream';
import { StreamableFile } from '@nestjs/common';
import { interceptorOf } from '../../../../lib/edges/http/response-interceptor.js';
import {
  keepSource,
  ResponseStream,
  type ResponseStreamSettings,
  sourceOf,
  streamedTypeOf,
} from '../../../../lib/edges/http/response-stream.js';
import { responses } from './support.js';

const { ask, answerTo } = responses();

function streamTo(response: ServerResponse, settings: Partial<ResponseStreamSettings> = {}): ResponseStream {
  const stream = new ResponseStream(response, interceptorOf(response).original, {
    outlivesClient: false,
    silenceMs: 60_000,
    ...settings,
  });
  return stream;
}

/** A response of which the client has had the first bytes, when its client goes. */
async function leftResponse(settings: Partial<ResponseStreamSettings>) {
  let asked!: ClientRequest;
  const [response, stream] = await new Promise<[ServerResponse, ResponseStream]>((resolve) => {
    asked = ask((response) => {
      const stream = streamTo(response, settings);
      stream.begin();
      response.flushHeaders();
      stream.write(['first']);
      resolve([response, stream]);
    });
    asked.on('error', () => {});
  });
  const closes: string[] = [];
  response.on('close', () => closes.push('close'));
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  answer.on('error', () => {});
  await once(answer, 'data');
  const drained = once(response, 'drain');
  asked.destroy();
  await drained;
  return { response, stream, closes };
}

describe('a media type', () => {
  const typed = (type?: string) => {
    const response = new ServerResponse({ method: 'GET' } as IncomingMessage);
    if (type !== undefined) response.setHeader('Content-Type', type);
    return streamedTypeOf(response);
  };

  test.each([
    'text/event-stream',
    'application/ndjson',
    'application/x-ndjson',
    'application/jsonl',
    'application/x-jsonlines',
    'application/json-stream',
    'application/x-json-stream',
    'application/json-seq',
    'application/grpc',
    'application/grpc-web+proto',
    'application/stream+json',
    'application/seq+json',
    'multipart/x-mixed-replace',
  ])('%s marks a stream', (type) => expect(typed(type)).toBe(type));

  test('marks one with parameters, in any case', () => {
    expect(typed(' Text/Event-Stream ; charset=utf-8')).toBe('text/event-stream');
  });

  test.each([
    undefined,
    'application/json',
    'text/plain',
    'x-text/event-stream',
    'text/event-streams',
    'application/x-stream+json',
    'multipart/mixed',
  ])('%s does not', (type) => expect(typed(type)).toBeUndefined());
});

describe('the stream of a handler', () => {
  test('is what it has returned', () => {
    const stream = Readable.from(['a']);
    expect(sourceOf(stream)).toBe(stream);
    expect(sourceOf(new StreamableFile(stream))).toBe(stream);
  });

  test.each([undefined, null, 'a', { pipe: () => {} }])('is not %p', (value) =>
    expect(sourceOf(value)).toBeUndefined(),
  );

  const source = () => {
    const response = new ServerResponse({ method: 'GET' } as IncomingMessage);
    const stream = new PassThrough();
    keepSource(stream, response);
    return { response, stream };
  };

  test('survives the disconnect of its client', () => {
    const { response, stream } = source();
    response.destroy();
    expect(stream.destroy()).toBe(stream);
    expect(stream.destroyed).toBe(false);
  });

  test('is destroyed by an error', async () => {
    const { response, stream } = source();
    response.destroy();
    const failed = once(stream, 'error');
    stream.destroy(new Error('broken'));
    expect(await failed).toEqual([new Error('broken')]);
    expect(stream.destroyed).toBe(true);
  });

  test('is destroyed by its handler while the client is there', () => {
    const { stream } = source();
    stream.destroy();
    expect(stream.destroyed).toBe(true);
  });

  test('is destroyed after its end', async () => {
    const { response, stream } = source();
    stream.end();
    stream.resume();
    response.destroy();
    await once(stream, 'end');
    stream.destroy();
    expect(stream.destroyed).toBe(true);
  });
});

describe('a streamed response', () => {
  test('is sent as it is written, except its end', async () => {
    const { body } = await answerTo(async (response) => {
      const stream = streamTo(response);
      stream.begin();
      expect(stream.write(['ab'])).toBe(true);
      let isSent = false;
      response.on('finish', () => (isSent = true));
      stream.end(['c']);
      expect(await stream.ended).toBe('ended');
      expect(isSent).toBe(false);
      stream.finish();
      await once(response, 'finish');
    });
    expect(body).toBe('abc');
  });

  test('whose writer has not ended is not ended', async () => {
    const begun = new Promise<[ServerResponse, ResponseStream]>((resolve) => {
      ask((response) => {
        const stream = streamTo(response);
        stream.begin();
        stream.write(['a']);
        resolve([response, stream]);
      }).on('response', (message: IncomingMessage) => (answer = message));
    });
    let answer!: IncomingMessage;
    const [response, stream] = await begun;
    while (!answer) await new Promise(setImmediate);
    stream.finish();
    expect(response.writableEnded).toBe(false);
    stream.abort();
    await expect(answer.toArray()).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  test('that is destroyed has ended, however little was written', async () => {
    const asked = ask((response) => {
      const stream = streamTo(response);
      stream.begin();
      response.flushHeaders();
      response.destroy();
      return stream.ended;
    });
    asked.on('error', () => {});
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    await expect(answer.toArray()).rejects.toMatchObject({ code: 'ECONNRESET' });
  });

  test('that is destroyed before it begins leaves its client', async () => {
    const response = new ServerResponse({ method: 'GET' } as IncomingMessage);
    const stream = streamTo(response);
    expect(Object.keys(response)).toEqual(expect.arrayContaining(['emit', 'destroy']));
    response.destroy();
    expect(Object.keys(response)).not.toContain('emit');
    expect(Object.keys(response)).not.toContain('destroy');
    expect(response.destroyed).toBe(true);
    expect(await Promise.race([stream.ended, Promise.resolve('waits')])).toBe('waits');
  });
});

describe('a response whose client goes', () => {
  test('reports that to its writer at once', async () => {
    const { stream, closes } = await leftResponse({});
    expect(closes).toEqual(['close']);
    let isCalled = false;
    expect(stream.write(['dropped', () => (isCalled = true)])).toBe(true);
    stream.end([]);
    expect(await stream.ended).toBe('ended');
    expect(isCalled).toBe(true);
    stream.finish();
    expect(closes).toEqual(['close']);
  });

  test('reports that to its writer at the end, where the operation goes on', async () => {
    const { stream, closes } = await leftResponse({ outlivesClient: true });
    expect(closes).toEqual([]);
    let isCalled = false;
    stream.write(['dropped']);
    stream.end([() => (isCalled = true)]);
    stream.finish();
    await Promise.resolve();
    expect([isCalled, closes]).toEqual([true, ['close']]);
    stream.leaveClient();
    expect(closes).toEqual(['close']);
  });

  test.each([true, false])('has ended when its writer is silent: %s', async (outlivesClient) => {
    const { stream, closes } = await leftResponse({ outlivesClient, silenceMs: 20 });
    expect(await stream.ended).toBe('silent');
    expect(closes).toEqual(['close']);
  });
});

describe('a response that is broken off', () => {
  const brokenOff = (httpVersion: string, socket: object | null) => {
    const calls: string[] = [];
    const response = new ServerResponse({ method: 'GET', httpVersion } as IncomingMessage);
    const noted =
      socket &&
      Object.fromEntries(
        Object.entries(socket).map(([name, work]) => [name, () => (calls.push(name), (work as () => void)())]),
      );
    Object.defineProperty(response, 'socket', { value: noted, writable: true });
    const stream = streamTo(response);
    stream.begin();
    stream.abort();
    return { calls, response };
  };

  test('is reset over HTTP/1.0, where its end would look like a whole response', () => {
    expect(brokenOff('1.0', { resetAndDestroy: () => {}, destroy: () => {} }).calls).toContain('resetAndDestroy');
  });

  test('is closed over HTTP/1.1, which shows that it is incomplete', () => {
    const { calls, response } = brokenOff('1.1', { resetAndDestroy: () => {}, destroy: () => {} });
    expect(calls).not.toContain('resetAndDestroy');
    expect(response.destroyed).toBe(true);
  });

  test('is closed where its socket cannot be reset', () => {
    const refuse = () => {
      throw new Error('not TCP');
    };
    expect(brokenOff('1.0', { resetAndDestroy: refuse, destroy: () => {} }).response.destroyed).toBe(true);
    expect(brokenOff('1.0', null).response.destroyed).toBe(true);
  });

  test('is left alone before it begins', () => {
    const response = new ServerResponse({ method: 'GET', httpVersion: '1.0' } as IncomingMessage);
    let isReset = false;
    const socket = Object.assign(new Socket(), { resetAndDestroy: () => (isReset = true) });
    Object.defineProperty(response, 'socket', { value: socket, writable: true });
    streamTo(response);
    response.destroy();
    expect(isReset).toBe(false);
  });
});
