import { randomUUID } from 'node:crypto';
import {
  type CanActivate,
  Controller,
  type ExecutionContext,
  HostParam,
  Injectable,
  Post,
  type Type,
  UseGuards,
} from '@nestjs/common';
import { ExpressAdapter, type NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter, RouteConstraints } from '@nestjs/platform-fastify';
import { Idempotent, IdempotencyRecord, IdempotencyService } from '../../lib/index.js';
import { type Answer, call } from '../support/http-client.js';
import { type AppSettings, type Platform, PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { ran } from './support/cases.js';

type Headers = Record<string, string>;
interface Request {
  readonly headers: Record<string, string | undefined>;
  user?: unknown;
  auth?: unknown;
}

/** Sets what a test sends in these headers, as JSON: what guards and middleware make of a token. */
function setCallers(request: Request): void {
  for (const name of ['user', 'auth'] as const) {
    const text = request.headers[`x-${name}`];
    if (text !== undefined) request[name] = JSON.parse(text) as unknown;
  }
}

@Injectable()
class CallersGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    setCallers(context.switchToHttp().getRequest<Request>());
    return true;
  }
}

/** As Mongoose has them: `id` is a getter of the prototype, and members are kept inside. */
class Model {
  constructor(private readonly _doc: { readonly _id: string }) {}
  get id(): string {
    return this._doc._id;
  }
}

@Injectable()
class ModelsGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<Request>();
    request.user = new Model({ _id: request.headers['x-model']! });
    return true;
  }
}

function answer() {
  ran();
  return { run: randomUUID() };
}

@Idempotent()
@Controller('callers')
class CallersController {
  @UseGuards(CallersGuard)
  @Post('guarded')
  guarded() {
    return answer();
  }

  @UseGuards(ModelsGuard)
  @Post('models')
  models() {
    return answer();
  }

  @Post(['by-middleware', 'open', 'cookies', 'visitors'])
  open() {
    return answer();
  }

  @Idempotent({ scope: () => '' })
  @Post('public')
  public() {
    return answer();
  }
}

@Idempotent()
@Controller({ host: ':tenant.localhost', path: 'carts' })
class TenantsController {
  @Post()
  add(@HostParam('tenant') tenant: string) {
    return { tenant, ...answer() };
  }
}

@Idempotent()
@Controller({ host: [/^\w+\.shop\.localhost$/, 'shop.example'], path: 'orders' })
class ShopsController {
  @Post()
  order() {
    return answer();
  }
}

@Idempotent()
@Controller({ host: 'admin.localhost', path: 'same' })
class AdminController {
  @Post()
  same() {
    return { controller: 'admin', ...answer() };
  }
}

@Idempotent()
@Controller({ host: 'store.localhost', path: 'same' })
class StoreController {
  @Post()
  same() {
    return { controller: 'store', ...answer() };
  }
}

@Idempotent()
@Controller()
class ConstrainedController {
  @RouteConstraints({ host: 'one.localhost' })
  @Post('constrained')
  one() {
    return { host: 'one', ...answer() };
  }

  @RouteConstraints({ host: 'two.localhost' })
  @Post('constrained')
  two() {
    return { host: 'two', ...answer() };
  }
}

@Idempotent()
@Controller('plain')
class PlainController {
  @Post()
  plain() {
    return answer();
  }
}

/** As the first and the second answer are to each other: of one operation, of two, or the second was refused. */
function relation(first: Answer, second: Answer): string {
  if (first.status !== 201) return `first ${first.status}`;
  if (second.status !== 201) return (JSON.parse(second.body) as { code?: string }).code ?? String(second.status);
  const isReplay = second.headers['idempotent-replayed'] === 'true';
  expect(second.body === first.body).toBe(isReplay);
  return isReplay ? 'one' : 'two';
}

