import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { gzipSync } from 'node:zlib';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { until } from '../support/until.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, countRuns, isReplay } from './support/cases.js';
import { useParsers } from './support/parsers.js';
import { encode, RawConnection, type RawRequest, send } from './support/raw-http.js';
import { StreamedRequestsController, uploads } from './support/streamed-requests.controller.js';

const MIB = 1_024 * 1_024;
const KINDS = ['iterated', 'piped', 'listened', 'transactional'];

const octets = (kind: string, key: string, body?: string | Uint8Array, headers: Record<string, string> = {}) => ({
  path: `/streams/${kind}`,
  key,
  headers: { 'Content-Type': 'application/octet-stream', ...headers },
  body,
});

/** The head of a request whose body comes in chunks, and these. */
const head = (kind: string, key: string, ...lines: string[]) =>
  encode(octets(kind, key, undefined, { 'Transfer-Encoding': 'chunked' }))
    .toString('latin1')
    .replace('\r\n\r\n', ['', ...lines, '', ''].join('\r\n'));
const chunk = (bytes: string | Uint8Array) =>
  Buffer.concat([
    Buffer.from(`${bytes.length.toString(16)}\r\n`),
    Buffer.from(bytes as Uint8Array),
    Buffer.from('\r\n'),
  ]);
const END = chunk('');

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const contentOf = ({ body }: { body: Buffer }) => JSON.parse(body.toString()) as Record<string, unknown>;
const outcomeOf = (answer: Awaited<ReturnType<typeof send>>) => [answer.status, isReplay(answer), codeOf(answer)];

const REPLAYED = [201, true, undefined];
const REUSED = [422, false, 'key-reused'];
const RUNNING = [409, false, 'in-progress'];

