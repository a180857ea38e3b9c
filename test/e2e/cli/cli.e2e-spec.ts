import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { jest } from '@jest/globals';
import { DataSource } from 'typeorm';
import { IdempotencyRecord, type IdempotencyService } from '../../../lib/index.js';
import { packHead } from '../../../lib/edges/content/response-head.js';
import { packAnswer } from '../../../lib/edges/content/value-outcome.js';
import { digestIdentity } from '../../../lib/engine/identity.js';
import type { Claim } from '../../../lib/engine/ports/record-store.js';
import { serviceOn } from '../../../lib/cli/database/connection.js';
import { AesGcmSealer, noSealer } from '../../../lib/store/sealer.js';
import { IDEMPOTENCY_MIGRATIONS } from '../../../lib/store/migrations/index.js';
import { createDatabase } from '../../support/database.js';
import { aClaim, again, StoreFixture, HOUR, BACKENDS, ownership } from '../store/support.js';
import { cli, cliHere, type Ended, installWithout, urlOf } from './support.js';

const FINE = 0;
const REFUSED = 1;
const USAGE = 2;
const UNREACHABLE = 3;
const DATABASE = 4;

const KEYS = { '2026-05': randomBytes(32), '2026-11': randomBytes(32) };
const KEYS_IN_ENV = {
  IDEMPOTENCY_KEYS: JSON.stringify(
    Object.fromEntries(Object.entries(KEYS).map(([id, key]) => [id, key.toString('base64')])),
  ),
  IDEMPOTENCY_CURRENT_KEY: '2026-11',
};

const REQUEST = Buffer.from('{"method":"POST","path":"/payments","body":{"amount":5}}');
const RESPONSE = {
  code: 201,
  head: packHead({ headers: [['Content-Type', 'application/json']] }),
  body: Buffer.from('{"id":"pay_1"}'),
};

const parsed = <T>({ stdout }: Ended) => JSON.parse(stdout) as T;
type Row = Record<string, unknown>;

// Each call is a process of its own, and a busy machine starts them slowly.
jest.setTimeout(120_000);

