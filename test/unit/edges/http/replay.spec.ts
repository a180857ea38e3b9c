import { once } from 'node:events';
import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Subscriber } from 'rxjs';
import { packHead } from '../../../../lib/edges/content/response-head.js';
import type { Exchange, FastifyReply } from '../../../../lib/edges/http/exchange.js';
import { replay } from '../../../../lib/edges/http/replay.js';
import type { StaleNonces } from '../../../../lib/edges/http/stale-nonces.js';
import { responses } from './support.js';

const { ask, answerTo } = responses();

const JSON_HEAD = { headers: [['Content-Type', 'application/json'] as const, ['X-Stored', 'a'] as const] };
const BODY = Buffer.from('{"id":1}');

const outcome = (members: object = {}) => ({
  code: 201,
  head: packHead(JSON_HEAD),
  body: BODY as Buffer | null,
  ...members,
});

/** What a hook makes of a reply, and of the payload that it gets. */
type Hook = (reply: Reply, payload: unknown) => unknown;

/** A reply that keeps headers itself and sends through a hook, as Fastify does. */
class Reply implements FastifyReply {
  readonly own: OutgoingHttpHeaders = {};
  payload: unknown;

  constructor(
    readonly raw: ServerResponse,
    private readonly hook: Hook = (_, payload) => payload,
  ) {}

  get statusCode(): number {
    return this.raw.statusCode;
  }

  getHeader(name: string) {
    return this.own[name.toLowerCase()];
  }

  getHeaders() {
    return { ...this.own };
  }

  header(name: string, value: unknown) {
    this.own[name.toLowerCase()] = value as string;
  }

  removeHeader(name: string) {
    delete this.own[name.toLowerCase()];
  }

  send(payload?: unknown): void {
    this.payload = payload;
    const sent = this.hook(this, payload);
    if (sent === NEVER) return;
    if (sent !== undefined && !('content-length' in this.own)) {
      this.header('content-length', Buffer.byteLength(sent as string));
    }
    this.raw.writeHead(this.statusCode, this.own);
    this.raw.end(sent as string);
  }
}

const NEVER = Symbol('a hook that never goes on');

/** Replays, and returns what the outer interceptors got. */
function replayTo(response: ServerResponse, stored: ReturnType<typeof outcome>, reply?: Reply) {
  const seen: unknown[] = [];
  const noted: unknown[] = [];
  const exchange = {
    endpoint: 'POST /a',
    rawResponse: response,
    reply,
    suppressFrameworkReply: () => seen.push('suppressed'),
  };
  const subscriber = new Subscriber<unknown>({
    next: (value: unknown) => seen.push(value),
    error: (error: unknown) => seen.push(error),
    complete: () => seen.push('complete'),
  });
  const nonces = { note: (...note: readonly unknown[]) => noted.push(note) };
  replay(exchange as unknown as Exchange, stored, nonces as unknown as StaleNonces, subscriber);
  return { seen, noted };
}

/** What a client of Fastify gets of a replay. */
async function overFastify(hook?: Hook, stored = outcome()) {
  let reply!: Reply;
  let result!: ReturnType<typeof replayTo>;
  const answer = await answerTo((response) => {
    response.sendDate = false;
    reply = new Reply(response, hook);
    result = replayTo(response, stored, reply);
  });
  const headers = Object.fromEntries(answer.rawHeaders.flatMap((name, i, all) => (i % 2 ? [] : [[name, all[i + 1]]])));
  delete headers.Connection;
  return { status: answer.status, headers, body: answer.body, payload: reply.payload, reply, ...result };
}

const STORED = { 'Content-Type': 'application/json', 'X-Stored': 'a', 'Idempotent-Replayed': 'true' };

describe('a replay', () => {
  test('is the stored response, and later writes do nothing', async () => {
    let result!: ReturnType<typeof replayTo>;
    const { status, headers, body } = await answerTo((response) => {
      result = replayTo(response, outcome());
      response.write('more');
      response.statusCode = 500;
    });
    expect([status, headers['x-stored'], headers['idempotent-replayed'], body]).toEqual([201, 'a', 'true', '{"id":1}']);
    expect(result.seen).toEqual(['suppressed', { id: 1 }, 'complete']);
    expect(result.noted).toEqual([['POST /a', expect.anything(), outcome()]]);
  });

  const head = (type: string) => packHead({ headers: [['content-TYPE', type]] });
  test.each([
    ['the parsed body of JSON', {}, { id: 1 }],
    ['that of a problem', { head: head('application/problem+json; charset=utf-8') }, { id: 1 }],
    ['nothing for another type', { head: head('text/plain') }, undefined],
    ['nothing without a type', { head: packHead({ headers: [['X-Type', 'json']] }) }, undefined],
    ['nothing without a body', { body: null }, undefined],
    ['nothing for JSON that cannot be parsed', { body: Buffer.from('{') }, undefined],
  ])('gives outer interceptors %s', async (_, members, value) => {
    let result!: ReturnType<typeof replayTo>;
    await answerTo((response) => (result = replayTo(response, outcome(members))));
    expect(result.seen).toEqual(['suppressed', value, 'complete']);
  });

  test('of a head that cannot be sent throws before anything is sent', async () => {
    await answerTo((response) => {
      expect(() => replayTo(response, outcome({ code: 99 }))).toThrow(/cannot be read/);
      expect(response.headersSent).toBe(false);
      response.end();
    });
  });
});

