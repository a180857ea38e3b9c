import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import compress from '@fastify/compress';
import {
  type CallHandler,
  Controller,
  type ExecutionContext,
  Header,
  HttpCode,
  Post,
  Res,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Idempotent, IdempotencyRecord } from '../../lib/index.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, comparable, countRuns, isReplay, ran } from './support/cases.js';
import { type RawAnswer, type RawRequest, send, valueOf } from './support/raw-http.js';

interface Reply {
  header(name: string, value: string): Reply;
  removeHeader(name: string): unknown;
  send(body?: unknown): Reply;
  /** Set by the guard, written by the hook, as plugins for cookies do. */
  pending?: string;
  readonly raw?: Reply & { setHeader(name: string, value: string): void; end(body?: string): void };
}

const responseOf = (context: ExecutionContext) => context.switchToHttp().getResponse<Reply>();

/** Rotates a session token, as express-session and @fastify/session do: in a wrapped response, or in a hook. */
let token = 0;
const rotate = {
  canActivate(context: ExecutionContext) {
    const reply = responseOf(context);
    const cookie = `token=${++token}`;
    if (reply.raw) reply.pending = cookie;
    else reply.header('Set-Cookie', cookie);
    return true;
  },
};

/** Between the idempotent operation and its handler: per exchange, but run once for an outcome. */
const inside = {
  intercept(context: ExecutionContext, next: CallHandler) {
    const id = randomUUID();
    for (const name of EXCHANGE_HEADERS) responseOf(context).header(name, id);
    responseOf(context)
      .header('Access-Control-Allow-Origin', 'https://inside.example')
      .header('Access-Control-Expose-Headers', 'X-Inside')
      .header('Vary', 'Accept-Language, Origin')
      .header('Cache-Control', 'private')
      .header('X-Domain-Request', id);
    return next.handle();
  },
};
const EXCHANGE_HEADERS = [
  'X-Request-Id',
  'X-Correlation-ID',
  'X-Amzn-Trace-Id',
  'traceparent',
  'tracestate',
  'RateLimit',
  'RateLimit-Remaining',
  'X-RateLimit-Remaining-short',
  'X-Rate-Limit-Reset',
  'Server-Timing',
  'X-Response-Time',
];

/** Takes the record away from the handler that runs. */
let lose: () => Promise<unknown> = async () => undefined;

@Controller('exchange')
@UseGuards(rotate)
class ExchangeController {
  @Post('json')
  @Idempotent()
  json() {
    ran();
    return { id: randomUUID(), text: 'compressible '.repeat(200) };
  }

  @Post('buffer')
  @Header('Content-Type', 'application/octet-stream')
  @Idempotent()
  buffer(@Res() reply: Reply) {
    ran();
    reply.send(Buffer.from([0, 255, 10, 13]));
  }

  @Post('native')
  @Idempotent()
  async native(@Res() reply: Reply) {
    ran();
    reply.send({ id: randomUUID() });
  }

  @Post('native/unsendable')
  @Idempotent()
  async unsendable(@Res() reply: Reply) {
    ran();
    reply.send({ id: 1n });
  }

  @Post('native/broken')
  @Idempotent()
  async broken(@Res() reply: Reply) {
    ran();
    reply.send(new Error('the handler has failed'));
  }

  @Post('text')
  @Idempotent()
  text() {
    ran();
    return 'täxt';
  }

  @Post('bare-type')
  @Idempotent()
  bareType(@Res() reply: Reply) {
    ran();
    const raw = (reply.raw ?? reply) as Required<Reply>['raw'];
    raw.setHeader('Content-Type', 'application/json');
    raw.end('{"a":1}');
  }

  @Post('nothing')
  @HttpCode(204)
  @Idempotent()
  nothing() {
    ran();
  }

  @Post('not-modified')
  @HttpCode(304)
  @Header('ETag', '"1"')
  @Idempotent()
  notModified() {
    ran();
  }

  @Post('empty')
  @Idempotent()
  empty() {
    ran();
  }

  @Post('lost')
  @Idempotent()
  async lost() {
    ran();
    await lose();
    return { lost: true };
  }

  @Post('inside')
  @UseInterceptors(inside)
  @Idempotent()
  inside() {
    ran();
    return 'done';
  }

  @Post('included')
  @UseInterceptors(inside)
  @Idempotent({ response: { headers: { include: ['Content-Type', 'X-Request-Id'] } } })
  included() {
    ran();
    return 'done';
  }
}

