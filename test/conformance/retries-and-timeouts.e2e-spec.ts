import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ConflictException } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { until } from '../support/until.js';
import { type AppSettings, type RunningApp, startApp } from './support/app.js';
import { codeOf, comparable, isReplay } from './support/cases.js';
import { RetriesController, Row, Script, stage } from './support/retries-and-timeouts.controller.js';
import { RawConnection, type RawAnswer, type RawRequest, send } from './support/raw-http.js';

/** Sent with a request that the timeout middleware is to answer, with this status. */
const TIMES_OUT = 'x-times-out';

/** Answers while the handler runs: as connect-timeout does, and four lines of one's own. */
function timeOut(request: IncomingMessage, response: ServerResponse, next: () => void): void {
  const status = Number(request.headers[TIMES_OUT]);
  if (status) {
    const timer = setInterval(() => {
      if (stage.script.running === 0 || response.writableEnded) return;
      clearInterval(timer);
      response.statusCode = status;
      response.setHeader('Content-Type', 'application/json');
      response.end('{"message":"timeout"}');
    }, 5);
  }
  next();
}

const settings: AppSettings = {
  controllers: [RetriesController],
  imports: [TypeOrmModule.forFeature([Row])],
  configure: (app) => void app.use(timeOut),
};

describe.each([
  ['express', 'better-sqlite3'],
  ['fastify', 'better-sqlite3'],
  ['express', 'postgres'],
  ['fastify', 'mariadb'],
] as const)('the key follows the work, on %s with %s', (platform, dialect) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, { ...settings, dialect });
  });
  afterAll(() => app?.close());

  const to = (path: string, headers: Record<string, string> = {}): RawRequest & { key: string } => ({
    path: `/calls/${path}`,
    key: randomUUID(),
    headers,
    body: {},
  });
  const ask = (request: RawRequest) => send(app.port, request);
  const again = (request: RawRequest) => ask({ ...request, headers: {} });
  const rowsOf = ({ key }: { key: string }) => app.dataSource.getRepository(Row).countBy({ key });
  const play = (settingsOfScript?: ConstructorParameters<typeof Script>[0]) =>
    (stage.script = new Script(settingsOfScript));
  const callOf = ({ body }: RawAnswer) => (JSON.parse(body.toString()) as { call?: number }).call;

  /** As a client that retries: until the key is no longer taken. */
  const retry = async (request: RawRequest): Promise<RawAnswer> => {
    let answer!: RawAnswer;
    await until(async () => codeOf((answer = await again(request))) !== 'in-progress');
    return answer;
  };

  const expectReplay = async (request: RawRequest, first: RawAnswer) => {
    const replay = await again(request);
    expect([isReplay(replay), comparable(replay)]).toEqual([true, comparable(first)]);
  };

  /** Asks, and hangs up once the handler runs. */
  const hangUp = async (request: RawRequest) => {
    const connection = await RawConnection.open(app.port);
    connection.send(request);
    await until(() => stage.script.running > 0);
    connection.close();
  };

  describe('an interceptor that tries again', () => {
    test.each(['retry-outside', 'retry-outside-at-once', 'retry-inside'])('%s: the last call decides', async (path) => {
      const script = play({ fails: [1, 2] });
      const request = to(path);
      const first = await ask(request);
      expect([first.status, callOf(first), script.calls]).toEqual([201, 3, 3]);
      await expectReplay(request, first);
      expect(script.calls).toBe(3);
    });

    test.each(['retry-outside', 'retry-outside-at-once', 'retry-inside'])(
      '%s: where all fail, the key is free',
      async (path) => {
        const script = play({ fails: [1, 2, 3] });
        const request = to(path);
        expect((await ask(request)).status).toBe(500);
        const second = await ask(request);
        expect([second.status, isReplay(second), callOf(second), script.calls]).toEqual([201, false, 4, 4]);
      },
    );

    test.each(['retry-outside-tx', 'retry-inside-tx'])('%s: what the last call wrote commits, alone', async (path) => {
      const script = play({ fails: [1, 2] });
      const request = to(path);
      const first = await ask(request);
      expect([first.status, callOf(first), script.calls, await rowsOf(request)]).toEqual([201, 3, 3, 1]);
      await expectReplay(request, first);
    });

    test.each(['retry-outside-tx', 'retry-inside-tx'])('%s: where all fail, nothing commits', async (path) => {
      const script = play({ fails: [1, 2, 3] });
      const request = to(path);
      expect([(await ask(request)).status, await rowsOf(request)]).toEqual([500, 0]);
      expect([(await ask(request)).status, script.calls, await rowsOf(request)]).toEqual([201, 4, 1]);
    });

    test.each(['retry-inside', 'retry-outside', 'retry-outside-slow'])(
      '%s, for a client that has gone: nothing runs beside it',
      async (path) => {
        const script = play({ waits: [1, 2], fails: [1] });
        const request = to(path);
        await hangUp(request);
        script.open(1);
        await until(() => script.calls === 2);
        expect(codeOf(await ask(request))).toBe('in-progress');
        script.open(2);
        const answer = await retry(request);
        expect([answer.status, isReplay(answer), callOf(answer)]).toEqual([201, true, 2]);
        expect([script.calls, script.effects, script.mostAtOnce]).toEqual([2, 1, 1]);
      },
    );

    test('after a time-out inside: its second call is the outcome, though the first still runs', async () => {
      const script = play({ waits: [1] });
      const request = to('impatient-inside');
      const first = await ask(request);
      expect([first.status, callOf(first), script.running]).toEqual([201, 2, 1]);
      await expectReplay(request, first);
      script.open(1);
    });

    test('after a time-out inside, both calls too slow: the key is taken until both have ended', async () => {
      const script = play({ waits: [1, 2], fails: [1, 2] });
      const request = to('impatient-inside');
      expect((await ask(request)).status).toBe(500);
      script.open(2);
      await until(() => script.running === 1);
      expect(codeOf(await ask(request))).toBe('in-progress');
      script.open(1);
      const answer = await retry(request);
      expect([answer.status, isReplay(answer), callOf(answer)]).toEqual([201, false, 3]);
    });

    test('after a time-out outside, both calls too slow: the last one is the outcome', async () => {
      const script = play({ waits: [1, 2], fails: [1] });
      const request = to('impatient-outside');
      expect((await ask(request)).status).toBe(500);
      expect(codeOf(await ask(request))).toBe('in-progress');
      script.open(1);
      script.open(2);
      expect(codeOf(await retry(request))).toBe('replay-unavailable');
      expect(script.calls).toBe(2);
    });

    test('after a time-out inside, in a transaction: its second call waits for the first, and commits alone', async () => {
      const script = play({ waits: [1] });
      const request = to('impatient-inside-tx');
      const answer = ask(request);
      await until(() => script.running === 1);
      expect((await answer).status).toBe(500);
      script.open(1);
      expect(codeOf(await retry(request))).toBe('replay-unavailable');
      expect([script.calls, script.mostAtOnce, await rowsOf(request)]).toEqual([2, 1, 1]);
    });
  });

  describe('a time-out outside of the interceptors', () => {
    test.each([
      ['plain', 503],
      ['plain', 408],
      ['plain', 200],
      ['plain-tx', 503],
      ['plain-tx', 200],
      ['native', 503],
      ['work', 503],
      ['work-outside', 503],
    ])(
      '%s, answered with %i: the key is taken while the handler runs, and its outcome counts',
      async (path, status) => {
        const script = play({ waits: [1] });
        const request = to(path, { [TIMES_OUT]: String(status) });
        const first = await ask(request);
        expect([first.status, first.body.toString()]).toEqual([status, '{"message":"timeout"}']);
        expect(codeOf(await again(request))).toBe('in-progress');
        script.open(1);
        expect(codeOf(await retry(request))).toBe('replay-unavailable');
        expect([script.calls, script.effects]).toEqual([1, 1]);
        if (path.endsWith('-tx')) expect(await rowsOf(request)).toBe(1);
      },
    );

    test.each(['plain', 'plain-tx', 'native', 'work', 'work-outside'])(
      '%s: a handler that fails after that frees the key',
      async (path) => {
        const script = play({ waits: [1], fails: [1] });
        const request = to(path, { [TIMES_OUT]: '503' });
        expect((await ask(request)).status).toBe(503);
        expect(codeOf(await again(request))).toBe('in-progress');
        script.open(1);
        const answer = await retry(request);
        expect([answer.status, isReplay(answer), script.calls, script.mostAtOnce]).toEqual([201, false, 2, 1]);
        if (path.endsWith('-tx')) expect(await rowsOf(request)).toBe(1);
      },
    );
  });

  describe('work that goes on', () => {
    test.each(['callback', 'callback-unlimited', 'next', 'native'])(
      '%s: a client that hangs up does not end it',
      async (path) => {
        const script = play({ waits: [1] });
        const request = to(path);
        await hangUp(request);
        expect(codeOf(await ask(request))).toBe('in-progress');
        script.open(1);
        const answer = await retry(request);
        expect([answer.status, isReplay(answer), script.calls]).toEqual([201, true, 1]);
      },
    );

    test.each(['callback-unlimited', 'next', 'native'])('%s: what fails after that frees the key', async (path) => {
      const script = play({ waits: [1], fails: [1] });
      const request = to(path);
      await hangUp(request);
      script.open(1);
      const answer = await retry(request);
      expect([answer.status, isReplay(answer), script.calls]).toEqual([201, false, 2]);
    });

    test('callbacks without a sign of life for a lease: as after a crash', async () => {
      const script = play({ waits: [1] });
      const request = to('callback');
      await hangUp(request);
      const answer = await retry(request);
      expect([answer.status, isReplay(answer), callOf(answer)]).toEqual([201, false, 2]);
      script.open(1);
      await expectReplay(request, answer);
    });

    test('a slow interceptor inside, and a client that has gone: the response is recorded', async () => {
      const script = play({ waits: [1] });
      const request = to('slow-inside');
      await hangUp(request);
      script.open(1);
      const answer = await retry(request);
      expect([answer.status, isReplay(answer), script.calls]).toEqual([201, true, 1]);
    });

    test('native, in a transaction: a failure after its response takes that back', async () => {
      const script = play({ waits: [1], fails: [1] });
      const request = to('native-tx');
      const answer = ask(request);
      await until(() => script.running === 1);
      script.open(1);
      expect([(await answer).status, await rowsOf(request)]).toEqual([500, 0]);
      const second = await ask(request);
      expect([second.status, isReplay(second), await rowsOf(request)]).toEqual([201, false, 1]);
    });

    test.each(['work', 'work-outside', 'work-of-an-object'])(
      '%s, done by an interceptor: what fails frees the key',
      async (path) => {
        const script = play({ fails: [1] });
        const request = to(path);
        expect((await ask(request)).status).toBe(500);
        const second = await ask(request);
        expect([second.status, isReplay(second), script.calls]).toEqual([201, false, 2]);
        await expectReplay(request, second);
      },
    );
  });

  describe('an answer that cannot be made', () => {
    test.each(['unserializable-inside', 'unserializable-outside', 'unserializable-tx'])(
      '%s: the operation was carried out, once',
      async (path) => {
        const script = play();
        const request = to(path);
        expect((await ask(request)).status).toBe(500);
        expect(codeOf(await ask(request))).toBe('replay-unavailable');
        expect([script.calls, script.effects]).toEqual([1, 1]);
        if (path.endsWith('-tx')) expect(await rowsOf(request)).toBe(1);
      },
    );
  });

  describe('an error that is made a success', () => {
    test.each(['envelope', 'envelope-tx', 'forgiving-inside', 'forgiving-outside'])(
      '%s: an outage frees the key',
      async (path) => {
        const script = play({ fails: [1] });
        const request = to(path);
        const first = await ask(request);
        expect([first.status, callOf(first)]).toEqual([path.startsWith('envelope') ? 200 : 201, undefined]);
        const second = await ask(request);
        expect([isReplay(second), callOf(second), script.calls]).toEqual([false, 2, 2]);
        if (path.endsWith('-tx')) expect(await rowsOf(request)).toBe(1);
      },
    );

    test.each(['envelope', 'envelope-tx', 'forgiving-inside', 'forgiving-outside'])(
      '%s: a refusal is replayed',
      async (path) => {
        const script = play({ fails: [1], error: new ConflictException('sold out') });
        const request = to(path);
        const first = await ask(request);
        await expectReplay(request, first);
        expect(script.calls).toBe(1);
        if (path.endsWith('-tx')) expect(await rowsOf(request)).toBe(0);
      },
    );

    test.each(['envelope', 'forgiving-outside', 'mapping-outside'])(
      '%s: our own refusals leave as they are',
      async (path) => {
        const script = play({ waits: [1] });
        const request = to(path);
        const first = ask(request);
        await until(() => script.running === 1);
        const during = await ask(request);
        expect([during.status, codeOf(during)]).toEqual([409, 'in-progress']);
        expect(during.head.join('\n')).toMatch(/content-type: application\/problem\+json.*retry-after: \d/is);
        script.open(1);
        expect((await first).status).toBe(201);
        const reused = await ask({ ...request, body: { another: true } });
        expect([reused.status, codeOf(reused)]).toEqual([422, 'key-reused']);
        const missing = await ask({ ...request, key: undefined });
        expect([missing.status, codeOf(missing)]).toEqual([400, 'key-missing']);
      },
    );
  });

  describe('the option outcome', () => {
    test('a retention of its own', async () => {
      const script = play({ fails: [1], error: new ConflictException('no money yet') });
      const request = to('brief');
      expect((await ask(request)).status).toBe(409);
      expect(isReplay(await ask(request))).toBe(true);
      await until(async () => (await ask(request)).status === 201);
      expect(script.calls).toBe(2);
    });

    test('success: what the handler refuses frees the key', async () => {
      const script = play({ fails: [1], error: new ConflictException('no money yet') });
      const request = to('success');
      expect((await ask(request)).status).toBe(409);
      const second = await ask(request);
      expect([second.status, isReplay(second), script.calls]).toEqual([201, false, 2]);
      await expectReplay(request, second);
    });
  });
});