describe.each(BACKENDS)('the command line on $name', (backend) => {
  let fixture: StoreFixture;
  let service: IdempotencyService;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backend);
    service = serviceOn(fixture.dataSource, { timeout: '30s' });
  });
  afterAll(() => fixture?.close());
  afterEach(async () => {
    for (const { id } of await service.list({ limit: 1_000 })) await service.forget(id);
  });

  const withUrl = (env: Record<string, string>) => ({ DATABASE_URL: urlOf(fixture.options), ...env });
  const run = (args: string[], env: Record<string, string> = {}) => cliHere(args, withUrl(env));
  /** As a process of its own. */
  const start = (args: string[], input?: string | Uint8Array) => cli(args, { env: withUrl({}), input });

  const sealed = () => fixture.store({ sealer: new AesGcmSealer({ keys: KEYS, current: '2026-05' }) });

  async function record(
    end: 'run' | 'complete' | 'release' | 'hold',
    terms: Partial<Claim> = {},
    store = fixture.store(),
  ) {
    const claim = aClaim({ request: REQUEST, ...terms });
    const owned = ownership(await store.claim(claim));
    if (end === 'complete') await store.complete(owned, { outcome: RESPONSE, retentionMs: 24 * HOUR });
    if (end === 'release') await store.release(owned, 86_400_000);
    if (end === 'hold') await store.hold(owned);
    return { ...owned, claim };
  }

  async function abandoned() {
    const one = await record('run', { holdOnCrash: true, endpoint: 'POST /faxes' });
    await fixture.expireLease(one.recordId);
    return one;
  }

  test('list: what a request would find, newest first', async () => {
    const done = await record('complete');
    const held = await record('hold', { endpoint: 'POST /orders' });
    const silent = await abandoned();
    const running = await record('run', { holdOnCrash: true });

    const all = await start(['list', '--json']);
    expect(all).toMatchObject({ code: FINE, stderr: '' });
    const statuses = new Map(parsed<Row[]>(all).map(({ recordId, status }) => [recordId, status]));
    expect(statuses).toEqual(
      new Map([
        [running.recordId, 'processing'],
        [silent.recordId, 'held'],
        [held.recordId, 'held'],
        [done.recordId, 'done'],
      ]),
    );
    const ids = async (...args: string[]) =>
      parsed<{ recordId: string }[]>(await run(['list', '--json', ...args])).map(({ recordId }) => recordId);
    expect(new Set(await ids('--held'))).toEqual(new Set([held.recordId, silent.recordId]));
    expect(await ids('--status', 'processing')).toEqual([running.recordId]);
    expect(await ids('--status', 'held', '--endpoint', 'POST /faxes')).toEqual([silent.recordId]);
    expect(await ids('--limit', '2')).toHaveLength(2);
    const [first, ...older] = await ids();
    expect(await ids('--before', first)).toEqual(older);
    expect(await ids('--before', '2020-01-01T00:00:00Z')).toEqual([]);
    expect(await run(['list', '--before', randomUUID()])).toMatchObject({
      code: REFUSED,
      stderr: expect.stringMatching(/^There is no record /) as string,
    });

    const forPeople = await run(['list', '--held']);
    expect(forPeople.code).toBe(FINE);
    const lines = forPeople.stdout.trim().split('\n');
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/^RECORD ID +STATUS +OUTCOME +ATTEMPT +CREATED +EXPIRES +ENDPOINT$/);
    expect(forPeople.stdout).toContain(silent.recordId);
    // oxlint-disable-next-line no-control-regex
    expect(forPeople.stdout).not.toMatch(/\x1b/);

    const none = await run(['list', '--status', 'failed']);
    expect(none).toMatchObject({ code: REFUSED, stdout: '', stderr: 'No records found\n' });
    expect(await run(['list', '--status', 'failed', '--json'])).toMatchObject({ code: REFUSED, stdout: '[]\n' });
  });

  test('show: by id and by key, with steps', async () => {
    const identity = { key: 'k-1', scope: 'user-1', endpoint: 'POST /payments' };
    const store = fixture.store();
    const claim = aClaim({ ...identity, recordId: digestIdentity(identity).recordId, request: REQUEST });
    const owned = ownership(await store.claim(claim));
    await store.steps.begin(owned, 'charge');
    await store.steps.end(owned, 'charge', { status: 'done', result: '{"charge":"ch_1"}' });
    await store.complete(owned, { outcome: RESPONSE, retentionMs: HOUR });

    const byKey = await run(['show', '--key', 'k-1', '--scope', 'user-1', '--endpoint', 'POST /payments', '--json']);
    expect(byKey.code).toBe(FINE);
    expect(parsed(byKey)).toMatchObject({
      recordId: claim.recordId,
      status: 'done',
      request: JSON.parse(REQUEST.toString()) as object,
      responseCode: 201,
      responseHead: { headers: [['Content-Type', 'application/json']] },
      responseBody: '{"id":"pay_1"}',
      steps: [{ name: 'charge', status: 'done', result: { charge: 'ch_1' } }],
    });
    const byId = await run(['show', claim.recordId.toUpperCase()]);
    expect(byId.code).toBe(FINE);
    for (const part of ['POST /payments', 'done', '{"id":"pay_1"}', 'Content-Type: application/json', 'ch_1']) {
      expect(byId.stdout).toContain(part);
    }
    expect(byId.stdout + byKey.stdout).not.toContain('k-1');
    expect(await run(['show', randomUUID()])).toMatchObject({ code: REFUSED, stdout: '' });
    expect(await run(['show', 'k-1'])).toMatchObject({ code: USAGE, stdout: '' });
  });

  test('a released record whose steps have run never expires, and one without steps does', async () => {
    const withStep = await record('run');
    const store = fixture.store();
    await store.steps.end(withStep, 'charge', { status: 'done', result: '1' });
    await store.release(withStep, HOUR);
    const withoutStep = await record('release');

    const { stdout } = await run(['list']);
    const lineOf = (id: string) => stdout.split('\n').find((line) => line.startsWith(id));
    expect(lineOf(withStep.recordId)).toMatch(/ never +POST /);
    expect(lineOf(withoutStep.recordId)).toMatch(/ in \d+\w +POST /);
    expect((await run(['show', withStep.recordId])).stdout).toContain('never: the next attempt needs its steps');
    expect((await run(['show', withoutStep.recordId])).stdout).toMatch(/expires +2\d{3}-.*\(in \d+\w\)/);
  });

  test('show: by key, of a host', async () => {
    const identity = { key: 'k-host', scope: '', endpoint: 'POST /carts' };
    const { recordId } = digestIdentity({ ...identity, host: 'a.example.com' });
    ownership(await fixture.store().claim(aClaim({ ...identity, recordId })));
    const byKey = ['show', '--key', 'k-host', '--endpoint', 'POST /carts', '--json'];
    expect(parsed(await run([...byKey, '--host', 'A.Example.com']))).toMatchObject({ recordId });
    for (const other of [byKey, [...byKey, '--host', 'b.example.com'], ['show', recordId, '--host', 'a.example.com']]) {
      expect((await run(other)).code).not.toBe(FINE);
    }
  });

  test('show: bytes that are no text, and control characters, do not reach the terminal', async () => {
    const store = fixture.store();
    const show = async (body: Buffer) => {
      const { recordId, owner, token } = await record('run');
      await store.complete({ recordId, owner, token }, { outcome: { ...RESPONSE, body }, retentionMs: HOUR });
      return [await run(['show', recordId]), await run(['show', recordId, '--json'])] as const;
    };
    const [binary, binaryJson] = await show(Buffer.from([0xff, 0x00, 0x01]));
    expect(binary.stdout).toContain('base64:/wAB');
    expect(parsed(binaryJson)).toMatchObject({ responseBody: { base64: '/wAB' } });
    const [escape] = await show(Buffer.from('a\x1b[2Jb'));
    expect(escape.stdout).toContain('a\\x1b[2Jb');
  });

  test('show: what others have written commands no terminal, and is shown whatever it is', async () => {
    const store = fixture.store();
    const own = await record('run');
    const { recordId } = own;
    await store.steps.end(own, 'ship \x1b[2J', {
      status: 'done',
      result: '#[[[],"date"]]\n"2026-11-30T00:00:00.000Z"',
    });
    await store.steps.end(own, 'unkept', { status: 'done', result: '!' });
    const head = packHead({ headers: [['Location', '/a\x9b2J']] });
    await store.complete(own, { outcome: { ...RESPONSE, head }, retentionMs: HOUR });
    const deep = `{"method":"POST","path":"/","body":${'['.repeat(20_000)}${']'.repeat(20_000)}}`;
    const rows = fixture.dataSource.getRepository(IdempotencyRecord);
    for (const request of [REQUEST.toString(), deep, '\x01\x04\x1b[2J']) {
      await rows.update(recordId, { request: Buffer.from(request) });
      for (const more of [[], ['--json']]) {
        const { code, stdout, stderr } = await run(['show', recordId, ...more]);
        expect([code, stderr]).toEqual([FINE, '']);
        // oxlint-disable-next-line no-control-regex
        expect(stdout).not.toMatch(/[\x1b\x7f-\x9f]/);
        expect(stdout).toContain('2026-11-30T00:00:00.000Z');
      }
    }
    await rows.update(recordId, { responseHead: Buffer.from('{"headers":7}') });
    expect((await run(['show', recordId])).stdout).toContain('{"headers":7}');
  });

  test('show: sealed content needs its key', async () => {
    const { recordId } = await record('complete', {}, sealed());
    const without = await run(['show', recordId]);
    expect(without.code).toBe(FINE);
    expect(without.stdout).toContain('encrypted with key "2026-05"');
    expect(without.stdout).not.toContain('pay_1');
    const json = parsed<Row>(await run(['show', recordId, '--json']));
    expect(json.responseBody).toEqual({ encrypted: expect.stringContaining('2026-05') as string });
    expect((await run(['show', recordId], KEYS_IN_ENV)).stdout).toContain('{"id":"pay_1"}');
    const wrong = { IDEMPOTENCY_KEYS: JSON.stringify({ '2026-05': randomBytes(32).toString('base64') }) };
    const unreadable = await run(['show', recordId], wrong);
    expect(unreadable).toMatchObject({ code: FINE, stdout: expect.stringContaining('cannot be read') as string });
  });

  test('forget', async () => {
    const { recordId, claim } = await record('complete');
    const forgotten = await run(['forget', recordId, '--json']);
    expect(forgotten).toMatchObject({ code: FINE, stderr: '' });
    expect(parsed(forgotten)).toEqual({ recordId, forgotten: true });
    expect(await run(['forget', recordId, '--json'])).toMatchObject({ code: REFUSED, stderr: '' });
    expect(await run(['forget', recordId])).toMatchObject({ code: REFUSED, stdout: '' });
    expect(await fixture.store().claim(again(claim))).toMatchObject({ status: 'processing', attempt: 1 });
  });

  test.each([
    ['a held record', () => record('hold')],
    ['one whose owner died under hold', abandoned],
  ])('resolve: %s, with a response', async (_, unresolved) => {
    const { recordId, claim } = await unresolved();
    const args = ['resolve', recordId, '--status', '201', '--body', '{"by":"hand"}', '--retention', '48h'];
    expect(await run(args)).toMatchObject({ code: FINE, stderr: '' });
    const recordState = await fixture.store().claim(again(claim));
    expect(recordState).toMatchObject({ status: 'done', outcome: { code: 201, body: Buffer.from('{"by":"hand"}') } });
    expect(JSON.parse(recordState.outcome!.head!.toString())).toEqual({
      headers: [['Content-Type', 'application/json; charset=utf-8']],
    });
    const { completedAt, expiresAt } = (await fixture.record(recordId))!;
    expect(expiresAt.getTime() - completedAt!.getTime()).toBeGreaterThanOrEqual(48 * HOUR - 50);
    const settled = await run(args);
    expect(settled).toMatchObject({ code: REFUSED, stdout: '', stderr: expect.stringContaining('but done') as string });
  });

  test('resolve: body out of a file and out of stdin, with headers', async () => {
    const folder = await mkdtemp(join(process.env.TEST_FOLDER!, 'cli-'));
    await writeFile(join(folder, 'body'), Buffer.from([1, 2, 0xff]));
    const [one, other] = [await record('hold'), await record('hold')];
    const header = ['--header', 'Content-Type: application/pdf\nLocation: /faxes/1'];
    const file = ['--status', '200', '--body-file', join(folder, 'body'), ...header];
    expect((await run(['resolve', one.recordId, ...file])).code).toBe(FINE);
    const { outcome } = await fixture.store().claim(again(one.claim));
    expect(outcome!.body).toEqual(Buffer.from([1, 2, 0xff]));
    expect(JSON.parse(outcome!.head!.toString())).toEqual({
      headers: [
        ['Content-Type', 'application/pdf'],
        ['Location', '/faxes/1'],
      ],
    });
    const stdin = ['resolve', other.recordId, '--status', '200', '--body-file', '-'];
    expect((await start(stdin, Buffer.from([3, 4, 0xfe]))).code).toBe(FINE);
    expect((await fixture.store().claim(again(other.claim))).outcome!.body).toEqual(Buffer.from([3, 4, 0xfe]));
    await rm(folder, { recursive: true });
  });

  test('resolve: a value, and to be run again', async () => {
    const [valued, rerun] = [await record('hold', { endpoint: 'payout' }), await abandoned()];
    const misfit = await run(['resolve', valued.recordId, '--status', '201', '--body', 'sent']);
    expect([misfit.code, misfit.stderr]).toEqual([
      USAGE,
      expect.stringMatching(/^The operation answers with a value: give --value/),
    ]);
    expect((await run(['resolve', valued.recordId, '--value', '{"sent":true}'])).code).toBe(FINE);
    const { outcome } = await fixture.store().claim(again(valued.claim));
    expect(outcome).toEqual(packAnswer({ values: [{ sent: true }] }, Infinity));
    expect(await run(['resolve', rerun.recordId, '--rerun', '--json'])).toMatchObject({ code: FINE });
    expect(await fixture.store().claim(again(rerun.claim))).toMatchObject({ status: 'processing', attempt: 2 });
    expect((await run(['resolve', randomUUID(), '--rerun'])).code).toBe(REFUSED);
    expect((await run(['resolve', rerun.recordId, '--rerun'])).stderr).toContain('but processing');
  });

  test('resolve: sealed as the record is', async () => {
    const { recordId, claim } = await record('hold', {}, sealed());
    const args = ['resolve', recordId, '--status', '200', '--body', 'by hand'];
    const without = await run(args);
    expect(without).toMatchObject({ code: REFUSED, stderr: expect.stringContaining('IDEMPOTENCY_KEYS') as string });
    expect((await run(args, { ...KEYS_IN_ENV, IDEMPOTENCY_CURRENT_KEY: '' })).code).toBe(USAGE);
    expect((await run(args, KEYS_IN_ENV)).code).toBe(FINE);
    const stored = (await fixture.record(recordId))!;
    expect(stored.responseBody!.includes('by hand')).toBe(false);
    expect((await sealed().claim(again(claim))).outcome!.body!.toString()).toBe('by hand');
  });

  test('resolve: plain as the record is, also where there are keys', async () => {
    const { recordId, claim } = await record('hold');
    expect((await run(['resolve', recordId, '--status', '200', '--body', 'plain'], KEYS_IN_ENV)).code).toBe(FINE);
    const recordState = await fixture.store({ sealer: noSealer }).claim(again(claim));
    expect(recordState.outcome!.body!.toString()).toBe('plain');
  });

  test('resolve: a record that keeps nothing is sealed as its neighbours are', async () => {
    await record('complete', {}, sealed());
    const { recordId, claim } = await record('hold', { request: null }, sealed());
    const args = ['resolve', recordId, '--status', '200', '--body', 'by hand'];
    expect((await run(args)).code).toBe(REFUSED);
    expect((await run(args, KEYS_IN_ENV)).code).toBe(FINE);
    expect((await sealed().claim(again(claim))).outcome!.body!.toString()).toBe('by hand');
  });

  test('purge', async () => {
    for (let i = 0; i < 5; i++) await fixture.expireRecord((await record('complete')).recordId);
    await fixture.expireRecord((await record('hold')).recordId);
    const kept = await record('complete');
    expect(parsed(await run(['purge', '--batch', '2', '--json']))).toEqual({ purged: 5 });
    expect(await run(['purge'])).toMatchObject({ code: FINE, stdout: 'Deleted 0 expired records\n', stderr: '' });
    expect(await fixture.record(kept.recordId)).not.toBeNull();
  });

  test('stats', async () => {
    expect(parsed((await run(['stats', '--json'])) as never)).toMatchObject({ total: 0, oldest: null, storedBytes: 0 });
    await record('complete');
    await record('release');
    // Its client has given up: the customer is charged, and has no order.
    const charged = ownership(await fixture.store().claim(aClaim({ request: REQUEST })));
    await fixture.store().steps.end(charged, 'charge', { status: 'done', result: '1' });
    await fixture.store().release(charged, 86_400_000);
    await record('hold');
    await record('run');
    const oldest = await abandoned();
    await fixture.age(oldest.recordId, 'created_at', 2 * HOUR);
    await fixture.expireLease((await record('run')).recordId);
    await fixture.expireRecord((await record('complete')).recordId);
    await fixture.age((await record('complete')).recordId, 'expires_at', 23.5 * HOUR);
    const answer = await start(['stats', '--json']);
    expect(answer.code).toBe(FINE);
    const stats = parsed<Row>(answer);
    expect(stats).toMatchObject({
      total: 9,
      byStatus: { processing: 2, done: 3, failed: 2, held: 2 },
      abandoned: 1,
      unfinished: 1,
      expired: 1,
      expiringWithinAnHour: 1,
      storedBytes: 9 * REQUEST.length + 3 * (RESPONSE.head.length + RESPONSE.body.length),
    });
    for (const time of [stats.oldest, stats.oldestHeld]) {
      expect(Math.abs(Date.parse(time as string) - (Date.now() - 2 * HOUR))).toBeLessThan(60_000);
    }
    // SQLite keeps all tables in one file.
    expect(Number(stats.bytesOnDisk) > 8_192).toBe(backend.dialect !== 'better-sqlite3');
    const forPeople = await run(['stats']);
    expect(forPeople.stdout).toMatch(/^records +9\n {2}processing +2 \(1 abandoned\)$/m);
    expect(forPeople.stdout).toMatch(/^ {2}failed +2 \(1 unfinished\)$/m);
  });

  test('migrations: printed, run, and reverted only on demand', async () => {
    const prefixed = ['--entity-prefix', 'cli_', '--migrations-table', 'cli_migrations'];
    const printed = await run(['migrations', 'print', ...prefixed]);
    expect(printed).toMatchObject({ code: FINE, stderr: '' });
    expect(printed.stdout.match(/CREATE TABLE .cli_idempotency_(record|step)/g)).toHaveLength(2);
    expect((await run(['stats', ...prefixed])).code).toBe(DATABASE);

    const names = IDEMPOTENCY_MIGRATIONS.map((migration) => new migration().name);
    expect((await run(['migrations', 'revert', '--yes', ...prefixed])).code).toBe(REFUSED);
    expect(parsed(await start(['migrations', 'run', '--json', ...prefixed]))).toEqual({ executed: names });
    expect(parsed(await run(['migrations', 'run', '--json', ...prefixed]))).toEqual({ executed: [] });
    expect((await run(['stats', ...prefixed])).code).toBe(FINE);
    expect(await run(['migrations', 'revert', ...prefixed])).toMatchObject({ code: REFUSED, stdout: '' });
    expect((await run(['stats', ...prefixed])).code).toBe(FINE);

    const insert = `INSERT INTO cli_migrations (timestamp, name) VALUES (1999999999999, 'Theirs1999999999999')`;
    await fixture.dataSource.query(insert);
    const theirs = await run(['migrations', 'revert', '--yes', ...prefixed]);
    expect(theirs).toMatchObject({
      code: REFUSED,
      stderr: expect.stringContaining('not one of this library') as string,
    });
    await fixture.dataSource.query(`DELETE FROM cli_migrations WHERE timestamp = 1999999999999`);

    for (const name of [...names].reverse()) {
      const reverted = await run(['migrations', 'revert', '--yes', '--json', ...prefixed]);
      expect(parsed(reverted)).toEqual({ reverted: [name] });
    }
    const withoutTables = await start(['stats', ...prefixed]);
    expect(withoutTables).toMatchObject({ code: DATABASE, stdout: '' });
    expect(withoutTables.stderr).toMatch(
      /tables are missing.*--entity-prefix\nType next: npx nestjs-idempotency migrations run/,
    );
  });

  test('what is printed can be run by hand', async () => {
    const printed = parsed<{ statements: string[] }>(
      await run(['migrations', 'print', '--json', '--entity-prefix', 'hand_']),
    );
    for (const statement of printed.statements) await fixture.dataSource.query(statement);
    expect((await run(['stats', '--entity-prefix', 'hand_'])).code).toBe(FINE);
  });
});

