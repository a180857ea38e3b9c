import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { PassThrough, Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import fc from 'fast-check';
import { peekBody } from '../../../lib/edges/http/peek-body.js';

const RUNS = Number(process.env.FUZZ_RUNS ?? 2_000) / 10;

async function rest(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Every way to read a stream. */
const READERS: [name: string, read: (stream: Readable) => Promise<Buffer>][] = [
  ['an iterator', rest],
  [
    'data events',
    async (stream) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      await once(stream, 'end');
      return Buffer.concat(chunks);
    },
  ],
  [
    'readable events',
    async (stream) => {
      const chunks: Buffer[] = [];
      stream.on('readable', () => {
        for (let chunk = stream.read() as Buffer | null; chunk; chunk = stream.read() as Buffer | null)
          chunks.push(chunk);
      });
      await once(stream, 'end');
      return Buffer.concat(chunks);
    },
  ],
  ['pipe', (stream) => rest(stream.pipe(new PassThrough()))],
  [
    'a slow pipeline',
    async (stream) => {
      const chunks: Buffer[] = [];
      const slow = new Writable({
        highWaterMark: 1,
        write: (chunk: Buffer, _encoding, done) => {
          chunks.push(chunk);
          setImmediate(done);
        },
      });
      await pipeline(stream, slow);
      return Buffer.concat(chunks);
    },
  ],
];

describe('peeking at a stream', () => {
  test.each(READERS)('what was looked at is read again by %s', async (_name, read) => {
    const chunks = [Buffer.from('abc'), Buffer.from('def'), Buffer.from('ghi')];
    for (const limit of [1, 3, 4, 8, 9, 10, 1_000]) {
      const stream = Readable.from(chunks, { objectMode: false });
      const { bytes, whole } = await peekBody(stream, limit);
      expect([bytes.toString(), whole]).toEqual(['abcdefghi'.slice(0, limit), limit >= 9]);
      expect((await read(stream)).toString()).toBe('abcdefghi');
    }
  });

  test('nothing is taken from an empty stream', async () => {
    const stream = Readable.from([], { objectMode: false });
    expect(await peekBody(stream, 10)).toEqual({ bytes: Buffer.alloc(0), whole: true });
    expect(await rest(stream)).toEqual(Buffer.alloc(0));
  });

  test('an empty stream that ends later still ends for its reader', async () => {
    const stream = new PassThrough();
    setTimeout(() => stream.end(), 5);
    expect(await peekBody(stream, 10)).toEqual({ bytes: Buffer.alloc(0), whole: true });
    const ended = once(stream, 'end');
    stream.resume();
    await ended;
  });

  test('nobody listens any longer', async () => {
    const stream = Readable.from([Buffer.from('abc')], { objectMode: false });
    await peekBody(stream, 10);
    expect(['readable', 'error', 'close'].map((name) => stream.listenerCount(name))).toEqual([0, 0, 0]);
  });

  test(
    'streams of any shape, with any limit',
    async () => {
      const chunk = fc.uint8Array({ minLength: 1, maxLength: 40 });
      const property = fc.asyncProperty(fc.array(chunk, { maxLength: 12 }), fc.nat(200), async (chunks, more) => {
        const stream = new PassThrough({ highWaterMark: 16 });
        const limit = more + 1;
        const all = Buffer.concat(chunks);
        void (async () => {
          for (const one of chunks) {
            stream.write(one);
            if (one[0] % 2) await new Promise((resolve) => setImmediate(resolve));
          }
          stream.end();
        })();
        const { bytes, whole } = await peekBody(stream, limit);
        expect(bytes).toEqual(all.subarray(0, limit));
        expect(whole).toBe(all.length <= limit);
        expect(await rest(stream)).toEqual(all);
      });
      await fc.assert(property, { numRuns: RUNS });
    },
    Math.max(30_000, RUNS * 100),
  );

  test('a stream that fails or is destroyed is told of', async () => {
    for (const error of [new Error('broken'), undefined]) {
      const stream = new PassThrough();
      stream.write('abc');
      const peeked = peekBody(stream, 10);
      setImmediate(() => stream.destroy(error));
      await expect(peeked).rejects.toThrow('The request was aborted');
      await expect(peekBody(stream, 10)).rejects.toThrow('The request was aborted');
    }
  });
});

describe('peeking at a request', () => {
  let server: Server;
  let requests: IncomingMessage[];

  beforeEach(async () => {
    requests = [];
    server = createServer((request, response) => {
      requests.push(request);
      response.once('close', () => undefined);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => {
    server.closeAllConnections();
    server.close();
  });

  async function begin(head: string): Promise<Socket> {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${head}\r\n\r\n`);
    await once(server, 'request');
    return socket;
  }

  test('a body that is longer than what is looked at', async () => {
    const body = Buffer.alloc(300_000, 'abcdef');
    const socket = await begin(`Content-Length: ${body.length}`);
    socket.write(body);
    const { bytes, whole } = await peekBody(requests[0], 100_000);
    expect([bytes.equals(body.subarray(0, 100_000)), whole]).toEqual([true, false]);
    expect((await rest(requests[0])).equals(body)).toBe(true);
  });

  test('a client that goes away', async () => {
    const socket = await begin('Content-Length: 100');
    socket.write('the beginning');
    const peeked = peekBody(requests[0], 1_000);
    setTimeout(() => socket.destroy(), 10);
    await expect(peeked).rejects.toThrow('The request was aborted');
  });

  test('a client that goes away after that fails the reader, as ever', async () => {
    const socket = await begin('Content-Length: 100');
    socket.write('the beginning');
    await peekBody(requests[0], 5);
    setTimeout(() => socket.destroy(), 10);
    await expect(rest(requests[0])).rejects.toThrow('aborted');
  });
});
