import { Controller, Post } from '@nestjs/common';
import {
  type ClientProxy,
  ClientProxyFactory,
  MessagePattern,
  type MicroserviceOptions,
  Transport,
} from '@nestjs/microservices';
import { lastValueFrom, toArray } from 'rxjs';
import { IdempotencyService, Idempotent, type IdempotentOptions } from '../../lib/index.js';
import { freePort } from '../support/free-port.mjs';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, countRuns, isReplay } from './support/cases.js';
import { type RawRequest, send, valueOf } from './support/raw-http.js';
import { SECRET, RedactionController } from './support/redaction.controller.js';

/** What the module redacts for all operations. */
const redact = ['/payments/*/card/number', '/*/cvc', '/card~1no', '/x~2/y', '/~2', '?token', '?card', '?filter/pin'];

describe.each(PLATFORMS)('what is stored, on %s', (platform) => {
  let app: RunningApp;
  let client: ClientProxy;

  beforeAll(async () => {
    const options = { host: '127.0.0.1', port: await freePort() };
    app = await startApp(platform, {
      controllers: [RedactionController],
      options: { request: { redact }, fingerprint: { ignore: ['/sentAt', '?sentAt'] } },
      configure: async (nest) => {
        nest.connectMicroservice<MicroserviceOptions>({ transport: Transport.TCP, options });
        await nest.startAllMicroservices();
      },
    });
    client = ClientProxyFactory.create({ transport: Transport.TCP, options });
  });
  afterAll(async () => {
    await client?.close();
    await app?.close();
  });
  beforeEach(() => app.dataSource.query('DELETE FROM idempotency_record'));

  const post = (path: string, request: Partial<RawRequest> = {}) =>
    send(app.port, { path: `/redaction/${path}`, key: 'k', body: {}, ...request });
  const rows = () => app.dataSource.query('SELECT * FROM idempotency_record') as Promise<Record<string, unknown>[]>;
  const contents = async () =>
    (await rows())
      .flatMap((row) => Object.values(row))
      .map((value) => (value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value)))
      .join('\n');
  const request = async () =>
    JSON.parse(Buffer.from((await rows())[0].request as Uint8Array).toString()) as {
      path: string;
      body: unknown;
      input: unknown;
    };

  describe('of requests', () => {
    const hidden = '[redacted]';

    test.each<[string, object, object]>([
      [
        'any index, and no other member',
        { payments: [{ card: { number: 1, name: 'Ann' } }, { card: { number: 2 } }, {}, 5], number: 3 },
        { payments: [{ card: { number: hidden, name: 'Ann' } }, { card: { number: hidden } }, {}, 5], number: 3 },
      ],
      [
        'any member',
        { payments: { a: { card: { number: 1 } } }, card: { cvc: 1 } },
        { payments: { a: { card: { number: hidden } } }, card: { cvc: hidden } },
      ],
      ['an array at the root', [{ cvc: 1, ok: 2 }], [{ cvc: hidden, ok: 2 }]],
      [
        'escapes',
        { 'card/no': 1, 'x*': { y: 1 }, 'x~2': { y: 1 } },
        { 'card/no': hidden, 'x*': { y: hidden }, 'x~2': { y: 1 } },
      ],
      ['a member named *, alone', { '*': 1, other: 1 }, { '*': hidden, other: 1 }],
      ['a member that is called as a method is', { toJSON: { cvc: 1 } }, { toJSON: { cvc: hidden } }],
    ])('%s', async (_, body, stored) => {
      expect((await post('requests', { body })).status).toBe(201);
      expect((await request()).body).toEqual(stored);
    });

    test.each([
      ['?a=1&token=SECRET&token=SECRET%20&b', '?a=1&token=[redacted]&token=[redacted]&b'],
      ['?%74oken=SECRET', '?%74oken=[redacted]'],
      ['?card[number]=SECRET&card=SECRET&cards=1', '?card[number]=[redacted]&card=[redacted]&cards=1'],
      ['?filter%5Bpin%5D=SECRET&filter[sort]=1', '?filter%5Bpin%5D=[redacted]&filter[sort]=1'],
      ['?code=SECRET', '?code=[redacted]'],
    ])('of the query: %s', async (query, stored) => {
      await post(`requests${query}`);
      expect((await request()).path).toBe(`/redaction/requests${stored}`);
    });

    /** Express makes members of members of them, and Fastify does not. */
    test('the fields of a form, by their names in brackets', async () => {
      const headers = { 'Content-Type': 'application/x-www-form-urlencoded' };
      const fields = ['payments[0][card][number]', 'payments%5B1%5D%5Bcard%5D%5Bnumber%5D', 'card[cvc]', 'pin'];
      const body = [...fields.map((name) => `${name}=${SECRET}`), 'card[name]=Ann'].join('&');
      expect((await post('requests', { headers, body })).status).toBe(201);
      expect(await contents()).not.toContain(SECRET);
      expect(JSON.stringify((await request()).body)).toContain('Ann');
    });

    test('an operation adds to what the module redacts', async () => {
      await post('requests', { body: { pin: 1, card: { cvc: 2 }, ok: 3 } });
      expect((await request()).body).toEqual({ pin: hidden, card: { cvc: hidden }, ok: 3 });
    });

    test('what is redacted still counts', async () => {
      await post('requests?token=a', { body: { pin: 1 } });
      expect(codeOf(await post('requests?token=a', { body: { pin: 2 } }))).toBe('key-reused');
      expect(codeOf(await post('requests?token=b', { body: { pin: 1 } }))).toBe('key-reused');
      expect(isReplay(await post('requests?token=a', { body: { pin: 1 } }))).toBe(true);
    });

    test('of a message, and of run()', async () => {
      const cards = [{ number: SECRET, sentAt: 1 }, { number: SECRET }];
      await lastValueFrom(client.send('mint-unstored', { key: 'm', cards }));
      expect(await contents()).not.toContain(SECRET);
      expect((await request()).input).toEqual({ key: 'm', cards: [{ number: hidden, sentAt: 1 }, { number: hidden }] });

      await app.dataSource.query('DELETE FROM idempotency_record');
      const service = app.app.get(IdempotencyService);
      const input = { payments: [{ card: { number: SECRET } }], pins: [SECRET], sentAt: 1 };
      const run = (changes: object) =>
        service.run(
          { key: 'r', operation: 'o', input: { ...input, ...changes }, request: { redact: ['/pins/*'] } },
          () => 1,
        );
      await run({});
      expect(await contents()).not.toContain(SECRET);
      expect(await run({ sentAt: 2 })).toBe(1);
      await expect(run({ pins: [] })).rejects.toMatchObject({ code: 'key-reused' });
      await expect(
        service.run({ key: 'p', operation: 'o', input: { a: Promise.resolve(1) } }, () => 1),
      ).rejects.toThrow('a promise is no JSON');
      await expect(service.run({ key: 't', operation: 'o', input: JSON.stringify(input) }, () => 1)).resolves.toBe(1);
      expect(await contents()).not.toContain(SECRET);
    });
  });

  describe('of what is compared', () => {
    const body = {
      items: [
        { id: 1, at: 1 },
        { id: 2, at: 1 },
      ],
      note: 'a',
    };

    test.each<[string, string, object, string, 'same' | 'other']>([
      ['only', 'what is not named', { ...body, note: 'b' }, '?account=1&utm=2', 'same'],
      ['only', 'what is named and ignored', { ...body, items: [{ id: 9 }, { id: 2 }] }, '?account=1&utm=1', 'same'],
      ['only', 'a member that is named', { ...body, items: [{ id: 1 }, { id: 3 }] }, '?account=1&utm=1', 'other'],
      ['only', 'an item more', { ...body, items: [...body.items, { id: 3 }] }, '?account=1&utm=1', 'other'],
      ['only', 'a parameter that is named', body, '?account=2&utm=1', 'other'],
      ['only', 'the same in other words', { note: 'c', items: [{ id: 1 }, { id: 2 }] }, '?account=1', 'same'],
      [
        'ignoring',
        'what is ignored',
        { items: [{ id: 1, at: 2 }, { id: 2 }], note: 'a' },
        '?account=1&utm=1&trace=1',
        'same',
      ],
      ['ignoring', 'a parameter within what is ignored', body, '?account=1&utm=1&meta[a]=1&meta=2', 'same'],
      ['ignoring', 'what is not', { ...body, note: 'b' }, '?account=1&utm=1', 'other'],
      ['ignoring', 'a parameter that is not', body, '?account=2&utm=1', 'other'],
    ])('%s: %s', async (path, _, changed, query, expected) => {
      await post(`${path}?account=1&utm=1`, { body });
      const again = await post(`${path}${query}`, { body: changed });
      expect(isReplay(again) ? 'same' : codeOf(again)).toBe(expected === 'same' ? 'same' : 'key-reused');
    });

    test('only: a body or query that has nothing of it is compared as a whole', async () => {
      await post('only?a=1', { body: { itmes: [{ id: 1 }] } });
      expect(codeOf(await post('only?a=1', { body: { itmes: [{ id: 2 }] } }))).toBe('key-reused');
      expect(codeOf(await post('only?a=2', { body: { itmes: [{ id: 1 }] } }))).toBe('key-reused');
      expect(isReplay(await post('only?a=1', { body: { itmes: [{ id: 1 }] } }))).toBe(true);
    });

    test('of a message', async () => {
      const ask = (cards: object[]) => lastValueFrom(client.send<unknown>('mint-unstored', { key: 'c', cards }));
      await ask([{ number: 1, sentAt: 1 }]);
      await expect(ask([{ number: 1, sentAt: 2 }])).rejects.toMatchObject({ code: 'replay-unavailable' });
      await expect(ask([{ number: 2, sentAt: 2 }])).rejects.toMatchObject({ code: 'key-reused' });
    });
  });

  describe('of responses', () => {
    test.each([
      ['mint', 201],
      ['mint-nothing', 204],
      ['mint-transactional', 201],
    ])('store: false keeps that it was carried out: %s', async (path, status) => {
      const before = countRuns();
      const first = await post(path);
      expect(first.status).toBe(status);
      if (status === 201) expect(first.body.toString()).toContain(SECRET);
      const again = await post(path);
      expect([again.status, codeOf(again)]).toEqual([409, 'replay-unavailable']);
      expect(codeOf(await post(path, { body: { other: 1 } }))).toBe('key-reused');
      expect(countRuns() - before).toBe(1);
      expect(await contents()).not.toContain(SECRET);
      expect(await rows()).toMatchObject([{ status: 'done', response_head: null, response_body: null }]);
    });

    test.each(['json', 'gzipped'])('redact: the first caller gets all, a replay what is stored: %s', async (path) => {
      const first = await post(path, { headers: { 'Content-Type': 'application/json', 'Accept-Encoding': 'gzip' } });
      const again = await post(path, { headers: { 'Content-Type': 'application/json', 'Accept-Encoding': 'gzip' } });
      const body = '{"id":7,"keys":[{"name":"a"}],"at":"1970-01-01T00:00:00.000Z"}';
      expect([isReplay(again), again.status, again.body.toString()]).toEqual([true, first.status, body]);
      expect(Number(valueOf(again.head, 'content-length'))).toBe(body.length);
      expect(valueOf(again.head, 'content-type')).toBe(valueOf(first.head, 'content-type'));
      // They described other bytes.
      for (const name of ['etag', 'content-encoding']) expect(valueOf(again.head, name)).toBeUndefined();
      if (path === 'json') expect(first.body.toString()).toContain(`${SECRET}a`);
      expect(await contents()).not.toContain(SECRET);
    });

    test.each(['other-json', 'nothing'])('redact: what has none of it is replayed byte for byte: %s', async (path) => {
      const [first, again] = [await post(path), await post(path)];
      expect(isReplay(again)).toBe(true);
      expect(again.body).toEqual(first.body);
      expect(valueOf(again.head, 'etag')).toBe(valueOf(first.head, 'etag'));
    });

    test.each(['text', 'number'])('redact: what is not JSON is not stored: %s', async (path) => {
      expect((await post(path)).status).toBe(201);
      expect(codeOf(await post(path))).toBe('replay-unavailable');
      expect(await contents()).not.toMatch(/sk_live_|4111/);
    });

    test('of a message', async () => {
      const ask = (how: string) => lastValueFrom(client.send<unknown>('mint', { key: how, how }).pipe(toArray()));
      expect(JSON.stringify(await ask('one'))).toContain(SECRET);
      expect(await ask('one')).toEqual([{ id: 7, keys: [{ name: 'a' }], at: '1970-01-01T00:00:00.000Z' }]);
      expect(JSON.stringify(await ask('several'))).toContain(SECRET);
      expect(await ask('several')).toEqual([{ n: 1 }, { n: 2 }]);
      expect(await ask('text')).toEqual([SECRET]);
      await expect(ask('text')).rejects.toMatchObject({ code: 'replay-unavailable' });
      expect(await contents()).not.toContain(SECRET);
    });

    test('of run()', async () => {
      const service = app.app.get(IdempotencyService);
      const mint = (response: IdempotentOptions['response']) =>
        service.run({ key: 'r', operation: `mint ${JSON.stringify(response)}`, response }, () => ({
          token: new Date(0),
          bytes: Buffer.from(SECRET),
          map: new Map([['a', { pin: SECRET, ok: 1n }]]),
        }));
      const redacted = { redact: ['/token', '/bytes', '/map/*/1/pin'] };
      expect(await mint(redacted)).toMatchObject({ token: new Date(0) });
      expect(await mint(redacted)).toEqual({ map: new Map([['a', { ok: 1n }]]) });
      // A Map without its entries could not be read: better none.
      await mint({ redact: ['/map/*', '/bytes'] });
      await expect(mint({ redact: ['/map/*', '/bytes'] })).rejects.toMatchObject({ code: 'replay-unavailable' });
      await mint({ store: false });
      await expect(mint({ store: false })).rejects.toMatchObject({ code: 'replay-unavailable' });
      expect(await contents()).not.toMatch(/sk_live_|c2tfbGl2ZV/);
    });
  });
});

describe('what can never match fails the boot', () => {
  const withMessage = (options: IdempotentOptions) => {
    @Controller()
    class MessagesController {
      @Idempotent(options)
      @MessagePattern('x')
      x() {
        return 1;
      }
    }
    return startApp('express', { controllers: [MessagesController], options: { audit: 'error' } });
  };

  test.each<[string, IdempotentOptions]>([
    ['request.redact', { request: { redact: ['/a', '?token'] } }],
    ['fingerprint.ignore', { fingerprint: { ignore: ['?token'] } }],
    ['fingerprint.only', { fingerprint: { only: ['?token'] } }],
  ])('a query parameter of a message: %s', async (option, options) => {
    await expect(withMessage(options)).rejects.toThrow(
      `@Idempotent() on MessagesController.x: option \`${option}\` has '?token', and only HTTP requests have a query`,
    );
  });

  test('on the class, it is for HTTP routes beside', async () => {
    @Controller()
    @Idempotent({ request: { redact: ['?token'] } })
    class BothController {
      @Post()
      post() {
        return 1;
      }
      @Idempotent()
      @MessagePattern('x')
      x() {
        return 1;
      }
    }
    await (await startApp('express', { controllers: [BothController] })).close();
  });
});
