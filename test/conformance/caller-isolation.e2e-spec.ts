import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { type CanActivate, Controller, type ExecutionContext, Injectable, Post, UseGuards } from '@nestjs/common';
import { Idempotent, IdempotencyRecord } from '../../lib/index.js';
import { createDatabase, type TestDatabase, type TestDialect } from '../support/database.js';
import { type AppSettings, type Platform, type RunningApp, startApp } from './support/app.js';
import { codeOf, comparable, countRuns, isReplay, ran } from './support/cases.js';
import { type RawRequest, send } from './support/raw-http.js';

/** How many of the next calls fail, and so free their key. */
let failures = 0;

/** As a database gives a BINARY(16) key. */
@Injectable()
class BytesGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<{ headers: Record<string, string>; user?: unknown }>();
    request.user = { id: Buffer.from(request.headers['x-user'], 'hex') };
    return true;
  }
}

@Controller('identity')
@Idempotent()
class IdentityController {
  @Post('anonymous')
  anonymous() {
    ran();
    if (failures-- > 0) throw new Error('try again');
    return { run: randomUUID() };
  }

  @Post('bytes')
  @UseGuards(BytesGuard)
  bytes() {
    ran();
    return { run: randomUUID() };
  }
}

const PAIRS: [Platform, TestDialect][] = [
  ['express', 'postgres'],
  ['express', 'mariadb'],
  ['fastify', 'better-sqlite3'],
];

