import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Controller, Post, Res, type Type } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution } from '../../lib/index.js';
import { until } from '../support/until.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, comparable, isReplay } from './support/cases.js';
import { type RawAnswer, RawConnection, send } from './support/raw-http.js';

/** What the handler of the next requests returns. */
let respond: () => Response;
/** Whether it waits until its client has gone. */
let waits = false;
let begun = 0;

function controllerOf(path: string, transactional: boolean): Type {
  @Controller(path)
  class WebResponsesController {
    constructor(private readonly dataSource: DataSource) {}

    @Post()
    @Idempotent({ transactional, response: { maxBytes: 1_000 } })
    async pay(
      @IdempotentExecution() execution: Execution,
      @Res({ passthrough: true }) response: { raw?: ServerResponse },
    ) {
      const on = transactional ? execution.manager : this.dataSource;
      await on.query('INSERT INTO web_response VALUES (?)', [execution.key]);
      begun++;
      if (waits) await once(response.raw ?? (response as ServerResponse), 'close');
      return respond();
    }
  }
  return WebResponsesController;
}

/** Nest 12 sends a Response as it is, and reads nothing of one whose client has gone. */
describe.each(PLATFORMS)('a handler that returns a web Response, on %s', (platform) => {
  let app: RunningApp;

  beforeAll(async () => {
    app = await startApp(platform, {
      controllers: [controllerOf('plain', false), controllerOf('transactional', true)],
    });
    await app.dataSource.query('CREATE TABLE web_response (key text)');
  });
  afterAll(() => app?.close());
  beforeEach(() => (waits = false));

  const rows = async (key: string) =>
    (await app.dataSource.query<unknown[]>('SELECT key FROM web_response WHERE key = ?', [key])).length;

  /** Sends a request whose client goes away while its handler runs, and returns what its retry gets. */
  async function retryOfGone(path: string, key: string): Promise<RawAnswer> {
    const connection = await RawConnection.open(app.port);
    const before = begun;
    waits = true;
    connection.send({ path, key });
    await until(() => begun > before);
    waits = false;
    connection.close();
    let retried: RawAnswer | undefined;
    // Well before the lease is over.
    await until(async () => {
      retried = await send(app.port, { path, key });
      return codeOf(retried) !== 'in-progress';
    }, 5_000);
    return retried!;
  }

  const receipt = () => Response.json({ paid: 5 }, { status: 202, headers: { 'X-Receipt': 'r1' } });

  test.each(['/plain', '/transactional'])('%s: a client that goes away gets it by its retry', async (path) => {
    respond = receipt;
    const key = randomUUID();
    const usual = await send(app.port, { path, key: randomUUID() });
    const retried = await retryOfGone(path, key);
    expect(comparable(usual).body).toBe('{"paid":5}');
    expect(comparable(retried)).toEqual({
      ...comparable(usual),
      head: expect.arrayContaining(comparable(usual).head.filter((line) => !/^content-length/i.test(line))) as string[],
    });
    expect([isReplay(retried), await rows(key)]).toEqual([true, 1]);
  });

  test.each([
    ['/plain', 2],
    ['/transactional', 1],
  ])('%s: one that says that it failed frees the key, whether its client is there or not', async (path, effects) => {
    const key = randomUUID();
    respond = () => {
      respond = receipt;
      return Response.json({ error: 'busy' }, { status: 503 });
    };
    const retried = await retryOfGone(path, key);
    expect([retried.status, isReplay(retried), await rows(key)]).toEqual([202, false, effects]);
  });

  test('a refusal is an outcome', async () => {
    const key = randomUUID();
    respond = () => Response.json({ error: 'declined' }, { status: 402 });
    const retried = await retryOfGone('/plain', key);
    expect([retried.status, isReplay(retried), await rows(key)]).toEqual([402, true, 1]);
  });

  test('one that is too large to keep, or breaks off, is done, and read no further', async () => {
    let read = 0;
    const endless = () =>
      new ReadableStream(
        { pull: (controller) => (read++, controller.enqueue(new Uint8Array(600))) },
        { highWaterMark: 0 },
      );
    const broken = () => new ReadableStream({ start: (controller) => controller.error(new Error('broken')) });
    for (const body of [endless, broken]) {
      const key = randomUUID();
      respond = () => new Response(body());
      expect([codeOf(await retryOfGone('/plain', key)), await rows(key)]).toEqual(['replay-unavailable', 1]);
    }
    expect(read).toBeLessThan(10);
  });
});