describe.each(PLATFORMS)('headers of the present exchange, on %s', (platform) => {
  let bare: RunningApp;
  let dressed: RunningApp;

  beforeAll(async () => {
    const controllers = [ExchangeController];
    [bare, dressed] = await Promise.all([
      startApp(platform, { controllers }),
      startApp(platform, {
        controllers,
        configure(app) {
          app.enableCors({ origin: true, exposedHeaders: ['X-Outside'] });
          app.use((_request: unknown, response: { setHeader: (n: string, v: string) => void }, next: () => void) => {
            for (const name of EXCHANGE_HEADERS) response.setHeader(name, `present-${randomUUID()}`);
            response.setHeader('Cache-Control', 'no-store');
            next();
          });
        },
      }),
    ]);
  });
  afterAll(() => Promise.all([bare?.close(), dressed?.close()]));

  const twice = async ({ port }: RunningApp, path: string, headers: Record<string, string> = {}) => {
    const request = { path: `/exchange/${path}`, key: randomUUID(), headers };
    const answers = [await send(port, request), await send(port, request)];
    expect(answers.map(isReplay)).toEqual([false, true]);
    return answers.map(({ head }) => head);
  };

  test.each(EXCHANGE_HEADERS)('%s is that of the present exchange, or missing', async (name) => {
    const [, second] = await twice(dressed, 'inside');
    expect(valueOf(second, name)).toMatch(/^present-/);
    const [first, alone] = await twice(bare, 'inside');
    expect([valueOf(first, name), valueOf(alone, name)]).toEqual([expect.stringMatching(/^[-\w]{36}$/), undefined]);
  });

  test('what the outcome has set is replayed, over what middleware has set', async () => {
    const [first, second] = await twice(dressed, 'inside');
    expect(valueOf(second, 'cache-control')).toBe('private');
    expect(valueOf(second, 'x-domain-request')).toBe(valueOf(first, 'x-domain-request'));
  });

  test('CORS headers are those of the present origin, where there are any', async () => {
    const [, second] = await twice(dressed, 'inside', { Origin: 'https://present.example' });
    expect(valueOf(second, 'access-control-allow-origin')).toBe('https://present.example');
    expect(valueOf(second, 'access-control-expose-headers')).toBe('X-Outside');
    const [, alone] = await twice(bare, 'inside');
    expect(valueOf(alone, 'access-control-allow-origin')).toBe('https://inside.example');
  });

  test('a response varies with what either of them says', async () => {
    const [, second] = await twice(dressed, 'json', { Origin: 'https://present.example' });
    expect(valueOf(second, 'vary')).toBe('Origin');
    const [, both] = await twice(dressed, 'inside', { Origin: 'https://present.example' });
    expect(valueOf(both, 'vary')).toBe('Accept-Language, Origin');
  });

  test('one that is included by name is replayed, unless the present exchange has one', async () => {
    const [first, alone] = await twice(bare, 'included');
    expect(valueOf(alone, 'x-request-id')).toBe(valueOf(first, 'x-request-id'));
    const [, second] = await twice(dressed, 'included');
    expect(valueOf(second, 'x-request-id')).toMatch(/^present-/);
  });

  test('a cookie that a guard sets arrives on a first response, and another on its replay', async () => {
    if (platform === 'fastify') return; // below, with the hook that writes it
    const cookies = (await twice(bare, 'json')).map((head) => valueOf(head, 'set-cookie'));
    expect(cookies).toEqual([`token=${token - 1}`, `token=${token}`]);
  });
});

/** A page whose scripts a policy allows by a nonce, which is another one in each exchange. */
let nonce = 0;
const policy = (value: string) => `script-src 'nonce-${value}'`;

@Controller('pages')
class PagesController {
  @Post('stale')
  @Header('Content-Type', 'text/html; charset=utf-8')
  @Idempotent()
  stale() {
    return `<p>nonces</p><script nonce="${nonce}">pay()</script>${' '.repeat(2_000)}`;
  }

  @Post('own')
  @Idempotent()
  own(@Res() reply: Reply) {
    const own = `own-${randomUUID()}`;
    reply.header('Content-Type', 'text/html').header('Content-Security-Policy', policy(own));
    reply.send(`<script nonce='${own}'>pay()</script>`);
  }

  @Post('none')
  @Header('Content-Type', 'text/html')
  @Idempotent()
  none() {
    return '<p data-nonce="1">no script</p>';
  }

  @Post('json')
  @Idempotent()
  json() {
    return { html: ` nonce="${nonce}"` };
  }

  @Post('optional')
  @Idempotent({ required: false, transactional: true })
  optional() {}
}

