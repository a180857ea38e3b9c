import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Controller, Post } from '@nestjs/common';
import { type Execution, Idempotent, IdempotentExecution, IdempotencyService } from '../../lib/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { until } from '../support/until.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { isReplay } from './support/cases.js';
import { late } from './support/late.js';
import { send } from './support/raw-http.js';

const runs = new Map<string, number>();

/** The answers that wait in the middleware, by the status that they are to have. */
const answers = new Map<string, () => void>();

/** As connect-timeout, and as middleware that acknowledges a webhook before it is handled. */
function answerEarly({ headers }: IncomingMessage, response: ServerResponse, next: () => void): void {
  const status = headers['x-answered-early'];
  if (typeof status === 'string') {
    answers.set(status, () => {
      response.statusCode = Number(status);
      response.setHeader('Content-Type', 'application/json');
      response.end('{"message":"early"}');
    });
  }
  next();
}

@Controller('early')
class EarlyController {
  @Post('transactional')
  @Idempotent({ transactional: true })
  transactional(@IdempotentExecution() execution: Execution) {
    return this.run(execution);
  }

  @Post('waiting')
  @Idempotent({ onConflict: 'wait', outcome: () => 'release' })
  waiting(@IdempotentExecution() execution: Execution) {
    return this.run(execution);
  }

  private async run({ key }: Execution) {
    runs.set(key, (runs.get(key) ?? 0) + 1);
    await late.run();
    return { ok: true };
  }
}

describe.each(PLATFORMS)('a request that is answered while it waits, on %s', (platform) => {
  let database: TestDatabase;
  let app: RunningApp;
  const rejections: unknown[] = [];
  const note = (reason: unknown) => void rejections.push(reason);

  beforeAll(async () => {
    process.on('unhandledRejection', note);
    const made = (database = await createDatabase('postgres'));
    app = await startApp(platform, {
      // Its only connection is held by the transaction of one handler.
      database: { ...made, options: { ...made.options, extra: { max: 1 } } as never },
      controllers: [EarlyController],
      configure: (nest) => void nest.use(answerEarly),
    });
  });
  afterAll(async () => {
    process.off('unhandledRejection', note);
    await app?.close();
    await database?.drop();
  });
  beforeEach(() => {
    late.hold();
    answers.clear();
    events.length = 0;
  });
  afterEach(() => late.release());

  const post = (path: string, key: string, status?: number) =>
    send(app.port, {
      path: `/early/${path}`,
      key,
      body: {},
      headers: status ? { 'X-Answered-Early': `${status}` } : {},
    });
  const events: string[] = [];
  const count = (type: string) => events.filter((one) => one === type).length;
  beforeAll(() => void app.app.get(IdempotencyService).events$.subscribe(({ type }) => events.push(type)));

  // Its end was taken for that of a handler that had not begun: the process died of the unhandled rejection, or, where it goes on at one,
  // the transaction stayed open, and kept its connection.
  test('refused while its transaction waits for a connection: it never begins', async () => {
    const [holding, key] = [randomUUID(), randomUUID()];
    const holder = post('transactional', holding);
    await until(() => late.running === 1);
    const refused = post('transactional', key, 503);
    await until(() => count('claimed') === 2);
    answers.get('503')!();
    expect((await refused).status).toBe(503);
    await until(() => count('released') === 1);
    late.release();
    expect((await holder).status).toBe(201);
    const retry = await post('transactional', key);
    expect([retry.status, isReplay(retry), runs.get(key)]).toEqual([201, false, 1]);
    expect(isReplay(await post('transactional', key))).toBe(true);
    expect(rejections).toEqual([]);
  });

  const duplicate = async (status: number) => {
    const key = randomUUID();
    const first = post('waiting', key);
    await until(() => late.running === 1);
    const second = post('waiting', key, status);
    await until(() => answers.has(`${status}`));
    answers.get(`${status}`)!();
    expect((await second).status).toBe(status);
    late.release();
    expect((await first).status).toBe(201);
    await until(() => count('claimed') === 2 && count('released') + count('completed') === 2);
    return key;
  };

  test('refused while it waits for a duplicate: it does not begin when the key is free', async () => {
    const key = await duplicate(503);
    expect(runs.get(key)).toBe(1);
    expect((await post('waiting', key)).status).toBe(201);
    expect([runs.get(key), rejections]).toEqual([2, []]);
  });

  test('acknowledged by middleware while it waits for a duplicate: it runs', async () => {
    const key = await duplicate(202);
    expect([runs.get(key), rejections]).toEqual([2, []]);
  });
});