describe.each(PLATFORMS)('callers, on %s', (platform) => {
  let app: RunningApp;
  const start = (settings: AppSettings = {}) =>
    startApp(platform, {
      controllers: [CallersController],
      configure: (nest) =>
        void nest.use('/callers/by-middleware', (request: Request, _: unknown, next: () => void) => {
          setCallers(request);
          next();
        }),
      ...settings,
    });

  beforeAll(async () => (app = await start()));
  afterAll(() => app?.close());

  const post = (path: string, headers: Headers, key: string, to = app) =>
    call(`http://127.0.0.1:${to.port}/${path}`, { key, headers });
  const compare = async (path: string, one: Headers, other: Headers, to = app) => {
    const key = randomUUID();
    return relation(await post(path, one, key, to), await post(path, other, key, to));
  };
  const user = (value: unknown, more: Headers = {}) => ({ 'x-user': JSON.stringify(value), ...more });
  const auth = (value: unknown, more: Headers = {}) => ({ 'x-auth': JSON.stringify(value), ...more });

  describe.each(['callers/guarded', 'callers/by-middleware'])('at %s', (path) => {
    test.each([
      ['Nest’s passport recipe', { userId: 7, username: 'ann' }, { userId: 8, username: 'ann' }],
      ['Firebase', { uid: 'a', user_id: 'a' }, { uid: 'b', user_id: 'b' }],
      ['a lean document', { _id: '507f' }, { _id: '507e' }],
      ['user_id', { user_id: 1 }, { user_id: 2 }],
      ['an empty id beside another', { id: '', sub: 'ann' }, { id: '', sub: 'bob' }],
      ['another issuer', { sub: '7', iss: 'https://a.example' }, { sub: '7', iss: 'https://b.example' }],
      ['an issuer beside an id', { id: 7, iss: 'https://a.example' }, { id: 7, iss: 'https://b.example' }],
      ['no issuer', { sub: '7' }, { sub: '7', iss: 'https://b.example' }],
    ])('users are distinguished by %s', async (_what, ann, bob) => {
      expect(await compare(path, user(ann), user(bob))).toBe('two');
      // A refreshed token, and other members of the user.
      const again = user({ ...ann, exp: 1 }, { authorization: 'Bearer two' });
      expect(await compare(path, user(ann, { authorization: 'Bearer one' }), again)).toBe('one');
    });

    test.each([
      ['express-jwt', { sub: 'auth0|7' }, { sub: 'auth0|8' }],
      ['Auth0', { payload: { sub: 'a', iss: 'i' }, token: 'x' }, { payload: { sub: 'b', iss: 'i' }, token: 'x' }],
      ['Auth0, of another issuer', { payload: { sub: 'a', iss: 'i' } }, { payload: { sub: 'a', iss: 'j' } }],
      ['Clerk', { userId: 'user_1', sessionId: 's' }, { userId: 'user_2', sessionId: 's' }],
    ])('claims of %s are a principal', async (_what, ann, bob) => {
      expect(await compare(path, auth(ann), auth(bob))).toBe('two');
      const again = auth(ann, { authorization: 'Bearer two' });
      expect(await compare(path, auth(ann, { authorization: 'Bearer one' }), again)).toBe('one');
    });

    test('request.user comes before request.auth', async () => {
      const of = (sub: string) => ({ ...user({ id: 7 }), ...auth({ sub }) });
      expect(await compare(path, of('a'), of('b'))).toBe('one');
    });

    test.each([
      ['passport’s false', user(false)],
      ['an auth that names no user', auth({ user: 'ann', password: 'x' })],
      ['an anonymous auth', auth({ userId: null })],
    ])('%s is no principal', async (_what, headers) => {
      const [one, two] = ['Bearer one', 'Bearer two'].map((authorization) => ({ ...headers, authorization }));
      expect(await compare(path, one, two)).toBe('key-foreign');
      expect(await compare(path, one, one)).toBe('one');
    });

    test.each([
      [
        { username: 'ann', 'ro\nles': [] },
        'request.user has "username", "ro\\nles", but no value in id, sub, userId, uid, _id, user_id',
      ],
      [{}, 'request.user has no member, but no value in'],
      [{ id: ['ann'] }, 'request.user.id is an array, which several users may have'],
      [{ id: null, userId: 2 ** 60 }, 'request.user.userId is NaN, infinite or beyond 2^53, which'],
      [{ id: 1, iss: {} }, 'request.user.iss is an object without a text of its own, which'],
      [['ann'], 'request.user is an array, not an object with an id'],
      ['ann', 'request.user is a string, not an object with an id'],
    ])('request.user %j: the error names what it found and the endpoint', async (found, why) => {
      expect(await post(path, user(found), randomUUID())).toMatchObject({
        status: 500,
        body: '{"statusCode":500,"message":"Internal server error"}',
      });
      expect(app.log.toString()).toContain(`POST /${path}: idempotency cannot tell callers apart: ${why}`);
    });
  });

  test('models are distinguished by their getters', async () => {
    expect(await compare('callers/models', { 'x-model': 'a' }, { 'x-model': 'b' })).toBe('two');
    expect(await compare('callers/models', { 'x-model': 'a' }, { 'x-model': 'a' })).toBe('one');
  });

  test.each([
    ['another API key', { 'x-api-key': 'a' }, { 'x-api-key': 'b' }, 'key-foreign'],
    ['the same API key', { 'X-API-Key': 'a' }, { 'x-api-key': 'a' }, 'one'],
    ['no API key', { 'x-api-key': 'a' }, {}, 'key-foreign'],
    [
      'another API key beside what a gateway sends',
      { 'x-api-key': 'a', authorization: 'Basic g' },
      { 'x-api-key': 'b', authorization: 'Basic g' },
      'key-foreign',
    ],
    [
      'the same credential under another name',
      { 'x-api-key': 'a' },
      { authorization: '[["x-api-key","a"]]' },
      'key-foreign',
    ],
    ['other cookies, by default', { cookie: 'sid=a' }, { cookie: 'sid=b' }, 'one'],
  ])('%s', async (_what, one, other, expected) => {
    expect(await compare('callers/open', one as Headers, other as Headers)).toBe(expected);
  });

  test('cookies that nothing is made of are warned of, once for each endpoint', async () => {
    for (const path of ['cookies', 'visitors', 'cookies', 'public'])
      await post(`callers/${path}`, { cookie: 'a=b' }, randomUUID());
    await post('callers/open', { cookie: 'a=b', 'x-api-key': 'a' }, randomUUID());
    const lines = app.log.lines.filter((line) => /callers\/(cookies|visitors|public)/.test(line));
    expect(lines).toEqual(
      ['cookies', 'visitors'].map((path) =>
        expect.stringMatching(
          new RegExp(`^WARN POST /callers/${path}: .*cookies.*share their keys.*\`credentials.cookies\``),
        ),
      ),
    );
  });

  describe('with credentials of their own', () => {
    let own: RunningApp;
    beforeAll(
      async () =>
        (own = await start({ options: { credentials: { headers: ['X-Session-Token'], cookies: ['sid', 'b.id'] } } })),
    );
    afterAll(() => own?.close());

    test.each([
      ['another session', { cookie: 'sid=a' }, { cookie: 'sid=b' }, 'key-foreign'],
      ['another second cookie', { cookie: 'sid=a; b.id=1' }, { cookie: 'sid=a; b.id=2' }, 'key-foreign'],
      ['its values the other way round', { cookie: 'sid=a; b.id=b' }, { cookie: 'sid=b; b.id=a' }, 'key-foreign'],
      ['other cookies around it', { cookie: '_ga=1; sid=a' }, { cookie: 'sid=a;_ga=2; xsid=3' }, 'one'],
      ['its order', { cookie: 'sid=a; b.id=1' }, { cookie: 'b.id=1; sid=a' }, 'one'],
      ['a value with equal signs', { cookie: 'sid=s%3Aa==.b' }, { cookie: 'sid=s%3Aa=' }, 'key-foreign'],
      ['a name in another case', { cookie: 'sid=a' }, { cookie: 'SID=a' }, 'key-foreign'],
      ['no cookie', { cookie: 'sid=a' }, {}, 'key-foreign'],
      ['another token', { 'x-session-token': 'a' }, { 'x-session-token': 'b' }, 'key-foreign'],
      ['a token instead of the cookie', { cookie: 'sid=a' }, { 'x-session-token': 'a' }, 'key-foreign'],
      ['headers that it does not name', { authorization: 'a' }, { authorization: 'b' }, 'one'],
    ])('%s', async (_what, one, other, expected) => {
      expect(await compare('callers/open', one as Headers, other as Headers, own)).toBe(expected);
    });

    test('are stored neither by name nor by value', async () => {
      await post('callers/open', { cookie: 'sid=very-secret' }, randomUUID(), own);
      const records = await own.dataSource.getRepository(IdempotencyRecord).find();
      expect(records.some(({ binding }) => binding !== null)).toBe(true);
      expect(JSON.stringify(records)).not.toContain('very-secret');
    });
  });
});