describe.each(PLATFORMS)('a Content-Security-Policy with a nonce, on %s', (platform) => {
  test.each(['plain', 'compressed', 'in a hook'])('that is stale is warned of once: %s', async (how) => {
    if (how === 'in a hook' && platform === 'express') return;
    const app = await startApp(platform, {
      controllers: [PagesController],
      options: { audit: 'warn' },
      async configure(nest) {
        const fastify = (nest as NestFastifyApplication).getHttpAdapter().getInstance();
        if (how === 'compressed' && platform === 'fastify')
          await (nest as NestFastifyApplication).register(compress as never);
        if (how === 'in a hook') {
          fastify.addHook('onSend', async (_request, reply) => {
            reply.header('Content-Security-Policy', policy(`${++nonce}`));
          });
        } else {
          nest.use((_request: unknown, response: { setHeader(n: string, v: string): void }, next: () => void) => {
            response.setHeader('Content-Security-Policy', policy(`${++nonce}`));
            next();
          });
        }
      },
    });
    try {
      const warnings = () => app.log.lines.filter((line) => line.includes('allows another nonce'));
      const twice = async (path: string) => {
        const request = { path: `/pages/${path}`, key: randomUUID(), headers: { 'Accept-Encoding': 'gzip' } };
        const first = await send(app.port, request);
        const second = await send(app.port, request);
        expect(isReplay(second)).toBe(true);
        return [first, second].map(({ head }) => valueOf(head, 'content-security-policy'));
      };
      // A hook replaces the policy of the handler, on a first response too.
      const fine = how === 'in a hook' ? ['none', 'json'] : ['own', 'none', 'json'];
      for (const path of fine) await twice(path);
      expect(warnings()).toEqual([]);
      const [one, two] = await twice('stale');
      await twice('stale');
      expect(two).not.toBe(one);
      expect(warnings()).toEqual([expect.stringMatching(/WARN POST \/pages\/stale: .* redirect to a GET/)]);
      if (how !== 'in a hook') {
        const [own, again] = await twice('own');
        expect(again).toBe(own);
      }
      expect(app.log.toString()).toMatch(/runs outside a transaction, .* undefined: PagesController.optional/);
    } finally {
      await app.close();
    }
  });
});

