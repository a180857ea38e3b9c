import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request as send } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CanActivate, ConflictException, Controller, Post, UseGuards } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { type Execution, Idempotent, IdempotencyService, IdempotentExecution } from '../../lib/index.js';
import { call } from '../support/http-client.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { until } from '../support/until.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';

const LINES = 20;
const runs = new Map<string, number>();
const tooLarge = { maxBytes: 100 };
const INSERT = 'INSERT INTO generated_line VALUES ($1, $2)';

const entered = new EventEmitter();

/** Lets a request go on once its client has gone. */
const departure: CanActivate = {
  canActivate: async (context) => {
    const { headers, raw, socket } = context.switchToHttp().getRequest<IncomingMessage & { raw?: IncomingMessage }>();
    if (!headers['x-leaves']) return true;
    entered.emit('request');
    await once(raw?.socket ?? socket, 'close');
    return true;
  },
};

@Controller('generators')
@UseGuards(departure)
class GeneratorsController {
  constructor(
    private readonly idempotency: IdempotencyService,
    private readonly dataSource: DataSource,
  ) {}

  @Post('whole')
  @Idempotent()
  whole(@IdempotentExecution() execution: Execution) {
    return this.lines(execution);
  }

  @Post('transactional')
  @Idempotent({ transactional: true })
  inTransaction(@IdempotentExecution() execution: Execution) {
    return this.lines(execution, execution.manager);
  }

  @Post('large')
  @Idempotent({ transactional: true, response: tooLarge })
  async large(@IdempotentExecution() execution: Execution) {
    await sleep(1);
    return this.lines(execution, execution.manager);
  }

  @Post('iterable')
  @Idempotent({ transactional: true })
  iterable(@IdempotentExecution() execution: Execution) {
    const { manager } = execution;
    return { [Symbol.asyncIterator]: () => this.lines(execution, manager) };
  }

  @Post('large-plain')
  @Idempotent({ response: tooLarge })
  largePlain(@IdempotentExecution() execution: Execution) {
    return this.lines(execution);
  }

  @Post('streamed')
  @Idempotent({ response: { stream: true } })
  streamed(@IdempotentExecution() execution: Execution) {
    return this.lines(execution);
  }

  @Post('refused')
  @Idempotent({ transactional: true })
  async *refused(@IdempotentExecution() execution: Execution) {
    this.begin(execution);
    await execution.manager.query(INSERT, [execution.key, 0]);
    if (execution.key) throw new ConflictException('sold out');
    yield 'never';
  }

  @Post('broken-at-once')
  @Idempotent()
  async *brokenAtOnce(@IdempotentExecution() execution: Execution) {
    this.begin(execution);
    await sleep(1);
    if (execution.key) throw new Error('the provider is down');
    yield 'never';
  }

  @Post('broken')
  @Idempotent({ transactional: true })
  broken(@IdempotentExecution() execution: Execution) {
    return this.lines(execution, execution.manager, 5);
  }

  @Post('broken-large')
  @Idempotent({ transactional: true, response: tooLarge })
  brokenLarge(@IdempotentExecution() execution: Execution) {
    return this.lines(execution, execution.manager, 15);
  }

  private begin({ key }: Execution): void {
    if (this.idempotency.currentExecution()?.key !== key) throw new Error('not in its execution');
    runs.set(key, (runs.get(key) ?? 0) + 1);
  }

  private async *lines(execution: Execution, on: Pick<DataSource, 'query'> = this.dataSource, failsAt = Infinity) {
    this.begin(execution);
    for (let line = 0; line < LINES; line++) {
      await on.query(INSERT, [execution.key, line]);
      if (line === failsAt) throw new Error('the connection to the provider is lost');
      yield { line };
      await sleep(1);
    }
  }
}