describe('a replay through the hooks of Fastify', () => {
  test('is the stored response in its spelling', async () => {
    const { status, headers, body, seen, noted } = await overFastify();
    expect({ status, headers, body }).toEqual({
      status: 201,
      headers: { ...STORED, 'Content-Length': '8' },
      body: '{"id":1}',
    });
    expect(seen).toEqual(['suppressed', { id: 1 }, 'complete']);
    expect(noted).toHaveLength(1);
  });

  test('has the headers that a hook adds or changes', async () => {
    const { headers } = await overFastify((reply, payload) => {
      reply.header('x-hook', '1');
      reply.header('x-stored', 'changed');
      reply.header('set-cookie', 'session=2');
      return payload;
    });
    expect(headers).toMatchObject({ 'x-hook': '1', 'x-stored': 'changed', 'set-cookie': 'session=2' });
    expect(headers['X-Stored']).toBeUndefined();
  });

  test('has the stored bytes, and the headers that describe them, whatever a hook makes of the bytes', async () => {
    const { headers, body } = await overFastify((reply) => {
      for (const name of ['content-encoding', 'etag', 'last-modified', 'digest', 'repr-digest', 'content-range']) {
        reply.header(name, 'x');
      }
      reply.header('content-type', 'text/plain');
      reply.header('content-security-policy', 'default-src');
      return 'compressed';
    });
    expect({ headers, body }).toEqual({
      headers: { ...STORED, 'content-security-policy': 'default-src', 'Content-Length': '8' },
      body: '{"id":1}',
    });
  });

  test('has the stored entity tag where a hook has written another one', async () => {
    const stored = outcome({ head: packHead({ headers: [['ETag', '"stored"']] }) });
    const { headers } = await overFastify((reply, payload) => (reply.header('etag', '"hook"'), payload), stored);
    expect(headers).toMatchObject({ ETag: '"stored"' });
  });

  test('without a body has none, whatever a hook writes', async () => {
    const stored = outcome({ head: packHead({ headers: [] }), body: null });
    const { headers, body } = await overFastify(() => 'written', stored);
    expect({ headers, body }).toEqual({ headers: { 'Idempotent-Replayed': 'true', 'Content-Length': '0' }, body: '' });
  });

  test('is sent where a hook writes in chunks', async () => {
    const { body, seen } = await overFastify((reply) => {
      expect(reply.raw.write('chunk')).toBe(true);
      expect(reply.raw.write('chunk')).toBe(true);
      reply.raw.flushHeaders();
      return NEVER;
    });
    expect(body).toBe('{"id":1}');
    expect(seen).toEqual(['suppressed', { id: 1 }, 'complete']);
  });

  test.each([
    ['text as a string', 'application/json', BODY, '{"id":1}'],
    ['XML as a string', 'application/xml', Buffer.from('<a/>'), '<a/>'],
    ['a form as a string', 'application/x-www-form-urlencoded', Buffer.from('a=1'), 'a=1'],
    ['a script as a string', 'application/javascript', Buffer.from('1'), '1'],
    ['plain text as a string', 'text/plain', Buffer.from('a'), 'a'],
    ['bytes as they are', 'image/png', Buffer.from('png'), Buffer.from('png')],
    ['text that is no UTF-8 as it is', 'text/plain', Buffer.from([0xff]), Buffer.from([0xff])],
    ['nothing for an empty body', 'text/plain', Buffer.alloc(0), undefined],
  ])('gives hooks %s', async (_, type, body, payload) => {
    const stored = outcome({ head: packHead({ headers: [['Content-Type', type]] }), body });
    expect((await overFastify(undefined, stored)).payload).toEqual(payload);
  });

  test.each([
    ['application/problem+json; charset=utf-8', 422, 'application/json'],
    ['application/problem+json', 400, 'application/json'],
    ['application/problem+json', 399, 'application/problem+json'],
    ['text/plain', 422, 'text/plain'],
  ])('leaves the type of %s with status %d as %s', async (type, code, expected) => {
    const { reply, headers } = await overFastify(
      undefined,
      outcome({ code, head: packHead({ headers: [['Content-Type', type]] }) }),
    );
    expect(reply.own['content-type']).toBe(expected);
    expect(headers['Content-Type']).toBe(type);
  });

  test('is reported when its client has gone before a hook goes on', async () => {
    const seen = new Promise<unknown[]>((resolve) => {
      const asked = ask((response) => {
        const result = replayTo(response, outcome(), new Reply(response, () => NEVER));
        response.on('close', () => resolve(result.seen));
        expect(result.seen).toEqual([]);
        asked.destroy();
      });
      asked.on('error', () => {});
    });
    expect(await seen).toEqual(['suppressed', { id: 1 }, 'complete']);
  });
});

describe('the response of a hook, such as a session that could not be saved', () => {
  const refuse: Hook = (reply) => {
    reply.raw.statusCode = 500;
    reply.header('content-type', 'text/plain');
    return 'refused';
  };

  test('is sent as the hook wrote it', async () => {
    const { status, headers, body } = await overFastify(refuse);
    expect({ status, body }).toEqual({ status: 500, body: 'refused' });
    expect(headers).toEqual({ 'content-type': 'text/plain', 'x-stored': 'a', 'content-length': '7' });
  });

  test('has no coding of the stored body', async () => {
    const stored = outcome({ head: packHead({ headers: [['Content-Encoding', 'x-own']] }) });
    expect((await overFastify(refuse, stored)).headers['content-encoding']).toBeUndefined();
    const coded: Hook = (reply, payload) => (reply.header('content-encoding', 'x-hook'), refuse(reply, payload));
    expect((await overFastify(coded, stored)).headers).toMatchObject({ 'content-encoding': 'x-hook' });
  });

  test('may be written in chunks', async () => {
    const { status, body } = await overFastify((reply) => {
      reply.raw.statusCode = 500;
      reply.raw.write('re');
      void once(reply.raw, 'finish');
      reply.raw.end('fused');
      return NEVER;
    });
    expect({ status, body }).toEqual({ status: 500, body: 'refused' });
  });
});
