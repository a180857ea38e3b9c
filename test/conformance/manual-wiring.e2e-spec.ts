import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { APP_FILTER, APP_INTERCEPTOR } from '@nestjs/core';
import { IdempotencyProblemFilter, IdempotencyRecord } from '../../lib/index.js';
import { until } from '../support/until.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { ManualWiringController, TimeoutInterceptor } from './support/manual-wiring.controller.js';
import { late } from './support/late.js';
import { checkReplay, codeOf, comparable, countRuns, isReplay } from './support/cases.js';
import { RawConnection, type RawRequest, send } from './support/raw-http.js';

/** Handlers without the decorator: only the pipeline shows how far they have come. */
describe.each(PLATFORMS)('wired by hand, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, {
      controllers: [ManualWiringController],
      options: { lease: '1s' },
      providers: [
        { provide: APP_INTERCEPTOR, useClass: TimeoutInterceptor },
        { provide: APP_FILTER, useClass: IdempotencyProblemFilter },
      ],
    });
  });
  afterAll(() => app?.close());

  const to = (path: string, body: object = {}): RawRequest => ({ path: `/manual/${path}`, key: randomUUID(), body });

  /** As a client that retries: until the key is no longer taken. */
  const retry = async (request: RawRequest) => {
    for (;;) {
      const answer = await send(app.port, request);
      if (codeOf(answer) !== 'in-progress') return answer;
      await sleep(30);
    }
  };

  test.each([
    ['a value', 'late', 201, 'replayed'],
    ['a refusal', 'refused', 409, 'replayed'],
    ['a failure', 'failed', 500, 'rerun'],
  ] as const)('%s', async (_name, path, status, again) => {
    await checkReplay(app, { name: '', ...to(path), status, again });
  });

  test('rejected by a pipe: it never began, and a corrected body runs', async () => {
    const request = to('validated', { amount: 'much' });
    const before = countRuns();
    const records = await app.dataSource.getRepository(IdempotencyRecord).count();
    expect((await send(app.port, request)).status).toBe(400);
    expect(await app.dataSource.getRepository(IdempotencyRecord).count()).toBe(records);
    const corrected = await send(app.port, { ...request, body: { amount: 1 } });
    expect([corrected.status, isReplay(corrected), countRuns() - before]).toEqual([201, false, 1]);
    expect(isReplay(await send(app.port, { ...request, body: { amount: 1 } }))).toBe(true);
  });

  test('an outer interceptor that times out: the handler is followed to its end', async () => {
    const request = to('late', { held: true });
    const before = countRuns();
    late.hold();
    expect((await send(app.port, request)).status).toBe(408);
    expect(codeOf(await send(app.port, request))).toBe('in-progress');
    late.release();
    expect(codeOf(await retry(request))).toBe('replay-unavailable');
    expect(countRuns() - before).toBe(1);
  });

  test('an outer interceptor that times out: a late failure frees the key', async () => {
    const request = to('late', { held: true, fail: true });
    const before = countRuns();
    late.hold();
    expect((await send(app.port, request)).status).toBe(408);
    late.release();
    await until(() => late.running === 0);
    late.hold();
    expect((await retry(request)).status).toBe(408);
    late.release();
    expect(countRuns() - before).toBe(2);
  });

  test.each([
    ['answers', { ms: 80 }, 201],
    ['has nothing more to say', { ms: 80, silent: true }, 201],
  ])('a client that goes away from a handler that then %s', async (how, body, status) => {
    const request = to('native', body);
    const before = countRuns();
    const connection = await RawConnection.open(app.port);
    connection.send(request);
    await until(() => countRuns() > before);
    connection.close();
    const answer = await retry(request);
    // Whether one that says nothing is still at work is not known here: after a lease, it is as if it had died.
    expect([answer.status, countRuns() - before]).toEqual([status, how === 'answers' ? 1 : 2]);
    expect(comparable(await send(app.port, request))).toEqual(comparable(answer));
  });
});