/** Nest 12 sends what the generator of a handler yields. Its work happens while it is sent. */
describe.each(PLATFORMS)('handlers that are generators, on %s', (platform) => {
  let app: RunningApp;
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createDatabase('postgres');
    app = await startApp(platform, { database, controllers: [GeneratorsController], options: { lease: '1s' } });
    await app.dataSource.query('CREATE TABLE generated_line (key text, line int)');
  });
  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  const post = (path: string, key: string) => call(`http://127.0.0.1:${app.port}/generators/${path}`, { key });
  const codeOf = (body: string) => (JSON.parse(body) as { code: string }).code;
  const rows = async (key: string) =>
    (await app.dataSource.query('SELECT line FROM generated_line WHERE key = $1', [key])).length as number;

  test.each(['whole', 'transactional', 'iterable', 'large', 'large-plain', 'streamed'])(
    '%s: every line, once',
    async (path) => {
      const key = randomUUID();
      const first = await post(path, key);
      expect(first.status).toBe(201);
      expect(first.body.split('\n')).toHaveLength(LINES + 1);
      if (['whole', 'transactional', 'iterable'].includes(path))
        expect(await post(path, key)).toMatchObject({ status: 201, body: first.body });
      // A response that is too large is recorded after it was sent.
      else await until(async () => codeOf((await post(path, key)).body) === 'replay-unavailable');
      expect([await rows(key), runs.get(key)]).toEqual([LINES, 1]);
    },
  );

  test('an error before the first chunk is the outcome, or frees the key, as that of any handler', async () => {
    const refused = randomUUID();
    const first = await post('refused', refused);
    expect(first).toMatchObject({ status: 409, body: expect.stringContaining('sold out') as string });
    expect(await post('refused', refused)).toMatchObject({ status: 409, body: first.body });
    expect([await rows(refused), runs.get(refused)]).toEqual([0, 1]);

    const broken = randomUUID();
    expect((await post('broken-at-once', broken)).status).toBe(500);
    expect((await post('broken-at-once', broken)).status).toBe(500);
    expect(runs.get(broken)).toBe(2);
  });

  test.each(['broken', 'broken-large'])('%s: what was written is rolled back, and the key is free', async (path) => {
    const key = randomUUID();
    const attempt = () =>
      post(path, key).then(
        ({ status }) => status,
        () => 'no end',
      );
    const first = await attempt();
    expect([500, 'no end']).toContain(first);
    await until(async () => (await attempt()) === first && runs.get(key) === 2);
    expect(await rows(key)).toBe(0);
  });

  function request(path: string, key: string, more = {}): ClientRequest {
    const headers = { 'Idempotency-Key': key, 'Content-Type': 'application/json', ...more };
    const sent = send({ port: app.port, path: `/generators/${path}`, method: 'POST', headers });
    return sent.on('error', () => undefined).end('{}');
  }

  /** Sends a request whose client is gone before its handler begins. */
  async function leaveInGuard(path: string, key: string): Promise<void> {
    const sent = request(path, key, { 'x-leaves': 'true' });
    await once(entered, 'request');
    sent.destroy();
    await until(() => runs.has(key));
  }

  async function expectOneRun(path: string, key: string): Promise<void> {
    let answer: string;
    await until(async () => (answer = (await post(path, key)).body) && !answer.includes('in-progress'));
    expect([codeOf(answer!), await rows(key), runs.get(key)]).toEqual(['replay-unavailable', LINES, 1]);
  }

  test.each(['large-plain', 'streamed'])('%s: a client that goes away does not end it half way', async (path) => {
    const key = randomUUID();
    const sent = request(path, key);
    sent.on('response', (response) => response.once('data', () => sent.destroy()));
    await until(() => sent.destroyed);
    await expectOneRun(path, key);
  });

  // No filter is asked for a response to the error then. It ran again at each retry.
  test('an error before the first chunk, after the client has gone, is the outcome all the same', async () => {
    const key = randomUUID();
    await leaveInGuard('refused', key);
    let answer!: string;
    await until(async () => (answer = (await post('refused', key)).body) && !answer.includes('in-progress'));
    expect(JSON.parse(answer)).toMatchObject({
      code: 'replay-unavailable',
      detail: expect.stringContaining('failed') as string,
    });
    expect([await rows(key), runs.get(key)]).toEqual([0, 1]);
  });

  test('a failure after the client has gone frees the key', async () => {
    const key = randomUUID();
    await leaveInGuard('broken-at-once', key);
    await until(async () => (await post('broken-at-once', key)).status === 500);
    expect(runs.get(key)).toBe(2);
  });

  test.each(['whole', 'transactional', 'iterable', 'large', 'large-plain', 'streamed'])(
    '%s: a client that has gone away before it begins',
    async (path) => {
      const key = randomUUID();
      await leaveInGuard(path, key);
      await expectOneRun(path, key);
    },
  );
});
