import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import multipartPlugin from '@fastify/multipart';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { until } from '../support/until.js';
import { type Platform, PLATFORMS, type RunningApp, startApp, type TestApplication } from './support/app.js';
import { codeOf, countRuns, isReplay } from './support/cases.js';
import { type Form, multipart } from './support/multipart.js';
import { useParsers } from './support/parsers.js';
import { encode, RawConnection, type RawRequest, send } from './support/raw-http.js';
import {
  AttachedController,
  digest,
  RequestFingerprintsController,
  uploadsController,
} from './support/request-fingerprints.controller.js';

const MIB = 1_024 * 1_024;
const KINDS = ['inside', 'outside', 'disk', 'several'];

const FORM: Form = { fields: { note: 'a note' }, file: { content: 'the content' } };
const OTHERS: [name: string, form: Form][] = [
  ['content', { ...FORM, file: { content: 'the contents' } }],
  ['content of the same length', { ...FORM, file: { content: 'the c0ntent' } }],
  ['file name', { ...FORM, file: { content: 'the content', name: 'b.txt' } }],
  ['file type', { ...FORM, file: { content: 'the content', type: 'text/csv' } }],
  ['field', { ...FORM, fields: { note: 'another' } }],
  ['field more', { ...FORM, fields: { note: 'a note', more: '1' } }],
];

interface Content {
  readonly file?: { readonly sha256?: string; readonly size: number };
}

const contentOf = ({ body }: { body: Buffer }) => JSON.parse(body.toString()) as Content;

