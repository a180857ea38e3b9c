import { randomBytes, randomUUID } from 'node:crypto';
import { IdempotencyRecord, IdempotencyService, IdempotencyStep } from '../../lib/index.js';
import { createDatabase, type TestDatabase } from '../support/database.js';
import { StoredDataController } from './support/stored-data.controller.js';
import { type AppSettings, PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, comparable, countRuns, isReplay } from './support/cases.js';
import { type RawRequest, send } from './support/raw-http.js';

const controllers = [StoredDataController];

interface StoredRequest {
  readonly method: string;
  readonly path: string;
  readonly body?: Record<string, unknown>;
}

describe.each(PLATFORMS)('at rest, on %s', (platform) => {
  let database: TestDatabase;
  let app: RunningApp;

  beforeEach(async () => {
    database = await createDatabase('better-sqlite3');
  });
  afterEach(async () => {
    await app?.close();
    await database.drop();
  });

  const start = async (options: AppSettings['options'] = {}) => {
    app = await startApp(platform, { controllers, database, options });
  };
  const restart = async (options: AppSettings['options']) => {
    await app.close();
    await start(options);
  };
  const post = (path: string, request: Partial<RawRequest> = {}) =>
    send(app.port, { path: `/stored-data/${path}`, ...request });
  const records = () => app.dataSource.getRepository(IdempotencyRecord).find();
  /** All that is in the database file, as text. */
  const contents = async () => {
    const rows = (await app.dataSource.query('SELECT * FROM idempotency_record')) as Record<string, unknown>[];
    return rows
      .flatMap((row) =>
        Object.values(row).map((value) =>
          value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value),
        ),
      )
      .join('\n');
  };
  const requestOf = (record: IdempotencyRecord) =>
    record.request && (JSON.parse(Buffer.from(record.request).toString()) as StoredRequest);

  test('credentials and cookies are not stored, of requests and of responses', async () => {
    await start();
    const headers = {
      Authorization: 'Bearer secret-token',
      Cookie: 'sid=secret-cookie',
      'Proxy-Authorization': 'secret-proxy',
    };
    const key = randomUUID();
    expect((await post('headers', { key, headers, body: { a: 1 } })).status).toBe(201);
    const text = await contents();
    expect(text).not.toMatch(/secret/);
    expect(text).toMatch(/X-Public|x-public/);
    expect(text).toContain('"body":{"a":1}');
  });

  test('the key is not stored', async () => {
    await start();
    const key = `key-${randomUUID()}`;
    await post('echo', { key, body: { a: 1 } });
    const text = await contents();
    expect(text).not.toContain(key);
    expect(text).not.toContain(Buffer.from(key).toString('base64'));
    expect(text).not.toContain(Buffer.from(key).toString('hex'));
  });

  test('the digest of a credential cannot be had from the record without the credential', async () => {
    await start();
    await post('echo', { key: randomUUID(), headers: { Authorization: 'Bearer a' } });
    const [{ binding }] = await records();
    expect(Buffer.from(binding as Uint8Array).length).toBe(16);
  });

  test('request.redact: what is never kept, and still counts', async () => {
    await start({ request: { redact: ['/card/number', '/pin', '/list/0', '/not/there'] } });
    const key = randomUUID();
    const body = { card: { number: '4111', name: 'Ann' }, pin: 1234, list: ['first', 'second'] };
    await post('echo', { key, body });
    const [record] = await records();
    expect(requestOf(record)?.body).toEqual({
      card: { number: '[redacted]', name: 'Ann' },
      pin: '[redacted]',
      list: ['[redacted]', 'second'],
    });
    expect(isReplay(await post('echo', { key, body }))).toBe(true);
    expect(codeOf(await post('echo', { key, body: { ...body, pin: 1 } }))).toBe('key-reused');
  });

  test('request.store: false', async () => {
    await start({ request: { store: false } });
    await post('echo', { key: randomUUID(), body: { a: 1 } });
    expect((await records()).map(requestOf)).toEqual([null]);
  });

  test('request.maxBytes: a larger request is not kept, and still counts', async () => {
    await start({ request: { maxBytes: 200 } });
    const key = randomUUID();
    const text = 'ü'.repeat(100);
    expect((await post('echo', { key, body: { text } })).status).toBe(201);
    expect((await records()).map(requestOf)).toEqual([null]);
    expect(codeOf(await post('echo', { key, body: { text: `${text}!` } }))).toBe('key-reused');
    expect(isReplay(await post('echo', { key, body: { text } }))).toBe(true);
  });

  test('response.maxBytes: a larger response is not kept', async () => {
    await start({ response: { maxBytes: 999 } });
    const key = randomUUID();
    expect((await post('text', { key })).body.toString()).toBe('y'.repeat(1_000));
    expect(await contents()).not.toContain('yyyy');
    expect(codeOf(await post('text', { key }))).toBe('replay-unavailable');
    expect((await post('echo', { key })).status).toBe(201);
    expect(isReplay(await post('echo', { key }))).toBe(true);
  });

  test('a text of a client forges no line of the log', async () => {
    await start();
    const body = { sku: 'a\r\nERROR [Payments] refunded by admin\x1b[2K' };
    expect((await post('step', { key: randomUUID(), body })).status).toBe(201);
    const [line] = app.log.lines.filter((one) => one.includes('could not be kept'));
    expect(line).toContain('step "ship a\\u{d}\\u{a}ERROR [Payments] refunded by admin\\u{1b}[2K"');
    // oxlint-disable-next-line no-control-regex
    expect(line).not.toMatch(/[\n\r\x1b]/);

    const operation = 'import a\nERROR [Payments] refunded by admin';
    await app.app.get(IdempotencyService).run({ key: 'k', operation }, () => new Response('imported'));
    const logged = app.log.lines.find((one) => one.includes('the answer cannot be kept'));
    expect(logged).toContain('ERROR import a\\u{a}ERROR [Payments] refunded by admin: the answer');
  });

  describe('encryption', () => {
    const [old, current] = [randomBytes(32), randomBytes(32)];
    const sealedBy = (keys: Record<string, Buffer>, id: string) => ({ encryption: { keys, current: id } });

    test('nothing of request and response is to be read', async () => {
      await start(sealedBy({ current }, 'current'));
      const key = randomUUID();
      const first = await post('echo', { key, body: { card: '4111-1111' } });
      const text = await contents();
      expect(text).not.toMatch(/4111-1111|the answer|content-type/i);
      const second = await post('echo', { key, body: { card: '4111-1111' } });
      expect([isReplay(second), comparable(second)]).toEqual([true, comparable(first)]);
    });

    test('keys are rotated: old records are still read, new ones have the new key', async () => {
      await start(sealedBy({ old }, 'old'));
      const key = randomUUID();
      const first = await post('echo', { key });
      await restart(sealedBy({ old, current }, 'current'));
      const second = await post('echo', { key });
      expect([isReplay(second), comparable(second)]).toEqual([true, comparable(first)]);
      await post('echo', { key: randomUUID() });
      const ids = (await records()).map(({ responseBody }) =>
        Buffer.from(responseBody as Uint8Array)
          .subarray(2, 5)
          .toString(),
      );
      expect(ids.sort()).toEqual(['cur', 'old']);
    });

    /** A record that cannot be opened is refused, reveals nothing, and the operation does not run. */
    const refused = async (key: string) => {
      const before = countRuns();
      const answer = await post('echo', { key });
      expect([answer.status, codeOf(answer), isReplay(answer)]).toEqual([500, 'record-unreadable', false]);
      expect(answer.body.toString()).not.toMatch(/the answer|unknown|key "|auth/i);
      expect(countRuns()).toBe(before);
      expect(app.log.toString()).toMatch(/ERROR POST \/stored-data\/echo/);
    };

    test('a key that is gone', async () => {
      await start(sealedBy({ old }, 'old'));
      const key = randomUUID();
      await post('echo', { key });
      await restart(sealedBy({ current }, 'current'));
      await refused(key);
    });

    test('encryption that is new: what was stored in clear is not taken for sealed', async () => {
      await start();
      const key = randomUUID();
      await post('echo', { key });
      await restart(sealedBy({ current }, 'current'));
      await refused(key);
    });

    test.each(['responseBody', 'responseHead'] as const)('a record that was tampered with: %s', async (column) => {
      await start(sealedBy({ current }, 'current'));
      const key = randomUUID();
      await post('echo', { key });
      const [record] = await records();
      const bytes = Buffer.from(record[column] as Uint8Array);
      bytes[bytes.length - 1] ^= 1;
      await app.dataSource.getRepository(IdempotencyRecord).update(record.id, { [column]: bytes } as never);
      await refused(key);
    });

    /** What is not there cannot be opened: a failure became a success, which every retry got. */
    test.each([
      ['body', { responseBody: null }],
      ['head', { responseHead: null }],
      ['head and body, with another status', { responseCode: 200, responseHead: null, responseBody: null }],
    ])('a record whose %s was taken away', async (_, changes) => {
      await start(sealedBy({ current }, 'current'));
      const key = randomUUID();
      await post('echo', { key });
      const [record] = await records();
      await app.dataSource.getRepository(IdempotencyRecord).update(record.id, changes as never);
      await refused(key);
    });

    test('a record that was handed to another caller', async () => {
      await start(sealedBy({ current }, 'current'));
      const key = randomUUID();
      await post('echo', { key, headers: { Authorization: 'Bearer a' } });
      const [record] = await records();
      await app.dataSource.getRepository(IdempotencyRecord).update(record.id, { binding: null });
      await refused(key);
    });

    test('what an operator has found out is for the caller of the record', async () => {
      await start(sealedBy({ current }, 'current'));
      const request = { key: randomUUID(), headers: { Authorization: 'Bearer a' } };
      await post('echo', request);
      const [{ id }] = await records();
      const held = { status: 'held', responseCode: null, responseHead: null, responseBody: null } as const;
      await app.dataSource.getRepository(IdempotencyRecord).update(id, held);
      expect(await app.app.get(IdempotencyService).resolve(id, { status: 201, body: 'found' })).toBe(true);
      const answer = await post('echo', request);
      expect([answer.status, isReplay(answer), answer.body.toString()]).toEqual([201, true, 'found']);
    });

    /** Its result is undefined, which would be nothing to open: a retry said that it had charged. */
    test('a step that someone else has recorded', async () => {
      await start(sealedBy({ current }, 'current'));
      const request = { key: randomUUID(), body: { fails: 'before' } };
      expect((await post('charge', request)).status).toBe(500);
      const [{ id, token }] = await records();
      const step = {
        recordId: id,
        name: 'charge',
        status: 'done',
        token,
        result: null,
        updatedAt: new Date(),
      } as const;
      await app.dataSource.getRepository(IdempotencyStep).insert(step);
      const before = countRuns();
      expect(codeOf(await post('charge', request))).toBe('record-unreadable');
      expect(countRuns()).toBe(before);
    });

    test('a step without a result is done, and does not run again', async () => {
      await start(sealedBy({ current }, 'current'));
      const request = { key: randomUUID(), body: { fails: 'after' } };
      const before = countRuns();
      expect((await post('charge', request)).status).toBe(500);
      expect((await post('charge', request)).body.toString()).toBe('{"paid":true}');
      expect(countRuns() - before).toBe(1);
    });

    test('records that were swapped', async () => {
      await start(sealedBy({ current }, 'current'));
      const keys = [randomUUID(), randomUUID()];
      for (const key of keys) await post('echo', { key });
      const repository = app.dataSource.getRepository(IdempotencyRecord);
      const [a, b] = await records();
      const part = ({ responseBody, responseHead }: IdempotencyRecord) => ({ responseBody, responseHead }) as never;
      await repository.update(a.id, part(b));
      await repository.update(b.id, part(a));
      for (const key of keys) await refused(key);
    });
  });
});