describe('onSend hooks of Fastify', () => {
  interface Hooks {
    readonly sent: { replayed: boolean; status: number; payload: string }[];
    readonly responses: EventEmitter;
    /** What the hook makes of the payload; throws to fail. */
    change: (payload: unknown, reply: HookedReply) => unknown;
  }
  interface HookedReply extends Reply {
    statusCode: number;
    code(status: number): HookedReply;
    getHeader(name: string): unknown;
  }

  let app: RunningApp;
  let compressed: RunningApp;
  const hooks: Hooks = { sent: [], responses: new EventEmitter(), change: (payload) => payload };

  beforeAll(async () => {
    const configure = async (nest: NestFastifyApplication) => {
      const fastify = nest.getHttpAdapter().getInstance() as never as {
        addHook(name: string, hook: (...args: never[]) => unknown): void;
      };
      fastify.addHook('onSend', async (_request: unknown, reply: HookedReply, payload: unknown) => {
        const replayed = reply.getHeader('Idempotent-Replayed') === 'true';
        hooks.sent.push({ replayed, status: reply.statusCode, payload: typeof payload });
        await new Promise(setImmediate);
        if (reply.pending) reply.header('Set-Cookie', reply.pending);
        reply.header('X-Served', `${hooks.sent.length}`);
        return hooks.change(payload, reply);
      });
      fastify.addHook('onResponse', async () => void hooks.responses.emit('response'));
    };
    [app, compressed] = await Promise.all([
      startApp('fastify', { controllers: [ExchangeController], configure: (nest) => configure(nest as never) }),
      startApp('fastify', {
        controllers: [ExchangeController],
        configure: async (nest) => void (await (nest as NestFastifyApplication).register(compress as never)),
      }),
    ]);
  });
  afterAll(() => Promise.all([app?.close(), compressed?.close()]));
  beforeEach(() => {
    hooks.sent.length = 0;
    hooks.change = (payload) => payload;
  });

  /** One response, and how often each hook ran for it. */
  const ask = async (request: Partial<RawRequest>): Promise<RawAnswer> => {
    const before = hooks.sent.length;
    const response = once(hooks.responses, 'response');
    let responses = 0;
    const count = () => responses++;
    hooks.responses.on('response', count);
    const answer = await send(app.port, { path: '/exchange/json', ...request });
    await response;
    hooks.responses.off('response', count);
    expect({ sent: hooks.sent.length - before, responses }).toEqual({ sent: 1, responses: 1 });
    return answer;
  };
  const OF_HOOKS = ['x-served'];

  test.each([
    ['json', 'string'],
    ['buffer', 'object'],
    ['text', 'string'],
    ['nothing', 'undefined'],
    ['not-modified', 'undefined'],
    ['empty', 'undefined'],
  ])('run once for a first response and once for its replay: %s', async (path, payload) => {
    const request = { path: `/exchange/${path}`, key: randomUUID() };
    const before = countRuns();
    const first = await ask(request);
    const second = await ask(request);
    expect([isReplay(first), isReplay(second), countRuns() - before]).toEqual([false, true, 1]);
    expect(comparable(second, OF_HOOKS)).toEqual(comparable(first, OF_HOOKS));
    expect(hooks.sent.map(({ replayed }) => replayed)).toEqual([false, true]);
    expect(hooks.sent[1]).toMatchObject({ status: first.status, payload });
    for (const [i, { head }] of [first, second].entries()) {
      expect(valueOf(head, 'x-served')).toBe(`${i + 1}`);
      expect(valueOf(head, 'set-cookie')).toBe(`token=${token - 1 + i}`);
    }
  });

  test('a replay of what was written to the response itself has the same type and length', async () => {
    const request = { path: '/exchange/bare-type', key: randomUUID() };
    const first = await send(app.port, request);
    const second = await ask(request);
    expect(isReplay(second)).toBe(true);
    expect(comparable(second, OF_HOOKS)).toEqual(comparable(first, OF_HOOKS));
    expect(valueOf(second.head, 'set-cookie')).toBe(`token=${token}`);
  });

  test('run once for a problem', async () => {
    const missing = await ask({});
    const key = randomUUID();
    await ask({ key, body: { a: 1 } });
    const reused = await ask({ key, body: { a: 2 } });
    expect([missing, reused].map(codeOf)).toEqual(['key-missing', 'key-reused']);
    expect(valueOf(reused.head, 'set-cookie')).toBe(`token=${token}`);
  });

  test('run once for a response that is replaced, and its cookies are kept', async () => {
    lose = () => app.dataSource.getRepository(IdempotencyRecord).clear();
    const lost = await ask({ path: '/exchange/lost', key: randomUUID() });
    expect([lost.status, isReplay(lost)]).toEqual([409, false]);
    expect(valueOf(lost.head, 'set-cookie')).toBe(`token=${token}`);
  });

  test('what they do to the bytes is not done twice', async () => {
    hooks.change = (payload, reply) => {
      reply.header('X-Wrapped', 'yes').header('Content-Type', 'application/vnd.wrapped+json').removeHeader('ETag');
      return `{"wrapped":${String(payload)}}`;
    };
    const key = randomUUID();
    const first = await ask({ key });
    const second = await ask({ key });
    expect(JSON.parse(first.body.toString())).toEqual({
      wrapped: { id: expect.any(String), text: expect.any(String) },
    });
    expect(comparable(second, OF_HOOKS)).toEqual(comparable(first, OF_HOOKS));
  });

  test.each([
    [
      'fail',
      500,
      (): never => {
        throw new Error('the session store is down');
      },
    ],
    [
      'refuse',
      410,
      (_payload: unknown, reply: HookedReply) => {
        reply.code(410);
        return 'gone';
      },
    ],
  ] as const)('that %s make the response, and leave the outcome as it is', async (_what, status, change) => {
    const key = randomUUID();
    const first = await ask({ key });
    hooks.change = change;
    const refused = await send(app.port, { path: '/exchange/json', key });
    expect([refused.status, isReplay(refused)]).toEqual([status, false]);
    hooks.change = (payload) => payload;
    const again = await ask({ key });
    expect(isReplay(again)).toBe(true);
    expect(again.body.toString()).toBe(first.body.toString());
  });

  test.each(['json', 'native'])('that fail after a handler has succeeded do not run it again: %s', async (path) => {
    const request = { path: `/exchange/${path}`, key: randomUUID() };
    const before = countRuns();
    hooks.change = () => {
      throw new Error('the session store is down');
    };
    expect((await send(app.port, request)).status).toBe(500);
    hooks.change = (payload) => payload;
    expect(codeOf(await ask(request))).toBe('replay-unavailable');
    expect(countRuns() - before).toBe(1);
  });

  test.each([
    ['what Fastify cannot send, of a handler that has succeeded', 'unsendable', 1, 'replay-unavailable'],
    ['an error', 'broken', 2, undefined],
  ])('a native handler sends %s', async (_what, path, runs, code) => {
    const request = { path: `/exchange/native/${path}`, key: randomUUID() };
    const before = countRuns();
    expect((await ask(request)).status).toBe(500);
    expect(codeOf(await ask(request))).toBe(code);
    expect(countRuns() - before).toBe(runs);
  });

  test('compression is not done twice, and not to bytes that were stored plain', async () => {
    for (const [one, two] of [
      ['gzip', 'gzip'],
      ['identity', 'gzip'],
    ]) {
      const key = randomUUID();
      const get = (coding: string) =>
        send(compressed.port, { path: '/exchange/json', key, headers: { 'Accept-Encoding': coding } });
      const first = await get(one);
      const second = await get(two);
      expect(isReplay(second)).toBe(true);
      expect(valueOf(first.head, 'content-encoding')).toBe(one === 'gzip' ? 'gzip' : undefined);
      expect(comparable(second, ['vary'])).toEqual(comparable(first, ['vary']));
    }
  });
});
