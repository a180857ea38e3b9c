import { IdempotencyService } from '../../../lib/service/idempotency.service.js';
import type { RecordStore } from '../../../lib/engine/ports/record-store.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import type { TransactionHost } from '../../../lib/store/transactions/transaction-host.js';
import { waitersForLock } from '../../support/lock-waits.js';
import { until } from '../../support/until.js';
import {
  aClaim,
  again,
  BACKENDS,
  backendOf,
  StoreFixture,
  COMPLETION,
  HOUR,
  LOST,
  ownership,
  SECOND,
} from './support.js';

/** Another process, as far as the database knows. */
async function another(fixture: StoreFixture): Promise<SqlRecordStore> {
  return fixture.store(fixture.backend.dialect === 'better-sqlite3' ? {} : { dataSource: await fixture.connect() });
}

describe.each(BACKENDS)('A lease that a transactional operation renewed, on $name', ({ dialect }) => {
  let fixture: StoreFixture;
  let store: SqlRecordStore;
  let other: RecordStore;
  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf(dialect));
    store = fixture.store();
    other = await another(fixture);
  });
  afterAll(() => fixture?.close());

  /** A record that would be anybody's, but for its renewal. */
  async function renewed(terms: Parameters<typeof aClaim>[0] = {}) {
    const claim = aClaim(terms);
    const owner = ownership(await store.claim(claim));
    await fixture.age(claim.recordId, 'lease_until', HOUR);
    expect((await store.renew(owner, 30 * SECOND, true)).held).toBe(true);
    return { claim, owner };
  }

  it('keeps others from its record', async () => {
    const { claim, owner } = await renewed();
    const seen = [await other.claim(again(claim)), (await other.read(claim.recordId))!];
    for (const recordState of seen) {
      expect(recordState).toMatchObject({ owner: owner.owner, status: 'processing', token: 1, attempt: 1 });
      expect(recordState.leaseLeftMs).toBeGreaterThan(25 * SECOND);
      expect(recordState.leaseLeftMs).toBeLessThanOrEqual(30 * SECOND);
    }
    expect((await store.complete(owner, COMPLETION)).held).toBe(true);
  });

  it('runs out, and then keeps no claim away', async () => {
    const { claim, owner } = await renewed();
    await fixture.expireLease(claim.recordId);
    const next = again(claim);
    expect(await other.claim(next)).toMatchObject({ owner: next.owner, token: 2, attempt: 2, takenFrom: 'processing' });
    expect(await store.renew(owner, 30 * SECOND, true)).toEqual(LOST);
    expect(await store.complete(owner, COMPLETION)).toEqual(LOST);
  });

  it('is not that of an execution that comes after', async () => {
    const { claim, owner } = await renewed();
    await store.release(owner, HOUR);
    const next = again(claim);
    expect(await store.claim(next)).toMatchObject({ owner: next.owner, token: 2 });
    await fixture.age(claim.recordId, 'lease_until', HOUR);
    const third = again(claim);
    expect(await other.claim(third)).toMatchObject({ owner: third.owner, token: 3, takenFrom: 'processing' });
  });

  it('ends at once where it is renewed for no time', async () => {
    const { claim, owner } = await renewed();
    await store.renew(owner, 0);
    const next = again(claim);
    expect(await other.claim(next)).toMatchObject({ owner: next.owner, token: 2 });
  });

  it('is neither swept nor resolved, and shown as running', async () => {
    const { claim } = await renewed({ retentionMs: 20 * SECOND });
    await fixture.expireRecord(claim.recordId);
    await store.sweep(1_000);
    expect(await fixture.record(claim.recordId)).not.toBeNull();

    const held = await renewed({ holdOnCrash: true });
    expect(await store.resolveHeld(held.claim.recordId, null)).toBe(false);
    const service = new IdempotencyService({ store, dataSource: fixture.dataSource, events: {}, options: {} } as never);
    const shown = (await service.find(held.claim.recordId))!;
    expect(shown.status).toBe('processing');
    expect(shown.leaseUntil.getTime()).toBeGreaterThan(Date.now());
    expect((await service.list({ status: 'held' })).map(({ id }) => id)).not.toContain(held.claim.recordId);
    expect(await service.stats()).toMatchObject({ abandoned: 0 });

    for (const { recordId } of [claim, held.claim]) await fixture.expireLease(recordId);
    await store.sweep(1_000);
    expect(await fixture.record(claim.recordId)).toBeNull();
    expect(await fixture.steps(claim.recordId)).toEqual([]);
    expect((await service.find(held.claim.recordId))!.status).toBe('held');
    expect(await store.resolveHeld(held.claim.recordId, null)).toBe(true);
  });

  it('is no step', async () => {
    const { claim, owner } = await renewed();
    await store.steps.begin(owner, 'charge');
    expect((await store.steps.load(claim.recordId)).map(({ name }) => name)).toEqual(['charge']);
    const service = new IdempotencyService({ store, dataSource: fixture.dataSource, events: {}, options: {} } as never);
    expect((await service.steps(claim.recordId)).map(({ name }) => name)).toEqual(['charge']);
  });

  it('reports whether a request waits, as does the end of the operation', async () => {
    const { claim, owner } = await renewed();
    expect(await other.markAwaited(claim.recordId, true)).toMatchObject({ status: 'processing' });
    expect(await store.renew(owner, 30 * SECOND, true)).toEqual({ held: true, awaited: true });
    const completed = await store.transaction((transaction) => transaction.complete(owner, COMPLETION));
    expect(completed).toEqual({ held: true, awaited: true });
    expect(await other.markAwaited(claim.recordId, true)).toMatchObject({ status: 'done' });

    for (const end of [(own: typeof owner) => store.release(own, HOUR), (own: typeof owner) => store.hold(own)]) {
      const awaited = ownership(await store.claim(aClaim()));
      await other.markAwaited(awaited.recordId, true);
      expect(await end(awaited)).toEqual({ held: true, awaited: true });
    }
  });

  it('has one owner, though many want it as it runs out', async () => {
    const rivals = await Promise.all(Array.from({ length: 3 }, () => another(fixture)));
    for (let round = 0; round < 30; round++) {
      const { claim, owner } = await renewed();
      await fixture.expireLease(claim.recordId);
      const [{ held }, ...answers] = await Promise.all([
        store.renew(owner, 30 * SECOND, true),
        ...rivals.map((rival) => rival.claim(again(claim))),
      ]);
      const recordState = (await store.read(claim.recordId))!;
      // A process that was answered that it has the record has it: the owner whose renewal was in time, or one of the others.
      expect(recordState.token).toBe(held ? 1 : 2);
      expect(recordState.owner === owner.owner).toBe(held);
      for (const answer of answers) expect([1, 2]).toContain(answer.token);
      expect((await store.complete(owner, COMPLETION)).held).toBe(held);
    }
  });
});

