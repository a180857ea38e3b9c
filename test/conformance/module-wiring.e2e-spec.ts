import { randomUUID } from 'node:crypto';
import { type INestApplication, VersioningType } from '@nestjs/common';
import { APP_FILTER, APP_INTERCEPTOR, ExternalContextCreator } from '@nestjs/core';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import type { DataSource } from 'typeorm';
import {
  IdempotencyInterceptor,
  IdempotencyModule,
  IdempotencyProblemFilter,
  IdempotencyRecord,
} from '../../lib/index.js';
import { createDatabase } from '../support/database.js';
import { type AppSettings, type Platform, PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { checkReplay, codeOf, comparable, countRuns, isReplay } from './support/cases.js';
import { type RawRequest, send, valueOf } from './support/raw-http.js';
import {
  Consumer,
  CoveredController,
  InheritedController,
  PerRequestController,
  PlainController,
  UnprotectedController,
  VersionedController,
  waiting,
  WiredByHandController,
} from './support/module-wiring.controllers.js';

const controllers = [PlainController, CoveredController, PerRequestController];

async function withApp(platform: Platform, settings: AppSettings, work: (app: RunningApp) => Promise<void>) {
  const app = await startApp(platform, settings);
  try {
    await work(app);
  } finally {
    await app.close();
  }
}

describe.each(PLATFORMS)('wiring, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, { controllers: [...controllers, InheritedController, UnprotectedController] });
  });
  afterAll(() => app?.close());

  const post = (path: string, request: Partial<RawRequest> = {}) => send(app.port, { path, ...request });
  const untouched = async (request: RawRequest) => {
    const before = countRuns();
    const answers = [await send(app.port, request), await send(app.port, request)];
    expect(answers.map((answer) => Math.trunc(answer.status / 100))).toEqual([2, 2]);
    expect([answers.some(isReplay), countRuns() - before]).toEqual([false, 2]);
    return answers;
  };

  test('@Idempotent() on a method is all the wiring there is', async () => {
    await checkReplay(app, { name: '', path: '/plain', status: 201 });
  });

  test('a method without it is not covered', async () => {
    await untouched({ path: '/plain/unmarked', key: randomUUID() });
  });

  test('@Idempotent() on a controller covers what mutates', async () => {
    await checkReplay(app, { name: '', path: '/covered', status: 201 });
    await checkReplay(app, { name: '', path: '/covered', method: 'DELETE', status: 200 });
    await untouched({ path: '/covered', method: 'GET', key: randomUUID() });
  });

  test('@NotIdempotent() exempts a method of it', async () => {
    await untouched({ path: '/covered/exempt', key: randomUUID() });
    await untouched({ path: '/covered/exempt' });
  });

  test('options on a method come before those on its controller', async () => {
    await untouched({ path: '/covered/overridden' });
    await checkReplay(app, { name: '', path: '/covered/overridden', status: 201 });
  });

  test('a stream of events in an idempotent controller is not touched', async () => {
    const answer = await send(app.port, { path: '/covered/events', method: 'GET', headers: { Connection: 'close' } });
    expect([answer.status, answer.body.toString()]).toEqual([200, expect.stringContaining('data: one')]);
  });

  test('request-scoped controllers', async () => {
    const [first] = await checkReplay(app, { name: '', path: '/per-request', status: 201, body: { a: 1 } });
    const other = await post('/per-request', { key: randomUUID(), body: { a: 1 } });
    const controllerOf = ({ body }: { body: Buffer }) =>
      (JSON.parse(body.toString()) as { controller: string }).controller;
    expect(controllerOf(other)).not.toBe(controllerOf(first));
  });

  test('handlers of a base class: covered, and followed to their end', async () => {
    await checkReplay(app, { name: '', path: '/inherited', status: 201, body: {} });
    const request = { path: '/inherited', key: randomUUID(), body: { waits: true } };
    const before = countRuns();
    expect((await send(app.port, request)).status).toBe(408);
    expect(codeOf(await send(app.port, request))).toBe('in-progress');
    waiting.emit('end');
    expect(countRuns() - before).toBe(1);
    await untouched({ path: '/inherited-too', key: randomUUID(), body: {} });
  });

  test('required: false passes a request without a key, and protects one with a key', async () => {
    const [first] = await untouched({ path: '/plain/optional' });
    expect(JSON.parse(first.body.toString())).toMatchObject({ key: null, attempt: null });
    const key = randomUUID();
    const [second] = await checkReplay(app, { name: '', path: '/plain/optional', key, status: 201 });
    expect(JSON.parse(second.body.toString())).toMatchObject({ key, attempt: 1 });
  });

  test('a key from the body', async () => {
    const request = { path: '/plain/webhook', body: { id: `evt ${randomUUID()}` } };
    expect(codeOf(await send(app.port, request))).toBe('key-invalid');
    const id = `evt_${randomUUID()}`;
    const [first] = await checkReplay(app, {
      name: '',
      path: '/plain/webhook',
      key: undefined,
      body: { id },
      status: 201,
    });
    expect(JSON.parse(first.body.toString())).toMatchObject({ key: id });
    expect(codeOf(await send(app.port, { path: '/plain/webhook', body: {} }))).toBe('key-missing');
  });

  test('a key from the body that is no text is refused loudly', async () => {
    expect((await post('/plain/webhook', { body: { id: 17 } })).status).toBe(500);
    expect(app.log.toString()).toContain('The option `key` has to return a string or undefined, not number.');
  });

  test('a scope of its own: tenants do not meet', async () => {
    const key = randomUUID();
    const [a, b] = [
      await post('/plain/scoped', { key, headers: { 'X-Tenant': 'a' } }),
      await post('/plain/scoped', { key, headers: { 'X-Tenant': 'b' } }),
    ];
    expect([a.status, b.status, isReplay(b), a.body.equals(b.body)]).toEqual([201, 201, false, false]);
    expect(comparable(await post('/plain/scoped', { key, headers: { 'X-Tenant': 'a' } }))).toEqual(comparable(a));
  });

  test.each([
    ['scoped', 'scope', 'a string, not undefined'],
    ['scoped-async', 'scope', 'a string, not a promise: it cannot be async, load what it needs in a guard'],
    ['fingerprint-async', 'fingerprint', 'a string or bytes, not a promise: it cannot be async'],
  ])('%s: an option that returns something else is refused loudly', async (path, option, problem) => {
    const before = countRuns();
    expect((await post(`/plain/${path}`, { key: randomUUID() })).status).toBe(500);
    expect(app.log.toString()).toContain(`The option \`${option}\` has to return ${problem}`);
    expect(countRuns()).toBe(before);
  });

  test('a header of another name', async () => {
    await withApp(platform, { controllers, options: { header: 'X-Request-Key' } }, async ({ port }) => {
      const headers = { 'X-Request-Key': randomUUID() };
      const first = await send(port, { path: '/plain', headers });
      const second = await send(port, { path: '/plain', headers: { 'x-request-key': headers['X-Request-Key'] } });
      expect([first.status, comparable(second), isReplay(second)]).toEqual([201, comparable(first), true]);
      const missing = await send(port, { path: '/plain', key: randomUUID() });
      expect(codeOf(missing)).toBe('key-missing');
      expect(missing.body.toString()).toContain('requires the X-Request-Key header');
    });
  });

  test('a global interceptor beside the decorator does no harm', async () => {
    const providers = [{ provide: APP_INTERCEPTOR, useClass: IdempotencyInterceptor }];
    await withApp(platform, { controllers, providers }, async (twice) => {
      await checkReplay(twice, { name: '', path: '/plain', status: 201 });
      await checkReplay(twice, { name: '', path: '/covered', status: 201 });
      expect(codeOf(await send(twice.port, { path: '/plain' }))).toBe('key-missing');
    });
  });

  test('a global interceptor leaves unmarked handlers alone, and calls that are no HTTP exchange', async () => {
    const providers = [{ provide: APP_INTERCEPTOR, useClass: IdempotencyInterceptor }, Consumer];
    await withApp(platform, { controllers, providers }, async ({ app: nest, port }) => {
      const requests = [1, 2].map(() => send(port, { path: '/plain/unmarked' }));
      for (const { status } of await Promise.all(requests)) expect(status).toBe(201);
      const [consumer, creator] = [nest.get(Consumer), nest.get(ExternalContextCreator, { strict: false })];
      // oxlint-disable-next-line typescript/unbound-method -- Nest calls it on the instance
      const consume = creator.create(consumer, Consumer.prototype.consume, 'consume') as typeof consumer.consume;
      for (const message of ['text', { id: 1 }, undefined]) expect(await consume(message)).toEqual({ got: message });
    });
  });

  test('wired by hand, with the filter', async () => {
    const providers = [{ provide: APP_FILTER, useClass: IdempotencyProblemFilter }];
    await withApp(platform, { controllers: [WiredByHandController], providers }, async (manual) => {
      await checkReplay(manual, { name: '', path: '/manual', status: 201 });
      const missing = await send(manual.port, { path: '/manual' });
      expect([missing.status, codeOf(missing)]).toEqual([400, 'key-missing']);
      expect(valueOf(missing.head, 'content-type')).toBe('application/problem+json; charset=utf-8');
      const get = await send(manual.port, { path: '/manual', method: 'GET', key: randomUUID() });
      expect([get.status, isReplay(get)]).toEqual([200, false]);
    });
  });

  test('a global prefix and versions in the path', async () => {
    const configure = (nest: INestApplication) =>
      void nest.setGlobalPrefix('api').enableVersioning({ type: VersioningType.URI });
    await withApp(platform, { controllers: [VersionedController, PlainController], configure }, async (versioned) => {
      const key = randomUUID();
      await checkReplay(versioned, { name: '', path: '/api/v1/versioned', key, status: 201, text: /"version":1/ });
      await checkReplay(versioned, { name: '', path: '/api/v2/versioned', key, status: 201, text: /"version":2/ });
      const records = await versioned.dataSource.getRepository(IdempotencyRecord).find();
      expect(records.map((record) => record.endpoint).sort()).toEqual([
        'POST /api/v1/versioned',
        'POST /api/v2/versioned',
      ]);
    });
  });

  test.each([
    [
      'a header',
      { type: VersioningType.HEADER, header: 'X-Version' } as const,
      (version: string) => ({ 'X-Version': version }),
    ],
    [
      'the media type',
      { type: VersioningType.MEDIA_TYPE, key: 'v=' } as const,
      (version: string) => ({ Accept: `application/json;v=${version}` }),
    ],
  ])('versions in %s: a key belongs to one', async (_where, versioning, headersOf) => {
    const configure = (nest: INestApplication) => void nest.enableVersioning(versioning);
    await withApp(platform, { controllers: [VersionedController], configure }, async (versioned) => {
      const request = { path: '/versioned', key: randomUUID() };
      await checkReplay(versioned, { name: '', ...request, headers: headersOf('1'), status: 201, text: /"version":1/ });
      expect(codeOf(await send(versioned.port, { ...request, headers: headersOf('2') }))).toBe('key-reused');
    });
  });

  test('two applications in one process share what is in one database, and nothing else', async () => {
    const database = await createDatabase('better-sqlite3');
    const apps: RunningApp[] = [];
    try {
      apps.push(await startApp(platform, { controllers, database }));
      apps.push(await startApp(platform, { controllers, database }));
      const request = { path: '/plain', key: randomUUID() };
      const first = await send(apps[0].port, request);
      const second = await send(apps[1].port, request);
      expect([isReplay(second), comparable(second)]).toEqual([true, comparable(first)]);
      expect(isReplay(await send(app.port, request))).toBe(false);
    } finally {
      for (const one of apps) await one.close();
      await database.drop();
    }
  });

  test('records in a second data source', async () => {
    const second = await createDatabase('better-sqlite3');
    const imports = [
      TypeOrmModule.forRoot({ ...second.options, name: 'second', autoLoadEntities: true, synchronize: true } as never),
    ];
    const settings = { controllers, imports, options: { dataSource: 'second' } };
    try {
      await withApp(platform, settings, async (running) => {
        await checkReplay(running, { name: '', path: '/plain', status: 201 });
        const other = running.app.get<DataSource>(getDataSourceToken('second'));
        expect(await other.getRepository(IdempotencyRecord).count()).toBe(1);
        expect(await running.dataSource.query('SELECT * FROM idempotency_record').catch(() => [])).toEqual([]);
      });
    } finally {
      await second.drop();
    }
  });

  test('options of a factory', async () => {
    const database = await createDatabase('better-sqlite3');
    const settings: AppSettings = {
      controllers,
      database,
      module: IdempotencyModule.forRootAsync({
        useFactory: async () => ({ audit: 'off' as const, header: 'X-Async-Key' }),
      }),
    };
    try {
      await withApp(platform, settings, async ({ port }) => {
        const request = { path: '/plain', headers: { 'X-Async-Key': randomUUID() } };
        const first = await send(port, request);
        expect([first.status, isReplay(await send(port, request))]).toEqual([201, true]);
      });
    } finally {
      await database.drop();
    }
  });
});
