import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { TypeOrmModule } from '@nestjs/typeorm';
import { createDatabase } from '../support/database.js';
import { type AppSettings, PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, comparable, countRuns, isReplay } from './support/cases.js';
import { RawConnection, type RawRequest, send } from './support/raw-http.js';
import { Effect, TransactionsController } from './support/transactions.controller.js';
import { until } from '../support/until.js';

const settings: AppSettings = {
  controllers: [TransactionsController],
  imports: [TypeOrmModule.forFeature([Effect])],
};

describe.each(PLATFORMS)('transactions, on %s', (platform) => {
  let app: RunningApp;

  const to = (path: string, body: object = {}): RawRequest & { key: string } => ({
    path: `/transactions/${path}`,
    key: randomUUID(),
    body,
  });
  const effectsOf = (key: string) => app.dataSource.getRepository(Effect).countBy({ key });

  /** As a client that retries: until the key is no longer taken. */
  const retry = async (request: RawRequest) => {
    for (;;) {
      const answer = await send(app.port, request);
      if (codeOf(answer) !== 'in-progress') return answer;
      await sleep(30);
    }
  };

  describe('on SQLite', () => {
    beforeAll(async () => {
      app = await startApp(platform, settings);
    });
    afterAll(() => app?.close());

    test.each([
      ['a success', 'answers/201', 201, 1],
      ['a redirect', 'answers/304', 304, 1],
      ['an error that is thrown', 'throws', 409, 0],
      ['an error status without an error', 'answers/400', 400, 0],
      ['another of them', 'answers/422', 422, 0],
      ['a refusal that an outer interceptor turns into a success', 'fallback', 201, 0],
    ])('%s is replayed, and what was written %j', async (_name, path, status, effects) => {
      const request = to(path);
      const before = countRuns();
      const first = await send(app.port, request);
      const second = await send(app.port, request);
      expect([first.status, isReplay(second), comparable(second)]).toEqual([status, true, comparable(first)]);
      expect([countRuns() - before, await effectsOf(request.key)]).toEqual([1, effects]);
    });

    test.each([
      ['too large to keep', 'large/201'],
      ['that cannot be packed', 'unpackable/201'],
    ])('a response %s is sent, and not again', async (_name, path) => {
      const request = to(path);
      expect((await send(app.port, request)).status).toBe(201);
      const second = await send(app.port, request);
      expect([codeOf(second), await effectsOf(request.key)]).toEqual(['replay-unavailable', 1]);
    });

    test.each([
      ['too large to keep', 'large/400'],
      ['that cannot be packed', 'unpackable/400'],
    ])('an error %s rolls back, and its retry gets that it failed', async (_name, path) => {
      const request = to(path);
      const before = countRuns();
      const first = await send(app.port, request);
      const second = await send(app.port, request);
      expect([first.status, codeOf(second)]).toEqual([400, 'replay-unavailable']);
      expect(second.body.toString()).toContain('The operation failed');
      expect([countRuns() - before, await effectsOf(request.key)]).toEqual([1, 0]);
    });

    test('a failure rolls back, and the retry runs', async () => {
      const request = to('fails');
      const before = countRuns();
      for (let n = 0; n < 2; n++) expect((await send(app.port, request)).status).toBe(500);
      expect([countRuns() - before, await effectsOf(request.key)]).toEqual([2, 0]);
    });

    test('an outage that an outer interceptor turns into a success rolls back, and the retry runs', async () => {
      const request = to('fallback-outage');
      const before = countRuns();
      for (let n = 1; n <= 2; n++) {
        const answer = await send(app.port, request);
        expect([answer.status, isReplay(answer), countRuns() - before, await effectsOf(request.key)]).toEqual([
          201,
          false,
          n,
          0,
        ]);
      }
    });

    test('a handler that an outer interceptor has given up on commits when it ends, and is not run again', async () => {
      const request = to('timeout', { ms: 200 });
      const before = countRuns();
      expect((await send(app.port, request)).status).toBe(408);
      expect(codeOf(await retry(request))).toBe('replay-unavailable');
      expect([countRuns() - before, await effectsOf(request.key)]).toEqual([1, 1]);
    });

    test('a handler whose client has gone commits when it ends, and is not run again', async () => {
      const request = to('silent', { ms: 80 });
      const before = countRuns();
      const connection = await RawConnection.open(app.port);
      connection.send(request);
      await until(() => countRuns() > before);
      connection.close();
      const answer = await retry(request);
      expect([codeOf(answer), countRuns() - before, await effectsOf(request.key)]).toEqual([
        'replay-unavailable',
        1,
        1,
      ]);
    });
  });

  describe('on PostgreSQL', () => {
    test('a transaction that the database broke off is answered with 503, and the retry runs', async () => {
      app = await startApp(platform, { ...settings, dialect: 'postgres' });
      const request = to('conflict');
      try {
        const first = await send(app.port, request);
        expect([first.status, codeOf(first)]).toEqual([503, 'store-unavailable']);
        const second = await send(app.port, request);
        expect([second.status, isReplay(second), await effectsOf(request.key)]).toEqual([201, false, 1]);
        expect(comparable(await send(app.port, request))).toEqual(comparable(second));
      } finally {
        await app.close();
      }
    });

    test('a transaction that cannot begin is answered with 503: nothing ran, and nothing is left behind', async () => {
      const database = await createDatabase('postgres');
      const one = { ...database, options: { ...database.options, poolSize: 1 } };
      app = await startApp(platform, { ...settings, database: one, options: { storeTimeout: 300 } });
      try {
        const [long, other] = [to('silent', { ms: 1_500 }), to('answers/201')];
        const before = countRuns();
        const running = send(app.port, long);
        await until(() => countRuns() > before);
        const refused = await send(app.port, other);
        expect([refused.status, codeOf(refused), countRuns() - before]).toEqual([503, 'store-unavailable', 1]);
        expect((await running).status).toBe(201);
        const corrected = await send(app.port, { ...other, body: { corrected: true } });
        expect([corrected.status, await effectsOf(other.key)]).toEqual([201, 1]);
      } finally {
        await app.close();
        await database.drop();
      }
    });
  });
});