describe.each(PLATFORMS)('uploads, on %s', (platform) => {
  let app: RunningApp;
  const kinds = platform === 'fastify' ? [...KINDS, 'manual'] : KINDS;

  beforeAll(async () => {
    app = await startApp(platform, {
      controllers: [uploadsController(platform), RequestFingerprintsController],
      configure: useParsers,
    });
  });
  afterAll(() => app?.close());

  const upload = (kind: string, key: string, form: Form) =>
    send(app.port, { path: `/uploads/${kind}`, key, ...multipart(form) });

  test.each(kinds)('%s: the same upload under another boundary is a replay', async (kind) => {
    const key = randomUUID();
    const before = countRuns();
    const first = await upload(kind, key, FORM);
    const second = await upload(kind, key, { ...FORM, boundary: 'short' });
    expect([first.status, isReplay(first)]).toEqual([201, false]);
    expect([second.status, isReplay(second), second.body.equals(first.body)]).toEqual([201, true, true]);
    expect(countRuns() - before).toBe(1);
    const { file } = contentOf(first);
    if (file?.sha256) expect(file.sha256).toBe(digest(Buffer.from('the content')));
  });

  test.each(kinds.flatMap((kind) => OTHERS.map(([name, form]) => [kind, name, form] as const)))(
    '%s: another %s is another request',
    async (kind, _name, form) => {
      const key = randomUUID();
      expect((await upload(kind, key, FORM)).status).toBe(201);
      const second = await upload(kind, key, form);
      expect([second.status, codeOf(second)]).toEqual([422, 'key-reused']);
    },
  );

  /** Of a part that @fastify/multipart attaches, only the value counts. Two payments differed in nothing else, and were one. */
  test('fields that look like a part are compared as a whole', async () => {
    const key = randomUUID();
    const fields = { 'extra[fieldname]': 'tip', 'extra[value]': 'yes', 'extra[amount]': '5' };
    const first = await upload('fields', key, { fields });
    expect(JSON.parse(first.body.toString())).toMatchObject({ body: { extra: { fieldname: 'tip', amount: '5' } } });
    expect(isReplay(await upload('fields', key, { fields }))).toBe(true);
    expect(codeOf(await upload('fields', key, { fields: { ...fields, 'extra[amount]': '6' } }))).toBe('key-reused');
  });

  test.each(['inside', 'outside'])('%s: a file of several megabytes arrives whole', async (kind) => {
    const large = randomBytes(platform === 'fastify' ? 900_000 : 3 * MIB);
    const key = randomUUID();
    const first = await upload(kind, key, { file: { content: large } });
    expect(contentOf(first).file).toMatchObject({ size: large.length, sha256: digest(large) });
    expect(isReplay(await upload(kind, key, { file: { content: large } }))).toBe(true);
    const changed = Buffer.from(large);
    changed[1_000] ^= 1;
    expect(codeOf(await upload(kind, key, { file: { content: changed } }))).toBe('key-reused');
    expect(codeOf(await upload(kind, key, { file: { content: large.subarray(1) } }))).toBe('key-reused');
  });

  test('a boundary wherever it lies makes no difference', async () => {
    for (let length = MIB - 140; length < MIB - 80; length += 7) {
      const content = Buffer.alloc(length, 'x');
      const parts = () => ({
        path: '/requests/unread',
        ...multipart({ fields: { a: content.toString(), b: 'y'.repeat(500) } }),
      });
      const key = randomUUID();
      expect((await send(app.port, { ...parts(), key })).status).toBe(201);
      expect(isReplay(await send(app.port, { ...parts(), key }))).toBe(true);
    }
  });

  test('an upload that its interceptor refuses never began', async () => {
    const key = randomUUID();
    expect((await upload('limited', key, { file: { content: 'more than ten bytes' } })).status).toBe(413);
    const corrected = await upload('limited', key, { file: { content: 'few' } });
    expect([corrected.status, isReplay(corrected)]).toEqual([201, false]);
    expect(isReplay(await upload('limited', key, { file: { content: 'few' } }))).toBe(true);
  });

  test('an upload that ends early is refused, and leaves no hanging request', async () => {
    const key = randomUUID();
    const { headers, body } = multipart(FORM);
    const cut = (body as Buffer).subarray(0, 120);
    expect((await send(app.port, { path: '/uploads/inside', key, headers, body: cut })).status).toBe(400);
    expect((await upload('inside', key, FORM)).status).toBe(201);
  });

  const octets = (body: Uint8Array, key: string): RawRequest => ({
    path: '/requests/stream',
    key,
    headers: { 'Content-Type': 'application/octet-stream' },
    body,
  });

  test.each([1, 16_384, 65_536, MIB - 1, MIB, MIB + 1, MIB + 72, MIB + 73, 3 * MIB])(
    'a stream of %i bytes reaches the handler as it was sent',
    async (size) => {
      const bytes = randomBytes(size);
      const key = randomUUID();
      const first = await send(app.port, octets(bytes, key));
      expect(JSON.parse(first.body.toString())).toMatchObject({ size, sha256: digest(bytes) });
      const second = await send(app.port, octets(bytes, key));
      expect([isReplay(second), second.body.equals(first.body)]).toEqual([true, true]);
      bytes[0] ^= 1;
      expect(codeOf(await send(app.port, octets(bytes, key)))).toBe('key-reused');
    },
  );

  test('a stream that comes byte by byte reaches the handler', async () => {
    const bytes = encode(octets(Buffer.from('drop by drop'), randomUUID()));
    const connection = await RawConnection.open(app.port);
    for (const byte of bytes.subarray(0, -12)) connection.send(Buffer.from([byte]));
    for (const byte of bytes.subarray(-12)) {
      await sleep(3);
      connection.send(Buffer.from([byte]));
    }
    const answer = await connection.read();
    expect(JSON.parse(answer.body.toString())).toMatchObject({ size: 12, sha256: digest(Buffer.from('drop by drop')) });
    connection.close();
  });

  test('a body in chunks reaches the handler, of some bytes and of none', async () => {
    const headers = { 'Content-Type': 'application/octet-stream', 'Transfer-Encoding': 'chunked' };
    for (const [body, size] of [
      ['3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n', 5],
      ['0\r\n\r\n', 0],
    ] as const) {
      const request = { path: '/requests/stream', key: randomUUID(), headers, body };
      const first = await send(app.port, request);
      expect(JSON.parse(first.body.toString())).toMatchObject({ size });
      expect(isReplay(await send(app.port, request))).toBe(true);
    }
  });

  test('a large body that no handler reads does not stop the connection, the first time and on a replay', async () => {
    const connection = await RawConnection.open(app.port);
    const request = { ...octets(Buffer.alloc(4 * MIB, 'z'), randomUUID()), path: '/requests/unread' };
    const answers = [];
    for (let n = 0; n < 3; n++) {
      connection.send(request);
      answers.push(await connection.read());
    }
    expect(answers.map((answer) => [answer.status, isReplay(answer)])).toEqual([
      [201, false],
      [201, true],
      [201, true],
    ]);
    connection.close();
  });

  test('a client that goes away while its interceptor reads its body leaves no hanging request', async () => {
    const key = randomUUID();
    const before = countRuns();
    const connection = await RawConnection.open(app.port);
    connection.send({ path: '/uploads/inside', key, ...multipart(FORM), contentLength: 100_000 });
    connection.close();
    let retry = await upload('inside', key, FORM);
    await until(async () => retry.status !== 409 || ((retry = await upload('inside', key, FORM)), false));
    expect([retry.status, isReplay(retry), countRuns() - before]).toEqual([201, false, 1]);
  });
});

