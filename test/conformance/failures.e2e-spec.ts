import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { IdempotencyRecord } from '../../lib/index.js';
import { until } from '../support/until.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { checkReplay, codeOf, countRuns, isReplay, type ReplayCase } from './support/cases.js';
import { EXCEPTIONS, FailuresController } from './support/failures.controller.js';
import { late } from './support/late.js';
import { type RawAnswer, send, valueOf } from './support/raw-http.js';

const again = (status: number) =>
  status >= 500 || [408, 425, 429].includes(status) ? ('rerun' as const) : ('replayed' as const);

const THROWN: ReplayCase[] = EXCEPTIONS.map(([name, status]) => ({
  name: `${name}: ${again(status)}`,
  path: `exception/${name}`,
  status,
  // A message of its own each time, which shows whose answer this is.
  again: again(status),
}));

const STATUSES: ReplayCase[] = [400, 402, 404, 409, 418, 422, 451, 499].map((status) => ({
  name: `a ${status} with a body of its own`,
  path: `status/${status}`,
  status,
  text: /^{"reason":"[-\w]+","nested":{"list":\[1\]}}$/,
}));

const CASES: ReplayCase[] = [
  {
    name: 'an Error',
    path: 'error',
    status: 500,
    again: 'rerun',
    text: '{"statusCode":500,"message":"Internal server error"}',
  },
  { name: 'a string that is thrown', path: 'no-error', status: 500, again: 'rerun' },
  { name: 'what cannot be read', path: 'revoked', status: 500, again: 'rerun' },
  { name: 'a rejected promise', path: 'rejected', status: 404 },
  { name: 'an error that a filter maps to 409', path: 'out-of-stock', status: 409, text: /^{"problem":"[-\w]+"}$/ },
  { name: 'an error that a filter maps to 503', path: 'overloaded', status: 503, again: 'rerun' },
  {
    name: 'an inner interceptor that fails after the handler',
    path: 'failed-inside',
    status: 500,
    again: 'carried out',
  },
  { name: 'an inner interceptor that refuses after the handler', path: 'refused-after-inside', status: 410 },
  {
    name: 'an outer interceptor that fails after the handler',
    path: 'failed-outside',
    status: 500,
    again: 'carried out',
  },
  {
    name: 'an inner interceptor with a fallback',
    path: 'fallback-inside',
    status: 201,
    text: /^{"fallback":"caught"}$/,
    again: 'rerun',
  },
  {
    name: 'an inner interceptor with a fallback for a refusal',
    path: 'refused-fallback-inside',
    status: 201,
    text: /^{"fallback":"sold out"}$/,
  },
  {
    name: 'an outer interceptor with a fallback',
    path: 'fallback-outside',
    status: 201,
    text: /^{"fallback":"caught"}$/,
    again: 'rerun',
  },
  {
    name: 'an outer interceptor with a fallback for a refusal',
    path: 'refused-fallback-outside',
    status: 201,
    text: /^{"fallback":"sold out"}$/,
  },
  { name: 'an outer interceptor that maps an error to 409', path: 'remapped-outside', status: 409 },
  { name: 'an outer interceptor that takes its time', path: 'slowly-outside', status: 201 },
  {
    name: 'an outer interceptor that takes longer than a client is waited for',
    path: 'very-slowly-outside',
    status: 201,
  },
  { name: 'doNotStore()', path: 'not-stored', status: 201, again: 'rerun' },
  { name: 'an outcome option that releases a 404', path: 'released-404', status: 404, again: 'rerun' },
  { name: 'an outcome option that stores a 500', path: 'stored-500', status: 500 },
  { name: 'an outcome option that throws', path: 'outcome-throws', status: 201 },
];

