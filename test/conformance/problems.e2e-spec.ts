import { randomUUID } from 'node:crypto';
import { APP_FILTER, HttpAdapterHost } from '@nestjs/core';
import { StoreUnavailableError } from '../../lib/engine/errors.js';
import { IdempotencyRecord } from '../../lib/index.js';
import { SqlRecordStore } from '../../lib/store/sql-record-store.js';
import { until } from '../support/until.js';
import { type AppSettings, PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, countRuns } from './support/cases.js';
import {
  CatchAllFilter,
  type FilterType,
  HttpExceptionFilter,
  KeyMissingFilter,
  OurProblemFilter,
  ProblemsController,
  ReportingFilter,
} from './support/problems.controller.js';
import { late } from './support/late.js';
import { type RawAnswer, type RawRequest, send, valueOf } from './support/raw-http.js';

const DOCUMENTATION = 'https://shop.example/docs/idempotency';
const SECRET = "SELECT pan FROM card WHERE pan = '4111111111111111'";

const controllers = [ProblemsController];
const global = (filter: FilterType): AppSettings => ({
  controllers,
  configure: (app) => void app.useGlobalFilters(new filter(app.get(HttpAdapterHost))),
});

const APPS: [name: string, settings: AppSettings][] = [
  ['no filter', { controllers }],
  ['a global filter for everything', global(CatchAllFilter)],
  ['a global filter for HTTP exceptions', global(HttpExceptionFilter)],
  ['a global filter that reports', global(ReportingFilter)],
  ['a provided filter for everything', { controllers, providers: [{ provide: APP_FILTER, useClass: CatchAllFilter }] }],
];

/** Makes each method of the store fail with an error that reveals too much. */
function poison(
  { app }: RunningApp,
  method: 'claim' | 'complete' | 'release',
  make: (cause: Error) => Error,
): () => void {
  const store = app.get(SqlRecordStore, { strict: false });
  const healthy = store[method];
  const failing = () => Promise.reject(make(Object.assign(new Error(SECRET), { query: SECRET, parameters: [SECRET] })));
  Object.assign(store, { [method]: failing });
  return () => void Object.assign(store, { [method]: healthy });
}

