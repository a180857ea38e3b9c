import { randomBytes, randomUUID } from 'node:crypto';
import type { DataSource } from 'typeorm';
import { type EncryptionOptions, IdempotencyProblem } from '../../../lib/index.js';
import { serviceOn } from '../../../lib/cli/database/connection.js';
import { ScopeDigest } from '../../../lib/edges/caller/caller-digests.js';
import { IDEMPOTENCY_MIGRATIONS } from '../../../lib/store/migrations/index.js';
import { aClaim, again, BACKENDS, StoreFixture, COMPLETION, HOUR, ownership } from './support.js';

const migrations = [...IDEMPOTENCY_MIGRATIONS];
const digests = new ScopeDigest({});
const ofScope = (scope: string) => ({ scopeDigest: digests.of(scope) });

describe.each(BACKENDS)('The records of a scope on $name', (backend) => {
  let fixture: StoreFixture;
  beforeEach(async () => {
    fixture = await StoreFixture.open(backend, { synchronize: false, migrations });
    await fixture.dataSource.runMigrations();
  });
  afterEach(() => fixture.close());

  const service = (settings: object = {}) => serviceOn(fixture.dataSource, { timeout: '30s', ...settings });

  async function record(end: 'run' | 'complete' | 'release' | 'hold', terms: object) {
    const store = fixture.store();
    const claim = aClaim(terms);
    const owned = ownership(await store.claim(claim));
    if (end === 'complete') await store.complete(owned, COMPLETION);
    if (end === 'release') await store.release(owned, HOUR);
    if (end === 'hold') await store.hold(owned);
    return owned;
  }

  test('are forgotten in batches, with their steps, but those that are being executed', async () => {
    const done = [];
    for (let i = 0; i < 5; i++) done.push(await record('complete', ofScope('7')));
    await record('release', ofScope('7'));
    await record('hold', ofScope('7'));
    const silent = await record('run', ofScope('7'));
    await fixture.expireLease(silent.recordId);
    const running = await record('run', ofScope('7'));
    const stepped = await record('run', ofScope('7'));
    await fixture.store().steps.end(stepped, 'charge', { status: 'done', result: '{"card":"4111"}' });
    await fixture.store().complete(stepped, COMPLETION);
    const others = [await record('complete', ofScope('8')), await record('complete', {})];

    expect(await fixture.store().forgetScope([digests.of('7')!], 3)).toEqual({ found: 3, forgotten: 3 });
    expect(await service({ batch: 2 }).forget({ scope: '7' })).toBe(6);
    expect((await service().list({ scope: '7' })).map(({ id }) => id)).toEqual([running.recordId]);
    expect(await fixture.steps(stepped.recordId)).toEqual([]);
    for (const { recordId } of [running, ...others]) expect(await fixture.record(recordId)).not.toBeNull();

    await fixture.store().complete(running, COMPLETION);
    expect(await service().forget({ scope: '7' })).toBe(1);
    expect(await service().list({ scope: '7' })).toEqual([]);
  });

  test('are looked for by an index', async () => {
    const runner = fixture.dataSource.createQueryRunner();
    const { indices } = (await runner.getTable('idempotency_record'))!;
    await runner.release();
    expect(indices.map(({ columnNames }) => columnNames)).toContainEqual(['scope_digest']);
    const plan: unknown[] = await fixture.dataSource.query(
      backend.dialect === 'better-sqlite3'
        ? `EXPLAIN QUERY PLAN SELECT id FROM idempotency_record WHERE scope_digest IN (x'00')`
        : `EXPLAIN SELECT id FROM idempotency_record WHERE scope_digest IN (${backend.dialect === 'postgres' ? `'\\x00'::bytea` : `x'00'`})`,
    );
    expect(JSON.stringify(plan)).toMatch(/IDX_\w+/);
  });

  test('are found under each key that may have made the digest, and in their namespace alone', async () => {
    const keys = { old: randomBytes(32), new: randomBytes(32) };
    const encryptions: (EncryptionOptions | undefined)[] = [
      undefined,
      { keys: { old: keys.old }, current: 'old' },
      { keys, current: 'new' },
    ];
    for (const encryption of encryptions) {
      await service({ encryption }).run({ key: String(encryption?.current), operation: 'charge', scope: '7' }, () => 1);
      await service({ encryption, namespace: 'shop' }).run(
        { key: String(encryption?.current), operation: 'charge', scope: '7' },
        () => 1,
      );
    }
    const found = (one: object) =>
      service(one)
        .list({ scope: '7' })
        .then(({ length }) => length);
    expect(await found({})).toBe(1);
    expect(await found({ encryption: encryptions[2] })).toBe(3);
    expect(await found({ encryption: encryptions[2], namespace: 'shop' })).toBe(3);
    expect(await service({ encryption: encryptions[2] }).forget({ scope: '7' })).toBe(3);
    expect(await found({ encryption: encryptions[2], namespace: 'shop' })).toBe(3);
  });

  test('include none of a process of the version before, which goes on working', async () => {
    const old = await insertAsBefore(fixture.dataSource);
    expect(await fixture.record(old.id)).toMatchObject({ route: null, scopeDigest: null, status: 'processing' });
    // A process of this version takes it over: from then on it is found.
    await fixture.expireLease(old.id);
    const claim = aClaim({ recordId: old.id, fingerprint: Buffer.from([0]), route: 'POST /', ...ofScope('7') });
    expect(await fixture.store().claim(claim)).toMatchObject({ owner: claim.owner, attempt: 2 });
    expect(await fixture.record(old.id)).toMatchObject({ route: 'POST /', scopeDigest: digests.of('7') });
    expect(await service().list({ scope: '7' })).toHaveLength(1);
    // The existing record stays as it is.
    await fixture.store().claim(again(claim, { route: 'POST /other', ...ofScope('8') }));
    expect(await fixture.record(old.id)).toMatchObject({ route: 'POST /', scopeDigest: digests.of('7') });
  });

  test('live through the migration, forward and back', async () => {
    await fixture.dataSource.undoLastMigration();
    const { id } = await insertAsBefore(fixture.dataSource);
    await fixture.dataSource.runMigrations();
    expect(await fixture.record(id)).toMatchObject({ route: null, scopeDigest: null });
    const named = await record('complete', { route: 'POST /orders/:id', ...ofScope('7') });
    await fixture.dataSource.undoLastMigration();
    const left: unknown[] = await fixture.dataSource.query('SELECT * FROM idempotency_record');
    expect(left).toHaveLength(2);
    expect(left[0]).not.toHaveProperty('scope_digest');
    await fixture.dataSource.runMigrations();
    expect(await fixture.record(named.recordId)).toMatchObject({ status: 'done', route: null, scopeDigest: null });
  });

  test.each(['a\0b', 'a\ud83d', ' ', 'ü 💸 '.repeat(100), '\\u{0}'])(
    'operations may be called %j',
    async (operation) => {
      const one = service();
      expect(await one.run({ key: 'k\0', operation, scope: 'a\0b' }, () => 'first')).toBe('first');
      expect(await one.run({ key: 'k\0', operation, scope: 'a\0b' }, () => 'second')).toBe('first');
      const record = await one.find({ key: 'k\0', operation, scope: 'a\0b' });
      expect(record).toMatchObject({ status: 'done' });
      expect(await one.list({ operation })).toEqual([record]);
      expect(await one.list({ operation: `${operation}x`.slice(-200) })).toEqual([]);
      expect(await one.list({ scope: 'a\0b' })).toEqual([record]);
      const problem = one.run({ key: 'k\0', operation, scope: 'a\0b', input: 'other' }, () => 'third');
      await expect(problem).rejects.toBeInstanceOf(IdempotencyProblem);
    },
  );
});