describe.each(PAIRS)('whose record it is, on %s and %s', (platform, dialect) => {
  let database: TestDatabase;
  const apps: RunningApp[] = [];

  beforeAll(async () => {
    database = await createDatabase(dialect);
  });
  afterEach(async () => {
    for (const app of apps.splice(0)) await app.close();
    failures = 0;
  });
  afterAll(() => database?.drop());

  const start = async (options: AppSettings['options'] = {}) => {
    const app = await startApp(platform, { controllers: [IdentityController], database, options });
    apps.push(app);
    return app;
  };
  const post = ({ port }: RunningApp, request: Partial<RawRequest> = {}) =>
    send(port, { path: '/identity/anonymous', ...request });
  const as = (authorization: string, key: string) => ({ key, headers: { Authorization: authorization } });
  const basic = (password: string) => `Basic ${Buffer.from(`shop:${password}`).toString('base64')}`;
  const bindings = async ({ dataSource }: RunningApp) =>
    (await dataSource.getRepository(IdempotencyRecord).find({ order: { createdAt: 'DESC' } })).map(({ binding }) =>
      Buffer.from(binding!),
    );

  const [old, current] = [randomBytes(32), randomBytes(32)];
  const sealedBy = (keys: Record<string, Buffer>, id: string) => ({ encryption: { keys, current: id } });

  test.each([
    ['without encryption', {}],
    ['with encryption', sealedBy({ old }, 'old')],
  ])('records of one caller do not show that they are, %s', async (_, options) => {
    const app = await start(options);
    const keys = [randomUUID(), randomUUID()];
    const firsts = [
      await post(app, as(basic('Winter2026!'), keys[0])),
      await post(app, as(basic('Winter2026!'), keys[1])),
    ];
    const [a, b] = await bindings(app);
    expect([a.length, b.length, a.equals(b)]).toEqual([16, 16, false]);
    const plain = createHash('sha256').update(basic('Winter2026!')).digest();
    for (const binding of [a, b]) expect(plain.includes(binding)).toBe(false);

    const before = countRuns();
    for (const [i, key] of keys.entries()) {
      for (const request of [as(basic('Summer2026!'), key), { key }]) {
        const foreign = await post(app, request);
        expect([foreign.status, codeOf(foreign), isReplay(foreign)]).toEqual([422, 'key-foreign', false]);
      }
      const again = await post(app, as(basic('Winter2026!'), key));
      expect([isReplay(again), comparable(again)]).toEqual([true, comparable(firsts[i])]);
    }
    expect(countRuns()).toBe(before);
  });

  test('keys are rotated: on no instance is a caller refused, or another let in', async () => {
    const instances = [await start(sealedBy({ old }, 'old'))];
    const bound: { key: string; first: Awaited<ReturnType<typeof post>> }[] = [];
    const bind = async (app: RunningApp) => {
      const key = randomUUID();
      bound.push({ key, first: await post(app, as('Bearer a', key)) });
    };
    const check = async () => {
      const before = countRuns();
      for (const app of instances) {
        for (const { key, first } of bound) {
          expect(codeOf(await post(app, as('Bearer b', key)))).toBe('key-foreign');
          const again = await post(app, as('Bearer a', key));
          expect([isReplay(again), comparable(again)]).toEqual([true, comparable(first)]);
        }
      }
      expect(countRuns()).toBe(before);
    };

    await bind(instances[0]);
    // The new key is added on every instance, and only then made the current one, instance by instance.
    await instances.shift()!.close();
    instances.push(await start(sealedBy({ old, current }, 'old')));
    await bind(instances[0]);
    await check();
    instances.push(await start(sealedBy({ old, current }, 'current')));
    await bind(instances[1]);
    await check();

    // An operation that failed is another matter: the same caller may run it.
    const key = randomUUID();
    failures = 1;
    expect((await post(instances[0], as('Bearer a', key))).status).toBe(500);
    expect(codeOf(await post(instances[1], as('Bearer b', key)))).toBe('key-foreign');
    bound.push({ key, first: await post(instances[1], as('Bearer a', key)) });
    expect(bound.at(-1)!.first.status).toBe(201);
    await check();
  });

  test("encryption that is new: an operation that had failed is still its caller's alone", async () => {
    const key = randomUUID();
    failures = 1;
    expect((await post(await start(), as('Bearer a', key))).status).toBe(500);
    const sealed = await start(sealedBy({ current }, 'current'));
    expect(codeOf(await post(sealed, as('Bearer b', key)))).toBe('key-foreign');
    expect((await post(sealed, as('Bearer a', key))).status).toBe(201);
    expect(isReplay(await post(sealed, as('Bearer a', key)))).toBe(true);
  });

  test('an encryption key that is gone: no caller gets a replay', async () => {
    const [failed, done] = [randomUUID(), randomUUID()];
    const before = await start(sealedBy({ old }, 'old'));
    failures = 1;
    await post(before, as('Bearer a', failed));
    await post(before, as('Bearer a', done));
    const app = await start(sealedBy({ current }, 'current'));
    const runs = countRuns();
    for (const who of ['Bearer a', 'Bearer b']) {
      expect(codeOf(await post(app, as(who, failed)))).toBe('key-foreign');
      expect(codeOf(await post(app, as(who, done)))).toBe('record-unreadable');
    }
    expect(countRuns()).toBe(runs);
  });

  test('users whose ids are bytes do not meet', async () => {
    const app = await start();
    const key = randomUUID();
    const of = (id: string) => post(app, { path: '/identity/bytes', key, headers: { 'X-User': id } });
    const first = await of('00000080');
    expect(isReplay(await of('00000081'))).toBe(false);
    expect(isReplay(await of('000000ff'))).toBe(false);
    expect(comparable(await of('00000080'))).toEqual(comparable(first));
  });

  test('two applications on one database have a namespace each', async () => {
    const billing = await start({ namespace: 'billing' });
    const warehouse = await start({ namespace: 'warehouse' });
    const key = randomUUID();
    const first = await post(billing, { key, body: { order: 7 } });
    const second = await post(warehouse, { key, body: { order: 8 } });
    expect([first.status, second.status, isReplay(second)]).toEqual([201, 201, false]);
    expect(comparable(await post(billing, { key, body: { order: 7 } }))).toEqual(comparable(first));
    expect(comparable(await post(warehouse, { key, body: { order: 8 } }))).toEqual(comparable(second));
    const instance = await start({ namespace: 'billing' });
    expect(comparable(await post(instance, { key, body: { order: 7 } }))).toEqual(comparable(first));
  });
});
