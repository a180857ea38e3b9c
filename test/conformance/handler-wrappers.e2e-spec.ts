import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { TypeOrmModule } from '@nestjs/typeorm';
import { until } from '../support/until.js';
import { type RunningApp, startApp } from './support/app.js';
import { codeOf, comparable, isReplay } from './support/cases.js';
import { Row, Script } from './support/retries-and-timeouts.controller.js';
import { HandlerWrappersController, stage } from './support/handler-wrappers.controller.js';
import { RawConnection, type RawAnswer, type RawRequest, send } from './support/raw-http.js';

/** What applications of other teams do around a handler. */
describe.each([
  ['express', 'better-sqlite3'],
  ['fastify', 'better-sqlite3'],
  ['express', 'postgres'],
] as const)('around a handler, on %s with %s', (platform, dialect) => {
  let app: RunningApp;
  const sockets = new Set<Socket>();
  beforeAll(async () => {
    app = await startApp(platform, {
      dialect,
      controllers: [HandlerWrappersController],
      imports: [TypeOrmModule.forFeature([Row])],
    });
    app.app.getHttpServer().on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
    });
  });
  afterAll(() => app?.close());

  const to = (path: string): RawRequest & { key: string } => ({
    path: `/wrapped/${path}`,
    key: randomUUID(),
    body: {},
  });
  const ask = (request: RawRequest) => send(app.port, request);
  const rowsOf = ({ key }: { key: string }) => app.dataSource.getRepository(Row).countBy({ key });
  const play = (settings?: ConstructorParameters<typeof Script>[0]) => (stage.script = new Script(settings));

  /** Asks until the key is no longer taken. */
  const settled = async (request: RawRequest): Promise<RawAnswer> => {
    let answer!: RawAnswer;
    await until(async () => codeOf((answer = await ask(request))) !== 'in-progress');
    return answer;
  };

  const expectReplay = async (request: RawRequest, first: RawAnswer) => {
    const replay = await ask(request);
    expect([isReplay(replay), comparable(replay)]).toEqual([true, comparable(first)]);
  };

  describe('an option outcome that returns no verdict', () => {
    test.each(['async', 'rejects', 'undefined', 'null', 'garbage', 'retention', 'undefined-tx'])(
      '%s: what succeeded is kept, and the log says so',
      async (kind) => {
        const script = play();
        const request = to(`outcome-${kind}`);
        const first = await ask(request);
        expect(first.status).toBe(201);
        await expectReplay(request, first);
        expect([script.calls, script.effects]).toEqual([1, 1]);
        if (kind.endsWith('-tx')) expect(await rowsOf(request)).toBe(1);
        expect(app.log.toString()).toContain(`POST /wrapped/outcome-${kind}: the option \`outcome\` failed`);
      },
    );

    test.each(['async', 'undefined', 'undefined-tx'])('%s: what failed frees the key', async (kind) => {
      play({ fails: [1] });
      const request = to(`outcome-${kind}`);
      expect((await ask(request)).status).toBe(500);
      const second = await ask(request);
      expect([second.status, isReplay(second)]).toEqual([201, false]);
    });
  });

  test.each(['file', 'stream'])(
    '%s: an interceptor that fails after the handler does not free the key',
    async (path) => {
      const script = play();
      const request = to(path);
      expect((await ask(request)).status).toBe(500);
      expect([codeOf(await ask(request)), script.calls]).toEqual(['replay-unavailable', 1]);
    },
  );

  test.each(['twice', 'twice-waiting'])(
    '%s: an interceptor that subscribes twice at once does not meet itself',
    async (path) => {
      play();
      const request = to(path);
      const first = await ask(request);
      expect(first.status).toBe(201);
      await expectReplay(request, first);
      await expectReplay(request, first);
    },
  );

  // It was taken for one that goes on without the handler: a retry got no replay, though all had gone well.
  describe('an interceptor that emits the promise of its work', () => {
    const paths = ['promised', 'promised-later', 'promised-tx'];

    test.each(paths)('%s: is replayed, and refused while it runs', async (path) => {
      const script = play({ waits: [1] });
      const request = to(path);
      const first = ask(request);
      await until(() => script.running === 1);
      expect(codeOf(await ask(request))).toBe('in-progress');
      script.open(1);
      expect((await first).status).toBe(201);
      await expectReplay(request, await first);
      expect(script.calls).toBe(1);
      if (path.endsWith('-tx')) expect(await rowsOf(request)).toBe(1);
    });

    test.each(paths)('%s: what failed frees the key', async (path) => {
      play({ fails: [1] });
      const request = to(path);
      expect((await ask(request)).status).toBe(500);
      const second = await ask(request);
      expect([second.status, isReplay(second)]).toEqual([201, false]);
      if (path.endsWith('-tx')) expect(await rowsOf(request)).toBe(1);
    });
  });

  describe('an interceptor that tries again around steps', () => {
    beforeEach(() => (stage.charges = 0));

    test.each(['steps-outside', 'steps-inside', 'steps-work', 'steps-tx'])(
      '%s: a step that is done is not run again',
      async (path) => {
        const script = play({ fails: [1, 2] });
        const request = to(path);
        const first = await ask(request);
        expect(JSON.parse(first.body.toString())).toMatchObject({ call: 3, charge: 1 });
        await expectReplay(request, first);
        expect([script.calls, stage.charges]).toEqual([3, 1]);
        if (path.endsWith('-tx')) expect(await rowsOf(request)).toBe(1);
      },
    );

    test.each(['steps-outside', 'steps-inside', 'steps-work', 'steps-tx'])(
      '%s: nor by the next request, where all fail',
      async (path) => {
        play({ fails: [1, 2, 3] });
        const request = to(path);
        expect((await ask(request)).status).toBe(500);
        expect(JSON.parse((await ask(request)).body.toString())).toMatchObject({ call: 4, charge: 1 });
        expect(stage.charges).toBe(1);
      },
    );

    test('after a time-out, a step that still runs is waited for', async () => {
      const script = play({ waits: [1] });
      const request = to('steps-impatient');
      const first = ask(request);
      await until(() => script.running === 1);
      expect((await first).status).toBe(500);
      script.open(1);
      const second = await settled(request);
      expect([codeOf(second), script.calls, script.effects]).toEqual(['replay-unavailable', 1, 1]);
    });

    test('a name that one call uses twice is refused, in a further call too', async () => {
      play({ fails: [1] });
      expect((await ask(to('steps-twice'))).status).toBe(500);
      expect([stage.charges, app.log.toString()]).toEqual([1, expect.stringContaining('named twice')]);
    });
  });

  describe('another decorator that wraps the handler', () => {
    test.each(['wrapped-above', 'inherited-above', 'proxied-above', 'wrapped-below', 'committing', 'generated'])(
      '%s: after a time-out, the key is taken while it runs',
      async (path) => {
        const script = play({ waits: [1] });
        const request = to(path);
        const first = ask(request);
        await until(() => script.running === 1);
        expect((await first).status).toBe(500);
        expect(codeOf(await ask(request))).toBe('in-progress');
        script.open(1);
        expect(codeOf(await settled(request))).toBe('replay-unavailable');
        expect([script.calls, script.mostAtOnce]).toEqual([1, 1]);
      },
    );

    test('what fails in it, such as a COMMIT, frees the key', async () => {
      play({ fails: [1] });
      const request = to('committing');
      expect((await ask(request)).status).toBe(500);
      const second = await ask(request);
      expect([second.status, isReplay(second)]).toEqual([201, false]);
      await expectReplay(request, second);
    });

    test('an interceptor that fails after it does not', async () => {
      const script = play();
      const request = to('wrapped-failing');
      expect((await ask(request)).status).toBe(500);
      expect([codeOf(await ask(request)), script.calls]).toEqual(['replay-unavailable', 1]);
    });

    test('in a transaction: a second call waits for the first, and commits alone', async () => {
      const script = play({ waits: [1] });
      const request = to('wrapped-tx');
      const first = ask(request);
      await until(() => script.running === 1);
      expect((await first).status).toBe(500);
      script.open(1);
      expect(codeOf(await settled(request))).toBe('replay-unavailable');
      expect([script.calls, script.mostAtOnce, await rowsOf(request)]).toEqual([2, 1, 1]);
    });
  });

  describe('a native handler that pipes its response', () => {
    const hangUp = async (request: RawRequest) => {
      const connection = await RawConnection.open(app.port);
      connection.send(request);
      await until(() => stage.script.running > 0);
      connection.close();
      // Once the server has heard of it.
      await until(() => sockets.size === 0);
    };

    test.each(['pipeline', 'pipeline-tx', 'finished-tx', 'ended-tx'])(
      '%s: is answered, though it waits for its response to be sent, and replayed',
      async (path) => {
        play();
        const request = to(path);
        const first = await ask(request);
        expect(first.status).toBe(201);
        await expectReplay(request, first);
        if (path.endsWith('-tx')) expect(await rowsOf(request)).toBe(1);
      },
    );

    test('with a status of its own that says that it failed: the key is free', async () => {
      play({ fails: [1] });
      const request = to('pipeline-failing');
      expect((await ask(request)).status).toBe(502);
      const second = await settled(request);
      expect([second.status, isReplay(second)]).toEqual([201, false]);
    });

    test('whose client has gone: the operation ran once', async () => {
      const script = play({ waits: [1] });
      const request = to('pipeline');
      await hangUp(request);
      script.open(1);
      expect(codeOf(await settled(request))).toBe('replay-unavailable');
      expect(script.calls).toBe(1);
    });

    test('whose client has gone, and that fails before: the key is free', async () => {
      const script = play({ waits: [1], fails: [1] });
      const request = to('pipeline');
      await hangUp(request);
      script.open(1);
      const answer = await settled(request);
      expect([answer.status, isReplay(answer), script.calls]).toEqual([201, false, 2]);
    });

    test('whose client has gone, in a transaction: it is rolled back, and the key is free', async () => {
      const script = play({ waits: [1] });
      const request = to('pipeline-tx');
      await hangUp(request);
      script.open(1);
      const answer = await settled(request);
      expect([answer.status, isReplay(answer), script.calls, await rowsOf(request)]).toEqual([201, false, 2, 1]);
    });
  });
});
