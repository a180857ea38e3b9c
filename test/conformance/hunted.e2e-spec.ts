import { randomUUID } from 'node:crypto';
import { TypeOrmModule } from '@nestjs/typeorm';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, comparable, isReplay } from './support/cases.js';
import { Row, Script, stage } from './support/handler-calls.controller.js';
import { HuntedController } from './support/hunted.controller.js';
import { type RawAnswer, type RawRequest, send } from './support/raw-http.js';

/** What applications of other teams do around a handler. */
describe.each(PLATFORMS)('around a handler, on %s', (platform) => {
  let app: RunningApp;
  beforeAll(async () => {
    app = await startApp(platform, { controllers: [HuntedController], imports: [TypeOrmModule.forFeature([Row])] });
  });
  afterAll(() => app?.close());

  const to = (path: string): RawRequest & { key: string } => ({ path: `/hunted/${path}`, key: randomUUID(), body: {} });
  const ask = (request: RawRequest) => send(app.port, request);
  const rowsOf = ({ key }: { key: string }) => app.dataSource.getRepository(Row).countBy({ key });
  const play = (settings?: ConstructorParameters<typeof Script>[0]) => (stage.script = new Script(settings));

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
        expect(app.log.toString()).toContain(`POST /hunted/outcome-${kind}: the option \`outcome\` failed`);
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
});