describe('On PostgreSQL', () => {
  const LEVELS = ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'] as const;
  let fixture: StoreFixture;
  let other: SqlRecordStore;
  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf('postgres'));
    await fixture.dataSource.query('CREATE TABLE payment (id uuid PRIMARY KEY)');
    other = await another(fixture);
  });
  afterAll(() => fixture?.close());

  it('a record whose lease ran out is taken over once, by claims that have all found it expired', async () => {
    const rivals = await Promise.all(Array.from({ length: 3 }, () => another(fixture)));
    const claim = aClaim();
    await other.claim(claim);
    await fixture.age(claim.recordId, 'lease_until', HOUR);
    const holder = fixture.dataSource.createQueryRunner();
    await holder.startTransaction();
    await holder.query('SELECT FROM idempotency_record WHERE id = $1 FOR UPDATE', [claim.recordId]);
    const claiming = rivals.map((rival) => rival.claim(again(claim)));
    // Not all at the same time: each waits for 50 ms, and then pauses.
    const waited = new Set<number>();
    await until(async () => {
      for (const pid of await waitersForLock(fixture.dataSource)) waited.add(pid);
      return waited.size >= rivals.length;
    });
    await holder.commitTransaction();
    await holder.release();

    const answers = await Promise.all(claiming);
    expect(answers.map(({ token }) => token)).toEqual([2, 2, 2]);
    expect(new Set(answers.map(({ owner }) => owner)).size).toBe(1);
  });

  const at = (level: (typeof LEVELS)[number]): TransactionHost => ({
    run: (dataSource, work) => dataSource.transaction(level, work),
  });

  describe.each(LEVELS)('a transaction at %s', (level) => {
    let store: SqlRecordStore;
    beforeAll(async () => void (store = fixture.store({ transactionHost: at(level) })));

    const payments = async (id: string): Promise<number> =>
      (await fixture.dataSource.query('SELECT id FROM payment WHERE id = $1', [id])).length;

    /** An operation that has its snapshot, and waits. */
    async function running(between: (owner: ReturnType<typeof ownership>) => Promise<void>) {
      const claim = aClaim();
      const owner = ownership(await store.claim(claim));
      const ended = store.transaction(async (transaction) => {
        const { queryRunner } = transaction.manager as {
          queryRunner: { query(sql: string, values: unknown[]): unknown };
        };
        await queryRunner.query('INSERT INTO payment VALUES ($1)', [claim.recordId]);
        await between(owner);
        return transaction.complete(owner, COMPLETION);
      });
      return { claim, owner, ended };
    }

    it('completes what was renewed, waited for, asked for and stepped meanwhile', async () => {
      const { claim, ended } = await running(async (owner) => {
        for (let beat = 0; beat < 3; beat++) expect((await store.renew(owner, 30 * SECOND, true)).held).toBe(true);
        await other.markAwaited(owner.recordId, true);
        await store.steps.begin(owner, 'charge');
        await store.steps.end(owner, 'charge', { status: 'done', result: '1' });
        await other.claim(aClaim({ recordId: owner.recordId }));
      });
      expect(await ended).toEqual({ held: true, awaited: true });
      expect(await other.read(claim.recordId)).toMatchObject({ status: 'done', token: 1 });
      expect(await payments(claim.recordId)).toBe(1);
    });

    it('does not complete what another has taken over', async () => {
      const { claim, owner, ended } = await running(async (own) => {
        await store.renew(own, 30 * SECOND, true);
        await fixture.expireLease(own.recordId);
        const { fingerprint } = (await other.read(own.recordId))!;
        expect(await other.claim(aClaim({ recordId: own.recordId, fingerprint }))).toMatchObject({ token: 2 });
      });
      // Above READ COMMITTED by PostgreSQL's own error, which counts as an outage.
      const outcome = await ended.catch((error: Error) => error.name);
      expect(outcome).toEqual(level === 'READ COMMITTED' ? LOST : 'StoreUnavailableError');
      expect(await store.renew(owner, SECOND, true)).toEqual(LOST);
      expect(await other.read(claim.recordId)).toMatchObject({ status: 'processing', token: 2 });
    });
  });

  it('a claim that comes while the record is being made leaves it as it was made', async () => {
    const query = (sql: string, values?: unknown[]) => fixture.dataSource.query(sql, values);
    await query('CREATE TABLE rewritten (id uuid)');
    await query(`CREATE FUNCTION rewritten() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN INSERT INTO rewritten VALUES (new.id); RETURN new; END'`);
    await query(
      'CREATE TRIGGER rewritten AFTER UPDATE ON idempotency_record FOR EACH ROW EXECUTE FUNCTION rewritten()',
    );
    const claim = aClaim();
    const runner = fixture.dataSource.createQueryRunner();
    await runner.startTransaction();
    await runner.query(
      `INSERT INTO idempotency_record (id, owner, endpoint, fingerprint, status, token, attempt, hold_on_crash, awaited,
         lease_until, created_at, expires_at)
       VALUES ($1, $2, 'POST /', $3, 'processing', 1, 1, false, false, now() + interval '1 min', now(), now() + interval '1 day')`,
      [claim.recordId, claim.owner, claim.fingerprint],
    );
    const asked = other.claim(again(claim));
    await until(async () => {
      const waiting = await query(`SELECT 1 FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted`);
      return (waiting as unknown[]).length > 0;
    });
    await runner.commitTransaction();
    await runner.release();
    expect(await asked).toMatchObject({ owner: claim.owner, status: 'processing', token: 1 });
    expect(await query('SELECT id FROM rewritten')).toEqual([]);
  });
});