describe.each(PLATFORMS)('bodies that the handler reads itself, on %s', (platform) => {
  let app: RunningApp;
  let database: TestDatabase;
  const sockets: Socket[] = [];

  const start = () =>
    startApp(platform, { controllers: [StreamedRequestsController], configure: useParsers, database });

  beforeAll(async () => {
    database = await createDatabase('postgres');
    app = await start();
    app.app.getHttpServer().on('connection', (socket: Socket) => sockets.push(socket));
  });
  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  /** Once the key is no longer taken. */
  const sendWhenFree = async (request: RawRequest) => {
    let answer = await send(app.port, request);
    await until(async () => answer.status !== 409 || ((answer = await send(app.port, request)), false));
    return answer;
  };

  test.each(KINDS)('%s: files that differ anywhere are two requests', async (kind) => {
    const bytes = randomBytes(3 * MIB);
    for (const at of [0, MIB, MIB + 72, bytes.length - 1]) {
      const key = randomUUID();
      const first = await send(app.port, octets(kind, key, bytes));
      expect(outcomeOf(first)).toEqual([201, false, undefined]);
      expect(contentOf(first)).toEqual({ sha256: sha256(bytes) });
      bytes[at] ^= 1;
      expect(outcomeOf(await send(app.port, octets(kind, key, bytes)))).toEqual(REUSED);
      bytes[at] ^= 1;
      const again = await send(app.port, octets(kind, key, bytes));
      expect([...outcomeOf(again), again.body.equals(first.body)]).toEqual([...REPLAYED, true]);
      for (const other of [bytes.subarray(1), bytes.subarray(0, -1), Buffer.concat([bytes, bytes.subarray(0, 1)])]) {
        expect(outcomeOf(await send(app.port, octets(kind, key, other)))).toEqual(REUSED);
      }
    }
  });

  test.each(KINDS)('%s: the handler begins with the first bytes', async (kind) => {
    const key = randomUUID();
    const connection = await RawConnection.open(app.port);
    connection.send(head(kind, key));
    await until(() => uploads.received.has(key));
    connection.send(chunk('abc'));
    await until(() => uploads.received.get(key) === 3);
    connection.send(chunk('def'));
    await until(() => uploads.received.get(key) === 6);
    connection.send(END);
    const first = await connection.read();
    expect(contentOf(first)).toEqual({ sha256: sha256(Buffer.from('abcdef')) });
    connection.close();
    // However it is sent.
    const again = await send(app.port, octets(kind, key, 'abcdef'));
    expect([...outcomeOf(again), again.body.equals(first.body)]).toEqual([...REPLAYED, true]);
    expect(outcomeOf(await send(app.port, octets(kind, key, 'abcdeg')))).toEqual(REUSED);
  });

  test('a handler that answers early answers while its client still sends', async () => {
    const key = randomUUID();
    const before = countRuns();
    const connection = await RawConnection.open(app.port);
    connection.send(head('first', key));
    connection.send(chunk('{"a":1}\n'));
    expect(contentOf(await connection.read())).toEqual({ first: '{"a":1}\n' });
    connection.close();
    // The body is compared as the handler was given it.
    expect(outcomeOf(await send(app.port, octets('first', key, '{"a":1}\n{"a":2}\n')))).toEqual(REPLAYED);
    expect(outcomeOf(await send(app.port, octets('first', key, '{"a":2}\n{"a":2}\n')))).toEqual(REUSED);
    // A retry is as early.
    const retry = await RawConnection.open(app.port);
    retry.send(head('first', key));
    retry.send(chunk('{"a":1}\n'));
    expect(outcomeOf(await retry.read())).toEqual(REPLAYED);
    retry.close();
    expect(countRuns() - before).toBe(1);
  });

  test('a handler that refuses a body unread refuses it while its client still sends', async () => {
    const key = randomUUID();
    const connection = await RawConnection.open(app.port);
    connection.send(head('refused', key));
    expect((await connection.read()).status).toBe(409);
    connection.close();
    expect(isReplay(await send(app.port, octets('refused', key, 'whatever')))).toBe(true);
  });

  test.each(KINDS)('%s: a body that breaks off frees the key', async (kind) => {
    const key = randomUUID();
    const before = countRuns();
    const connection = await RawConnection.open(app.port);
    connection.send({ ...octets(kind, key, 'the beginning'), contentLength: 100_000 });
    await until(() => uploads.received.get(key) === 13);
    connection.close();
    await until(() => uploads.failed.includes(key));
    const retry = await sendWhenFree(octets(kind, key, 'the beginning, and the end'));
    expect(outcomeOf(retry)).toEqual([201, false, undefined]);
    expect(contentOf(retry)).toEqual({ sha256: sha256(Buffer.from('the beginning, and the end')) });
    expect(countRuns() - before).toBe(2);
    expect(outcomeOf(await send(app.port, octets(kind, key, 'the beginning')))).toEqual(REUSED);
  });

  test('a retry that breaks off changes nothing', async () => {
    const key = randomUUID();
    const before = countRuns();
    await send(app.port, octets('iterated', key, 'the beginning, and the end'));
    app.log.lines.splice(0);
    const connection = await RawConnection.open(app.port);
    const known = sockets.length - 1;
    connection.send({ ...octets('iterated', key, 'the beginning'), contentLength: 100_000 });
    connection.close();
    await until(() => sockets[known].destroyed);
    expect(outcomeOf(await send(app.port, octets('iterated', key, 'the beginning, and the end')))).toEqual(REPLAYED);
    expect(countRuns() - before).toBe(1);
    expect(app.log.lines).toEqual([]);
  });

  test('after a failure, the body of the retry is another, as nothing came of the first', async () => {
    const key = randomUUID();
    expect((await send(app.port, octets('failing', key, 'abc'))).status).toBe(500);
    expect(outcomeOf(await send(app.port, octets('failing', key, 'abd')))).toEqual([201, false, undefined]);
    expect(outcomeOf(await send(app.port, octets('failing', key, 'abc')))).toEqual(REUSED);
    app.log.lines.splice(0);
  });

  test('a duplicate of a request that is being read is refused at once, unread', async () => {
    const key = randomUUID();
    const connection = await RawConnection.open(app.port);
    connection.send(head('iterated', key));
    connection.send(chunk('abc'));
    await until(() => uploads.received.get(key) === 3);
    const other = await start();
    for (const port of [app.port, other.port]) {
      const duplicate = await RawConnection.open(port);
      duplicate.send({ ...octets('iterated', key, 'abc'), contentLength: 100_000 });
      expect(outcomeOf(await duplicate.read())).toEqual(RUNNING);
      duplicate.close();
    }
    connection.send(END);
    expect((await connection.read()).status).toBe(201);
    connection.close();
    for (const port of [app.port, other.port]) {
      expect(outcomeOf(await send(port, octets('iterated', key, 'abc')))).toEqual(REPLAYED);
      expect(outcomeOf(await send(port, octets('iterated', key, 'abd')))).toEqual(REUSED);
    }
    await other.close();
  });

  test('a duplicate that waits is compared once the first has been read', async () => {
    const key = randomUUID();
    const before = countRuns();
    const connection = await RawConnection.open(app.port);
    connection.send(head('awaited', key));
    connection.send(chunk('abc'));
    await until(() => uploads.received.get(key) === 3);
    const other = await start();
    const waiting = [app.port, other.port].flatMap((port) =>
      ['abc', 'abd', 'abcd'].map((body) => send(port, octets('awaited', key, body))),
    );
    connection.send(END);
    expect((await connection.read()).status).toBe(201);
    connection.close();
    const [same, different, longer, ...elsewhere] = (await Promise.all(waiting)).map(outcomeOf);
    expect([same, different, longer]).toEqual([REPLAYED, REUSED, REUSED]);
    expect(elsewhere).toEqual([REPLAYED, REUSED, REUSED]);
    expect(countRuns() - before).toBe(1);
    await other.close();
  });

  test('a client that waits for leave to send its body gets it, and a retry too', async () => {
    const key = randomUUID();
    for (const replayed of [false, true]) {
      const connection = await RawConnection.open(app.port);
      connection.send(head('iterated', key, 'Expect: 100-continue'));
      expect(await connection.some()).toMatch(/^HTTP\/1.1 100 Continue/);
      connection.send(chunk('abc'));
      connection.send(END);
      expect(isReplay(await connection.read())).toBe(replayed);
      connection.close();
    }
  });

  test('a compressed body is compared by its bytes', async () => {
    const coded = (key: string, text: string): RawRequest =>
      octets('iterated', key, gzipSync(text), { 'Content-Encoding': 'gzip' });
    const key = randomUUID();
    const text = randomBytes(300_000).toString('hex');
    expect((await send(app.port, coded(key, text))).status).toBe(201);
    expect(outcomeOf(await send(app.port, coded(key, text)))).toEqual(REPLAYED);
    expect(outcomeOf(await send(app.port, coded(key, `${text}!`)))).toEqual(REUSED);
  });

  test('a connection goes on after a duplicate whose body was not read', async () => {
    const key = randomUUID();
    const open = uploads.hold(key);
    const text = gzipSync(randomBytes(MIB).toString('hex'));
    const coded = octets('iterated', key, text, { 'Content-Encoding': 'gzip' });
    const first = send(app.port, coded);
    await until(() => uploads.received.has(key));
    const connection = await RawConnection.open(app.port);
    for (let n = 0; n < 2; n++) {
      connection.send(coded);
      expect(outcomeOf(await connection.read())).toEqual(RUNNING);
    }
    open();
    expect((await first).status).toBe(201);
    connection.send(coded);
    expect(outcomeOf(await connection.read())).toEqual(REPLAYED);
    connection.close();
  });

  describe('of 64 MiB', () => {
    const SIZE = 64 * MIB;
    const PART = randomBytes(64 * 1_024);
    const WHOLE = createHash('sha256');
    for (let sent = 0; sent < SIZE; sent += PART.length) WHOLE.update(PART);
    const SHA256 = WHOLE.digest('hex');
    const key = randomUUID();

    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const memory = () => {
      collect();
      const { arrayBuffers, heapUsed } = process.memoryUsage();
      return arrayBuffers + heapUsed;
    };
    /** V8 counts what a collection frees once another thread has swept it. */
    const isFreed = (before: number) => until(() => memory() - before < SIZE / 2);

    /** Sends all but the last part, and that once `whenArrived` has looked at what the server keeps of it. */
    async function sendLarge(whenArrived: (socket: Socket) => Promise<void>) {
      const client = connect({ port: app.port, host: '127.0.0.1' });
      await once(app.app.getHttpServer() as never, 'connection');
      const socket = sockets.at(-1)!;
      const write = async (bytes: Uint8Array) => client.write(bytes) || once(client, 'drain');
      await write(encode(octets('piped', key, undefined, { 'Content-Length': String(SIZE) })));
      for (let sent = PART.length; sent < SIZE; sent += PART.length) await write(PART);
      try {
        await whenArrived(socket);
        client.write(PART);
        return String((await once(client, 'data'))[0]);
      } finally {
        client.destroy();
      }
    }
    const hasArrived = (socket: Socket) => until(() => socket.bytesRead > SIZE - PART.length);

    test('nothing is kept of it', async () => {
      const before = memory();
      const answer = await sendLarge(async (socket) => {
        await hasArrived(socket);
        await until(() => uploads.received.get(key) === SIZE - PART.length);
        await isFreed(before);
      });
      expect(answer).toContain(SHA256);
    });

    test('nor on a retry, whose body is read before it is answered', async () => {
      const before = memory();
      const answer = await sendLarge(async (socket) => {
        await hasArrived(socket);
        await isFreed(before);
        expect(socket.bytesWritten).toBe(0);
      });
      expect(answer).toContain(SHA256);
      expect(answer.toLowerCase()).toContain('idempotent-replayed: true');
    });

    test('a handler that does not read stops its client', async () => {
      const slow = randomUUID();
      const open = uploads.hold(slow);
      const client = connect({ port: app.port, host: '127.0.0.1' });
      await once(app.app.getHttpServer() as never, 'connection');
      const socket = sockets.at(-1)!;
      client.write(encode(octets('piped', slow, undefined, { 'Content-Length': String(SIZE) })));
      for (let sent = 0; sent < SIZE; sent += PART.length) client.write(PART);
      await until(() => uploads.received.has(slow));
      // Once the server has stopped reading.
      let seen = -1;
      await until(async () => {
        const before = seen;
        seen = socket.bytesRead;
        await new Promise((resolve) => setTimeout(resolve, 50));
        return seen === before;
      });
      expect(seen).toBeLessThan(MIB);
      open();
      expect(String((await once(client, 'data'))[0])).toContain(SHA256);
      client.destroy();
    });
  });
});