describe.each(PLATFORMS)('hosts, on %s', (platform) => {
  const CONTROLLERS: Record<Platform, Type[]> = {
    // On Fastify, Nest passes no request on to another route.
    express: [TenantsController, ShopsController, PlainController, AdminController, StoreController],
    fastify: [TenantsController, ShopsController, PlainController, ConstrainedController],
  };
  const OF_TWO_HOSTS: Record<Platform, string[]> = {
    express: ['controllers of two hosts and one path', 'same', 'admin.localhost', 'store.localhost', 'two'],
    fastify: ['constraints of two hosts and one path', 'constrained', 'one.localhost', 'two.localhost', 'two'],
  };
  let app: RunningApp;
  beforeAll(async () => (app = await startApp(platform, { controllers: CONTROLLERS[platform] })));
  afterAll(() => app?.close());

  const compare = async (path: string, one: Headers, other: Headers, to = app) => {
    const key = randomUUID();
    const [first, second] = [
      await call(`http://127.0.0.1:${to.port}/${path}`, { key, headers: one }),
      await call(`http://127.0.0.1:${to.port}/${path}`, { key, headers: other }),
    ];
    return relation(first, second);
  };

  test.each([
    ['tenants', 'carts', 'a.localhost', 'b.localhost', 'two'],
    ['a tenant, spelt otherwise', 'carts', 'a.localhost', 'A.LOCALHOST', 'one'],
    ['a tenant, with a port', 'carts', 'a.localhost', 'a.localhost:8080', 'one'],
    ['hosts of an expression without groups', 'orders', 'a.shop.localhost', 'b.shop.localhost', 'two'],
    ['hosts of a list', 'orders', 'a.shop.localhost', 'shop.example', 'two'],
    ['a controller without a host', 'plain', 'x.example', 'y.example', 'one'],
    OF_TWO_HOSTS[platform],
  ])('%s', async (_what, path, one, other, expected) => {
    expect(await compare(path, { host: one }, { host: other })).toBe(expected);
    expect(await compare(path, { host: other }, { host: other })).toBe('one');
  });

  test('X-Forwarded-Host counts where the platform trusts the proxy, and only there', async () => {
    const forwarded = (host: string): Headers => ({ host: 'in.localhost', 'x-forwarded-host': host });
    const by = () => compare('carts', forwarded('a.localhost'), forwarded('b.localhost'), app);
    expect(await by()).toBe('one');
    const trusting = await startApp(platform, {
      controllers: [TenantsController],
      adapter: platform === 'express' ? new ExpressAdapter() : new FastifyAdapter({ trustProxy: true }),
      configure: (nest) => {
        if (platform === 'express') (nest as NestExpressApplication).set('trust proxy', true);
      },
    });
    try {
      expect(await compare('carts', forwarded('a.localhost'), forwarded('b.localhost'), trusting)).toBe('two');
    } finally {
      await trusting.close();
    }
  });

  test('a record is found by its host', async () => {
    const service = app.app.get(IdempotencyService);
    await call(`http://127.0.0.1:${app.port}/carts`, { key: 'found', headers: { host: 'found.localhost' } });
    const named = { key: 'found', operation: 'POST /carts' };
    const record = await service.find({ ...named, host: 'Found.localhost' });
    expect(record).toMatchObject({ endpoint: 'POST /carts' });
    expect(JSON.parse(String(record!.request))).toMatchObject({ host: 'found.localhost', path: '/carts' });
    expect(await service.find({ ...named, host: 'other.localhost' })).toBeNull();
    expect(await service.find(named)).toBeNull();
    await expect(service.find({ ...named, host: 7 as never })).rejects.toThrow('takes a string as `host`');
  });
});