describe('Filters', () => {
  let fixture: StoreFixture;
  beforeAll(async () => (fixture = await StoreFixture.open(BACKENDS[2])));
  afterAll(() => fixture.close());

  test.each([
    [{ scpoe: '7' }, /no `scpoe`; there are `status`, `operation`, `scope`, `before`, `limit`/],
    [{ scope: '' }, /`scope`/],
    [{ scope: undefined }, /`scope`/],
    [{ scope: 7 }, /`scope`/],
    [{ status: 'open' }, /`status`/],
    [{ operation: '' }, /`operation`/],
    [{ before: 'yesterday' }, /`before`/],
    [{ before: new Date('?') }, /`before`/],
    [{ limit: 0 }, /`limit`/],
    [null, /an object/],
    ['7', /an object/],
  ])('list(%j) is refused', async (filters, message) => {
    const service = serviceOn(fixture.dataSource, { timeout: '30s' });
    const asked = service.list(filters as never);
    await expect(asked).rejects.toThrow(TypeError);
    await expect(asked).rejects.toThrow(message);
  });

  test.each([
    [{}, /`scope`/],
    [{ scope: '' }, /`scope`/],
    [{ scope: undefined }, /`scope`/],
    [{ scope: '7', operation: 'charge' }, /no `operation`; there are `scope`/],
    [undefined, /an object/],
    [['7'], /an object/],
  ])('forget(%j) is refused, and deletes nothing', async (filters, message) => {
    const service = serviceOn(fixture.dataSource, { timeout: '30s' });
    await service.run({ key: 'k', operation: 'charge', scope: '7' }, () => 1);
    await expect(service.forget(filters as never)).rejects.toThrow(message);
    expect(await service.list({ scope: '7' })).toHaveLength(1);
  });

  test('find() takes what names a record, and nothing else', async () => {
    const service = serviceOn(fixture.dataSource, { timeout: '30s' });
    const found = service.find({ key: 'k', operation: 'charge', user: '7' } as never);
    await expect(found).rejects.toThrow(/no `user`/);
  });
});

/** As the version before inserts a record: without the columns that it does not know. */
async function insertAsBefore(dataSource: DataSource): Promise<{ id: string }> {
  const { type } = dataSource.options;
  const id = randomUUID();
  const instant = type === 'postgres' ? `now() + interval '30 minutes'` : String(Date.now() + HOUR / 2);
  const bytes = type === 'postgres' ? `'\\x00'::bytea` : `x'00'`;
  const no = type === 'postgres' ? 'false' : '0';
  await dataSource.query(`INSERT INTO idempotency_record (id, endpoint, fingerprint, status, owner, token, attempt,
    hold_on_crash, attempts_left, awaited, lease_until, created_at, expires_at, retention_ms)
    VALUES ('${id}', 'POST /', ${bytes}, 'processing', '${randomUUID()}', 1, 1, ${no}, 4, ${no}, ${instant}, ${instant},
    ${instant}, ${HOUR})`);
  return { id };
}