describe('usage', () => {
  test.each([
    [[], /^nestjs-idempotency <command>/],
    [['lst'], /There is no command "lst".*\nType next: npx nestjs-idempotency --help\n$/],
    [['list'], /Set DATABASE_URL.*\nType next: export DATABASE_URL=postgres:/],
    [['list', '--limitt', '5'], /^There is no option --limitt\nType next: npx nestjs-idempotency list --help\n$/],
    [['list', '--limit'], /^--limit needs a value\nType next: /],
    [['list', '--limit', 'many', '--database-url', 'sqlite:x'], /--limit must be a whole number/],
    [['list', '--status', 'gone', '--database-url', 'sqlite:x'], /--status must be one of/],
    [['list', '--before', 'noon', '--database-url', 'sqlite:x'], /--before must be a record id, or a time/],
    [
      ['list', 'what', '--database-url', 'sqlite:x'],
      /^Too many arguments: what\nType next: npx nestjs-idempotency list --help/,
    ],
    [['list', '--database-url', 'oracle://u:topsecret@h/d'], /must begin with postgres/],
    [['list', '--database-url', 'postgres://u:top secret@h:x/d'], /cannot be parsed/],
    [['list', '--schema', 's', '--database-url', 'mysql://u:topsecret@h/d'], /--schema is for PostgreSQL/],
    [['list', '--timeout', 'soon', '--database-url', 'sqlite:x'], /--timeout must be/],
    [
      ['resolve', randomUUID(), '--database-url', 'sqlite:x'],
      /one of --rerun, --status and --value\nType next: npx nestjs-idempotency resolve <recordId> --status 201/,
    ],
    [['resolve', randomUUID(), '--rerun', '--body', 'x', '--database-url', 'sqlite:x'], /--body goes with --status/],
    [['resolve', randomUUID(), '--status', '99', '--database-url', 'sqlite:x'], /HTTP status/],
    [['show', '--database-url', 'sqlite:x'], /Give a record id.*\nType next: npx nestjs-idempotency list/],
    [['migrations', '--database-url', 'sqlite:x'], /^Missing: print\|run\|revert\nType next: /],
    [['migrations', 'undo', '--database-url', 'sqlite:x'], /no migrations undo.*\nType next: npx .* migrations print/],
  ])('%p', async (args, message) => {
    const ended = await cliHere(args);
    expect(ended).toMatchObject({ code: USAGE, stdout: '', stderr: expect.stringMatching(message) as string });
    expect(ended.stderr).not.toMatch(/secret/);
  });

  test('help and version', async () => {
    expect(await cli(['lst'])).toMatchObject({ code: USAGE, stdout: '' });
    expect(await cli(['--help'])).toMatchObject({ code: FINE, stderr: '' });
    const help = await cli(['resolve', '--help']);
    expect(help).toMatchObject({ code: FINE, stdout: expect.stringContaining('--rerun') as string });
    expect((await cli(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+/);
  });

  test('keys that are none are not repeated', async () => {
    for (const keys of ['nonsense-secret', '{"a":"c2VjcmV0"}', '["secret"]', '{"a":5}']) {
      const env = { DATABASE_URL: 'sqlite:x', IDEMPOTENCY_KEYS: keys };
      const ended = await cliHere(['show', randomUUID()], env);
      expect(ended).toMatchObject({ code: USAGE, stderr: expect.stringContaining('IDEMPOTENCY_KEYS') as string });
      expect(ended.stderr).not.toMatch(/secret|c2VjcmV0/);
    }
  });
});

describe('a database that cannot be asked', () => {
  test.each(['postgres', 'mysql', 'mariadb'])('%s refuses connections', async (protocol) => {
    const ended = await cli(['list'], { env: { DATABASE_URL: `${protocol}://u:top%21secret@127.0.0.1:9/d` } });
    expect(ended).toMatchObject({ code: UNREACHABLE, stdout: '', stderr: expect.stringContaining('9') as string });
    expect(ended.stderr).not.toMatch(/top(%21|!)secret/);
  });

  test('a wrong password', async () => {
    const url = new URL(process.env.TEST_MARIADB_URL!);
    url.password = 'topsecret';
    const ended = await cli(['list', '--database-url', url.href]);
    expect(ended).toMatchObject({ code: UNREACHABLE, stdout: '', stderr: expect.stringMatching(/denied/i) as string });
    expect(ended.stderr).not.toContain('topsecret');
  });

  // Commands that write said that "the store refused a statement", and those that read waited without an end.
  test('what it refuses is said in its own words, and a locked table has a time limit', async () => {
    const database = await createDatabase('postgres');
    const dataSource = await new DataSource({
      ...database.options,
      migrations: [...IDEMPOTENCY_MIGRATIONS],
    }).initialize();
    try {
      const run = (...args: string[]) => cliHere(args, { DATABASE_URL: urlOf(database.options) });
      for (const args of [['purge'], ['forget', randomUUID()]]) {
        const { code, stderr } = await run(...args);
        expect([code, stderr]).toEqual([
          DATABASE,
          expect.stringMatching(/^relation "idempotency_record" does not exist\n/),
        ]);
      }
      await dataSource.runMigrations();
      const runner = dataSource.createQueryRunner();
      await runner.startTransaction();
      await runner.query('LOCK TABLE idempotency_record IN ACCESS EXCLUSIVE MODE');
      for (const args of [['list'], ['stats'], ['show', randomUUID()], ['purge']]) {
        const { code, stderr } = await run(...args, '--timeout', '200ms');
        expect([code, stderr]).toEqual([UNREACHABLE, expect.stringMatching(/^no answer within 200 ms\n.*--timeout/)]);
      }
      await runner.rollbackTransaction();
      await runner.release();
    } finally {
      await dataSource.destroy();
      await database.drop();
    }
  });

  test('an SQLite file that is not there is not made', async () => {
    const folder = await mkdtemp(join(process.env.TEST_FOLDER!, 'cli-'));
    const list = () => cli(['list', '--database-url', 'sqlite:here.db'], { cwd: folder });
    expect((await list()).code).toBe(UNREACHABLE);
    const url = `sqlite:${join(folder, 'here.db')}`;
    expect((await cli(['migrations', 'run', '--database-url', url])).code).toBe(FINE);
    expect((await list()).code).toBe(REFUSED);
    await rm(folder, { recursive: true });
  });

  test.each([
    ['postgres://u:p@h/d', 'pg'],
    ['mysql://u:p@h/d', 'mysql2'],
    ['sqlite:x', 'better-sqlite3'],
  ])('%s without its driver', async (url, driver) => {
    const folder = await installWithout(/^(pg|mysql2?|better-sqlite3)$/);
    // TypeORM also looks below the working directory.
    const ended = await cli(['list', '--database-url', url], { folder, cwd: folder });
    expect(ended).toMatchObject({
      code: UNREACHABLE,
      stderr: expect.stringContaining(`npm install ${driver}`) as string,
    });
    await rm(folder, { recursive: true });
  });
});