describe.each(PLATFORMS)('problems, on %s', (platform) => {
  let app: RunningApp;
  const post = (request: Partial<RawRequest> = {}) => send(app.port, { path: '/problems', ...request });

  /** Checks the form of a problem, which never changes. */
  function check(
    answer: RawAnswer,
    code: string,
    status: number,
    { retryable = false, retryAfter = '' } = {},
    docs = false,
  ) {
    expect([answer.status, valueOf(answer.head, 'content-type')]).toEqual([
      status,
      'application/problem+json; charset=utf-8',
    ]);
    expect(JSON.parse(answer.body.toString())).toEqual({
      type: docs ? `${DOCUMENTATION}#${code}` : `urn:nestjs-idempotency:problem:${code}`,
      title: expect.any(String),
      status,
      detail: expect.any(String),
      code,
      retryable,
    });
    expect(valueOf(answer.head, 'retry-after') ?? '').toBe(retryAfter);
    expect(valueOf(answer.head, 'link')).toBe(docs ? `<${DOCUMENTATION}>; rel="describedby"` : undefined);
    expect(valueOf(answer.head, 'idempotent-replayed')).toBeUndefined();
  }

  describe.each(APPS)('with %s', (_name, settings) => {
    beforeAll(async () => {
      app = await startApp(platform, settings);
    });
    afterAll(() => app?.close());

    test('key-missing', async () => check(await post(), 'key-missing', 400));

    test('key-invalid', async () => check(await post({ key: 'two words' }), 'key-invalid', 400));

    test('key-reused', async () => {
      const key = randomUUID();
      await post({ key, body: { a: 1 } });
      check(await post({ key, body: { a: 2 } }), 'key-reused', 422);
    });

    test('key-foreign', async () => {
      const key = randomUUID();
      await post({ key, headers: { Authorization: 'Bearer a' } });
      check(await post({ key, headers: { Authorization: 'Bearer b' } }), 'key-foreign', 422);
    });

    test('in-progress', async () => {
      const request = { key: randomUUID(), body: { held: true } };
      late.hold();
      const first = post(request);
      await until(() => late.running === 1);
      check(await post(request), 'in-progress', 409, { retryable: true, retryAfter: '1' });
      late.release();
      expect((await first).status).toBe(201);
    });

    test('outcome-unknown', async () => {
      const key = randomUUID();
      await post({ key, body: {} });
      const records = app.dataSource.getRepository(IdempotencyRecord);
      const [{ id }] = await records.find({ order: { createdAt: 'DESC' }, take: 1 });
      await records
        .createQueryBuilder()
        .update()
        .set({ status: 'held' } as never)
        .execute();
      check(await post({ key, body: {} }), 'outcome-unknown', 409);
      await records.delete(id);
    });

    test('replay-unavailable', async () => {
      const key = randomUUID();
      await post({ path: '/problems/too-large', key });
      check(await post({ path: '/problems/too-large', key }), 'replay-unavailable', 409);
    });

    test.each([
      ['an outage', (cause: Error) => new StoreUnavailableError({ cause })],
      ['an unforeseen error', (cause: Error) => cause],
    ])('store-unavailable: %s', async (_kind, make) => {
      const heal = poison(app, 'claim', make);
      const before = countRuns();
      const key = randomUUID();
      const answer = await post({ key });
      check(answer, 'store-unavailable', 503, { retryable: true, retryAfter: '1' });
      expect(answer.body.toString()).not.toMatch(/SELECT|4111/);
      expect(answer.body.toString()).not.toContain(key);
      expect(countRuns()).toBe(before);
      heal();
      expect((await post({ key })).status).toBe(201);
    });

    test.each([
      ['an outage', (cause: Error) => new StoreUnavailableError({ cause })],
      ['an unforeseen error', (cause: Error) => cause],
    ])('outcome-not-recorded: %s', async (_kind, make) => {
      const heal = poison(app, 'complete', make);
      const key = randomUUID();
      const answer = await post({ path: '/problems/short-lease', key });
      check(answer, 'outcome-not-recorded', 503, { retryable: true, retryAfter: '5' });
      expect(answer.body.toString()).not.toMatch(/SELECT|4111|of the handler/);
      heal();
    });

    test.each([
      ['an outage', (cause: Error) => new StoreUnavailableError({ cause })],
      ['an unforeseen error', (cause: Error) => cause],
    ])('a failure whose key cannot be freed is answered as it is: %s', async (_kind, make) => {
      const heal = poison(app, 'release', make);
      const answer = await post({ path: '/problems/failing', key: randomUUID() });
      expect(answer.status).toBe(500);
      expect(answer.body.toString()).not.toMatch(/SELECT|4111/);
      heal();
    });

    test("nothing describes the body of the handler's @Header()", async () => {
      const request = { path: '/problems/file', key: randomUUID() };
      expect(valueOf((await post(request)).head, 'content-encoding')).toBe('gzip');
      const refused = await post({ ...request, body: { another: 1 } });
      const heal = poison(app, 'complete', (cause) => cause);
      const lost = await post({ ...request, key: randomUUID() });
      heal();
      expect([refused.status, lost.status]).toEqual([422, 503]);
      for (const { head } of [refused, lost])
        expect([valueOf(head, 'content-encoding'), valueOf(head, 'content-disposition')]).toEqual([
          undefined,
          undefined,
        ]);
    });

    test('errors of others are left alone', async () => {
      const answer = await post({ path: '/problems/other' });
      expect([answer.status, valueOf(answer.head, 'content-type')?.split(';')[0]]).toEqual([418, 'application/json']);
    });

    test('no key was logged', async () => {
      const key = randomUUID();
      for (const headers of [{ Authorization: 'Bearer a' }, { Authorization: 'Bearer b' }])
        await post({ key, headers });
      expect(app.log.toString()).not.toContain(key);
      expect(app.log.toString()).not.toContain('Bearer');
    });
  });

  test('documentation: in the type and in a Link', async () => {
    app = await startApp(platform, { ...global(CatchAllFilter), options: { documentation: DOCUMENTATION } });
    try {
      check(await post(), 'key-missing', 400, {}, true);
      check(await post({ key: '""' }), 'key-invalid', 400, {}, true);
      const heal = poison(app, 'complete', (cause) => cause);
      const lost = await post({ key: randomUUID() });
      check(lost, 'outcome-not-recorded', 503, { retryable: true, retryAfter: '5' }, true);
      heal();
      check(await post({ key: 'a', headers: ['Idempotency-Key: b'] }), 'key-invalid', 400, {}, true);
    } finally {
      await app.close();
    }
  });

  test.each([
    ['our class', OurProblemFilter, { missing: 'our-problem', invalid: 'our-problem' }],
    ['one of our classes', KeyMissingFilter, { missing: 'key-missing', invalid: undefined }],
  ])('a global filter that names %s wins', async (_which, filter, types) => {
    app = await startApp(platform, global(filter));
    try {
      const typeOf = ({ body }: RawAnswer) => (JSON.parse(body.toString()) as { type: string }).type;
      expect(typeOf(await post())).toBe(types.missing);
      const invalid = await post({ key: 'two words' });
      if (types.invalid) expect(typeOf(invalid)).toBe(types.invalid);
      else expect(codeOf(invalid)).toBe('key-invalid');
    } finally {
      await app.close();
    }
  });
});
