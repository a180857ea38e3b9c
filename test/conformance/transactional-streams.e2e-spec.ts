import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { Controller, Post, Res, StreamableFile } from '@nestjs/common';
import { type Execution, Idempotent, IdempotentExecution } from '../../lib/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { until } from '../support/until.js';
import { PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, isReplay } from './support/cases.js';
import { encode, RawConnection, send } from './support/raw-http.js';

const LINES = 40;
/** Less than what the handlers write. */
const LIMITED = { transactional: true, response: { maxBytes: 1_000 } } as const;
const TYPE = { type: 'text/csv' };

const runs = new Map<string, number>();

/** Writes a row for each line, in the operation's transaction, while the response is read. */
async function* imported({ manager, key }: Execution, lines = LINES) {
  runs.set(key, (runs.get(key) ?? 0) + 1);
  for (let line = 0; line < lines; line++) {
    await manager.query('INSERT INTO imported VALUES ($1, $2)', [key, line]);
    yield `${line};${'x'.repeat(100)}\n`;
  }
}

async function* brokenOff(execution: Execution) {
  yield* imported(execution);
  await execution.manager.query('SELECT 1 / (count(*) - count(*)) FROM imported');
}

async function* failing(key: string, lines: number) {
  runs.set(key, (runs.get(key) ?? 0) + 1);
  for (let line = 0; line < lines; line++) yield await Promise.resolve(`${line};${'x'.repeat(100)}\n`);
  throw new Error(`after ${lines} lines`);
}

interface RawResponse extends NodeJS.WritableStream {
  readonly raw?: RawResponse;
  hijack?(): void;
}

@Controller('imports')
class ImportsController {
  @Post('whole')
  @Idempotent({ transactional: true })
  whole(@IdempotentExecution() execution: Execution) {
    return new StreamableFile(Readable.from(imported(execution)), TYPE);
  }

  @Post('large')
  @Idempotent(LIMITED)
  large(@IdempotentExecution() execution: Execution) {
    return new StreamableFile(Readable.from(imported(execution)), TYPE);
  }

  @Post('broken')
  @Idempotent({ transactional: true })
  broken(@IdempotentExecution() execution: Execution) {
    return new StreamableFile(Readable.from(brokenOff(execution)), TYPE);
  }

  @Post('failing')
  @Idempotent(LIMITED)
  failing(@IdempotentExecution() execution: Execution) {
    return new StreamableFile(Readable.from(brokenOff(execution)), TYPE);
  }

  @Post('refused')
  @Idempotent(LIMITED)
  async refused(@IdempotentExecution() execution: Execution) {
    await execution.manager.query('INSERT INTO imported VALUES ($1, 0)', [execution.key]);
    return new StreamableFile(Readable.from(imported(execution)), TYPE);
  }

  @Post('at-once')
  @Idempotent({ transactional: true })
  async atOnceInTransaction(@IdempotentExecution() execution: Execution) {
    await execution.manager.query('INSERT INTO imported VALUES ($1, 0)', [execution.key]);
    return new StreamableFile(Readable.from(failing(execution.key, 0)), TYPE);
  }

  @Post('native')
  @Idempotent(LIMITED)
  async native(@IdempotentExecution() execution: Execution, @Res() reply: RawResponse) {
    reply.hijack?.();
    const response = reply.raw ?? reply;
    for await (const line of imported(execution)) response.write(line);
    response.end();
    throw new Error('after the last byte');
  }
}

describe.each(PLATFORMS)('streams whose work is in a transaction, on %s', (platform) => {
  let app: RunningApp;
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createDatabase('postgres');
    app = await startApp(platform, { database, controllers: [ImportsController] });
    await app.dataSource.query(
      'CREATE TABLE imported (key text, line int, UNIQUE (key, line) DEFERRABLE INITIALLY DEFERRED)',
    );
  });
  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  const rows = async (key: string) =>
    (await app.dataSource.query('SELECT line FROM imported WHERE key = $1', [key])).length as number;

  test.each(['whole', 'large'])('%s: every row, once', async (path) => {
    const request = { path: `/imports/${path}`, key: randomUUID() };
    const first = await send(app.port, request);
    expect([first.status, first.body.toString().split('\n')]).toEqual([201, expect.any(Array)]);
    expect(first.body.toString().split('\n')).toHaveLength(LINES + 1);
    const again = await send(app.port, request);
    if (path === 'whole') expect([isReplay(again), again.body]).toEqual([true, first.body]);
    else expect([again.status, codeOf(again)]).toEqual([409, 'replay-unavailable']);
    expect([await rows(request.key), runs.get(request.key)]).toEqual([LINES, 1]);
  });

  test.each(['broken', 'failing', 'refused', 'native'])('%s: no row, and no end of the response', async (path) => {
    const request = { path: `/imports/${path}`, key: randomUUID() };
    await expect(send(app.port, request)).rejects.toThrow('the connection was closed');
    expect(await rows(request.key)).toBe(0);
    // Where nothing was sent, the run waits for a moment whether there will be a response.
    await until(async () => {
      const code = await send(app.port, request).then(codeOf, () => 'closed');
      expect(['in-progress', 'closed']).toContain(code);
      return code === 'closed';
    });
    expect([await rows(request.key), runs.get(request.key)]).toEqual([0, 2]);
  });

  test('a failure before the first byte rolls back what the handler wrote', async () => {
    const request = { path: '/imports/at-once', key: randomUUID() };
    const answers = [await send(app.port, request), await send(app.port, request)];
    expect(answers.map(({ status }) => status)).toEqual(platform === 'express' ? [400, 400] : [500, 500]);
    expect(runs.get(request.key)).toBe(platform === 'express' ? 1 : 2);
    expect(await rows(request.key)).toBe(0);
  });

  test.each(['whole', 'large'])('%s, whose client goes away: every row, or none', async (path) => {
    const request = { path: `/imports/${path}`, key: randomUUID() };
    const connection = await RawConnection.open(app.port);
    connection.send(encode(request));
    await until(() => runs.has(request.key));
    connection.close();
    await until(async () => codeOf(await send(app.port, request)) !== 'in-progress');
    expect([0, LINES]).toContain(await rows(request.key));
  });
});