describe.each(PLATFORMS)('how requests fail, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, { controllers: [FailuresController] });
  });
  afterAll(() => app?.close());

  const post = (path: string, key: string, body: object = {}) =>
    send(app.port, { path: `/failures/${path}`, key, body });
  const countRecords = () => app.dataSource.getRepository(IdempotencyRecord).count();

  test('there is an exception for each status that Nest knows', () => {
    expect(EXCEPTIONS.length).toBeGreaterThanOrEqual(20);
  });

  test.each([...THROWN, ...CASES])('$name', async (one) => {
    const unlike = one.again === 'rerun' && one.path.startsWith('exception/') ? { body: {} } : {};
    if (!('body' in unlike)) return void (await checkReplay(app, { ...one, path: `/failures/${one.path}` }));
    // Another text each time, so that the bytes differ.
    const key = randomUUID();
    const before = countRuns();
    const answers = [await post(one.path, key), await post(one.path, key)];
    expect(answers.map((answer) => [answer.status, isReplay(answer)])).toEqual(Array(2).fill([one.status, false]));
    expect(answers[0].body.equals(answers[1].body)).toBe(false);
    expect(countRuns() - before).toBe(2);
  });

  test.each(STATUSES)('$name', async (one) => {
    await checkReplay(app, { ...one, path: `/failures/${one.path}` });
  });

  test('an outer interceptor that refuses after the handler: what went out is on record', async () => {
    await checkReplay(app, { name: '', path: '/failures/refused-after-outside', status: 410 });
  });

  test.each([
    ['a pipe', 'validated', { amount: 'much' }, { amount: 1 }, 400],
    ['a pipe that takes its time', 'slow-pipe', { wrong: true }, { wrong: false }, 400],
    ['an inner interceptor', 'refused-inside', { refuse: true }, { refuse: false }, 403],
    ['an outer interceptor', 'refused-outside', { refuse: true }, { refuse: false }, 403],
  ])('rejected by %s: it never began, and a corrected body runs', async (_by, path, wrong, right, status) => {
    const key = randomUUID();
    const before = countRuns();
    const records = await countRecords();
    expect((await post(path, key, wrong)).status).toBe(status);
    expect((await post(path, key, wrong)).status).toBe(status);
    expect([countRuns() - before, await countRecords()]).toEqual([0, records]);
    const corrected = await post(path, key, right);
    expect([corrected.status, isReplay(corrected)]).toEqual([201, false]);
    const replay = await post(path, key, right);
    expect([isReplay(replay), replay.body.equals(corrected.body)]).toEqual([true, true]);
    expect(countRuns() - before).toBe(1);
    if (path === 'refused-outside') return;
    expect(codeOf(await post(path, key, wrong))).toBe('key-reused');
  });

  test('rejected by a pipe for a path parameter: it never began', async () => {
    const key = randomUUID();
    expect((await post('status/none', key)).status).toBe(400);
    expect((await post('status/404', key)).status).toBe(404);
  });

  describe('a handler that is given up on', () => {
    beforeEach(() => late.hold());
    afterEach(() => late.release());

    /** As a client that retries: until the key is no longer taken. */
    const retry = async (path: string, key: string, body?: object) => {
      let answer!: RawAnswer;
      await until(async () => codeOf((answer = await post(path, key, body))) !== 'in-progress');
      return answer;
    };
    const ended = async () => {
      late.release();
      await until(() => late.running === 0);
      late.hold();
    };

    test.each(['timeout-inside', 'timeout-outside'])('%s: it is followed to its end', async (path) => {
      const key = randomUUID();
      const before = countRuns();
      expect((await post(path, key)).status).toBe(408);
      const during = await post(path, key);
      expect([during.status, codeOf(during), valueOf(during.head, 'retry-after')]).toEqual([409, 'in-progress', '1']);
      await ended();
      const after = await retry(path, key);
      expect([after.status, codeOf(after)]).toEqual([409, 'replay-unavailable']);
      expect(countRuns() - before).toBe(1);
    });

    test.each(['timeout-inside', 'timeout-outside'])('%s: its late failure frees the key', async (path) => {
      const key = randomUUID();
      const before = countRuns();
      expect((await post(path, key, { fail: true })).status).toBe(408);
      await ended();
      expect((await retry(path, key, { fail: true })).status).toBe(408);
      expect(countRuns() - before).toBe(2);
    });

    test('an inner interceptor that answers instead of it: it is followed to its end', async () => {
      const [done, failing] = [randomUUID(), randomUUID()];
      const before = countRuns();
      expect((await post('timeout-fallback', done)).status).toBe(201);
      expect((await post('timeout-fallback', failing, { fail: true })).status).toBe(201);
      expect(codeOf(await post('timeout-fallback', done))).toBe('in-progress');
      await ended();
      expect(codeOf(await retry('timeout-fallback', done))).toBe('replay-unavailable');
      expect(countRuns() - before).toBe(2);
      expect((await retry('timeout-fallback', failing, { fail: true })).status).toBe(201);
      expect(countRuns() - before).toBe(3);
    });

    test('an outer interceptor that gives up on a request while it waits for its turn: the key is free after that', async () => {
      const key = randomUUID();
      const before = countRuns();
      const ask = () => post('timeout-while-waiting', key, { fail: true });
      const first = ask();
      await until(() => late.running === 1);
      expect([(await ask()).status, (await first).status, countRuns() - before]).toEqual([408, 408, 1]);
      // The one that waited has its turn, though no client waits for it. It would run within this.
      await ended();
      await sleep(300);
      expect(countRuns() - before).toBe(1);
      expect([(await ask()).status, countRuns() - before]).toEqual([408, 2]);
    });
  });

  test('an inner interceptor that answers before the handler begins: it begins all the same, once', async () => {
    const key = randomUUID();
    const before = countRuns();
    const first = await post('answered-early', key);
    const second = await post('answered-early', key);
    expect([isReplay(second), second.body.equals(first.body)]).toEqual([true, true]);
    await until(() => countRuns() - before === 1);
  });

  test.each(['timeout-inside-before', 'timeout-outside-before'])(
    '%s the handler: what was answered as never begun does not begin',
    async (path) => {
      const key = randomUUID();
      const before = countRuns();
      expect((await post(path, key)).status).toBe(408);
      // It would begin within this.
      await sleep(400);
      expect(countRuns() - before).toBe(0);
      const corrected = await post(path, key, { corrected: true });
      expect([corrected.status, isReplay(corrected)]).toEqual([408, false]);
    },
  );
});