describe.each([true, 'keyValues'] as const)('uploads, on fastify with attachFieldsToBody: %s', (attachFieldsToBody) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp('fastify', {
      controllers: [AttachedController],
      configure: async (nest) => {
        await (nest as NestFastifyApplication).register(multipartPlugin as never, { attachFieldsToBody } as never);
      },
    });
  });
  afterAll(() => app?.close());

  const upload = (key: string, form: Form) => send(app.port, { path: '/attached', key, ...multipart(form) });

  test('the same upload is a replay', async () => {
    const key = randomUUID();
    const first = await upload(key, FORM);
    expect(JSON.parse(first.body.toString())).toMatchObject({ sha256: digest(Buffer.from('the content')) });
    const second = await upload(key, FORM);
    expect([second.status, isReplay(second), second.body.equals(first.body)]).toEqual([201, true, true]);
  });

  // With 'keyValues', the plugin keeps neither the name nor the type of a file.
  const others = attachFieldsToBody === true ? OTHERS : OTHERS.filter(([name]) => !name.startsWith('file'));
  test.each(others)('another %s is another request', async (_name, form) => {
    const key = randomUUID();
    expect((await upload(key, FORM)).status).toBe(201);
    expect(codeOf(await upload(key, form))).toBe('key-reused');
  });
});

/** Google's Cloud Functions read every body before the application gets the request, as some applications do for signatures. */
describe.each(PLATFORMS)('forms that a parser has read as they came, on %s', (platform) => {
  test.each(['bytes', 'text'] as const)('as %s', async (kind) => {
    const app = await startApp(platform, {
      controllers: [RequestFingerprintsController],
      configure: (nest) => parseForms(nest, platform, kind),
    });
    try {
      const upload = (key: string, form: Form) => send(app.port, { path: '/requests/json', key, ...multipart(form) });
      const large: Form = { ...FORM, file: { content: 'x'.repeat(MIB) } };
      for (const form of [FORM, large]) {
        const key = randomUUID();
        const first = await upload(key, form);
        expect([first.status, isReplay(first)]).toEqual([201, false]);
        const second = await upload(key, { ...form, boundary: 'short' });
        expect([second.status, isReplay(second), second.body.equals(first.body)]).toEqual([201, true, true]);
        for (const [, other] of OTHERS) expect(codeOf(await upload(key, other))).toBe('key-reused');
      }
    } finally {
      await app.close();
    }
  });
});

function parseForms(app: TestApplication, platform: Platform, kind: 'bytes' | 'text'): void {
  const type = 'multipart/form-data';
  if (platform === 'express') {
    (app as NestExpressApplication).useBodyParser(kind === 'text' ? 'text' : 'raw', { type, limit: '2mb' });
    return;
  }
  const parseAs = kind === 'text' ? 'string' : 'buffer';
  const instance = (app as NestFastifyApplication).getHttpAdapter().getInstance();
  const options = { parseAs, bodyLimit: 2 * MIB } as { parseAs: 'string' };
  instance.addContentTypeParser(type, options, (_request, body, done) => done(null, body));
}
