import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Claim, RecordStatus } from '../../../lib/engine/ports/record-store.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import { aClaim, again, BACKENDS, StoreFixture, COMPLETION, HOUR, LOST, OUTCOME, ownership } from './support.js';

describe.each(BACKENDS)('Operators on $name', (backend) => {
  let fixture: StoreFixture;
  let store: SqlRecordStore;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backend);
    store = fixture.store();
  });
  afterAll(() => fixture?.close());

  async function recordIn(status: RecordStatus, terms: Partial<Claim> = {}) {
    const claim = aClaim(terms);
    const owned = ownership(await store.claim(claim));
    await store.steps.begin(owned, 'charge');
    if (status === 'done') await store.complete(owned, COMPLETION);
    if (status === 'failed') await store.release(owned, 86_400_000);
    if (status === 'held') await store.hold(owned);
    return { ...owned, claim };
  }

  async function silentUnderHold() {
    const record = await recordIn('processing', { holdOnCrash: true });
    await fixture.expireLease(record.recordId);
    return record;
  }

  describe.each([
    ['a held record', () => recordIn('held')],
    ['a record whose owner fell silent under hold', silentUnderHold],
  ])('resolve %s', (_, unresolved) => {
    it('with an outcome', async () => {
      const { recordId, owner, token, claim } = await unresolved();
      expect(await store.resolveHeld(recordId, OUTCOME)).toBe(true);
      expect(await store.claim(again(claim))).toMatchObject({ status: 'done', outcome: OUTCOME });
      expect(await store.complete({ recordId, owner, token }, COMPLETION)).toEqual(LOST);
      expect(await store.resolveHeld(recordId, OUTCOME)).toBe(false);
      const { completedAt, expiresAt } = (await fixture.record(recordId))!;
      expect(expiresAt.getTime() - completedAt!.getTime()).toBeGreaterThanOrEqual(COMPLETION.retentionMs - 50);
    });

    it('as one that did not happen', async () => {
      const { recordId, owner, token, claim } = await unresolved();
      expect(await store.resolveHeld(recordId, null)).toBe(true);
      const next = again(claim);
      expect(await store.claim(next)).toMatchObject({ owner: next.owner, token: 2, attempt: 2, takenFrom: 'failed' });
      expect(await store.complete({ recordId, owner, token }, COMPLETION)).toEqual(LOST);
    });
  });

  it('resolve nothing that is not unknown', async () => {
    const lapsed = await recordIn('processing');
    await fixture.expireLease(lapsed.recordId);
    const running = await recordIn('processing', { holdOnCrash: true });
    for (const { recordId } of [lapsed, running, await recordIn('done'), await recordIn('failed')]) {
      const before = await fixture.record(recordId);
      expect(await store.resolveHeld(recordId, null)).toBe(false);
      expect(await store.resolveHeld(recordId, OUTCOME)).toBe(false);
      expect(await fixture.record(recordId)).toEqual(before);
    }
    expect(await store.resolveHeld(randomUUID(), null)).toBe(false);
  });

  it.each(['processing', 'done', 'failed', 'held'] as const)('forget a record that is %s', async (status) => {
    const { recordId } = await recordIn(status);
    const { recordId: bystander } = await recordIn(status);
    expect(await store.forget(recordId)).toBe(true);
    expect(await fixture.record(recordId)).toBeNull();
    expect(await fixture.steps(recordId)).toEqual([]);
    expect(await store.forget(recordId)).toBe(false);
    expect(await fixture.record(bystander)).not.toBeNull();
    expect(await fixture.steps(bystander)).toHaveLength(1);
  });

  describe('sweep', () => {
    beforeEach(async () => {
      while ((await store.sweep(1_000)) > 0);
    });

    it('what has expired, with its steps, and nothing else', async () => {
      const done = await recordIn('done');
      const failed = await recordIn('failed');
      const abandoned = aClaim();
      await store.claim(abandoned);
      await fixture.age(abandoned.recordId, 'lease_until', 48 * HOUR);
      const lately = aClaim();
      await store.claim(lately);
      await fixture.expireLease(lately.recordId);
      // It has a step that a retry has to find.
      const silent = await recordIn('processing');
      await fixture.age(silent.recordId, 'lease_until', 48 * HOUR);
      const running = await recordIn('processing');
      const held = await recordIn('held');
      await fixture.expireLease(held.recordId);
      const unknown = await silentUnderHold();
      const fresh = await recordIn('done');
      const expired = [done, failed, abandoned, lately, silent, running, held, unknown];
      for (const { recordId } of expired) await fixture.expireRecord(recordId);

      expect(await store.sweep(1_000)).toBe(3);
      for (const { recordId } of [done, failed, abandoned]) {
        expect(await fixture.record(recordId)).toBeNull();
        expect(await fixture.steps(recordId)).toEqual([]);
      }
      expect(await fixture.record(lately.recordId)).not.toBeNull();
      for (const { recordId } of [silent, running, held, unknown, fresh]) {
        expect(await fixture.record(recordId)).not.toBeNull();
        expect(await fixture.steps(recordId)).toHaveLength(1);
      }
      expect(await store.sweep(1_000)).toBe(0);
    });

    it('in batches, side by side', async () => {
      for (const { recordId } of await Promise.all(Array.from({ length: 50 }, () => recordIn('done')))) {
        await fixture.expireRecord(recordId);
      }
      expect(await store.sweep(10)).toBe(10);
      const swept = await Promise.all(Array.from({ length: 8 }, () => store.sweep(10)));
      const rest = await store.sweep(1_000);
      expect(swept.reduce((sum, count) => sum + count, rest)).toBe(40);
    });

    if (backend.dialect !== 'better-sqlite3') {
      it('past a row that another transaction holds', async () => {
        const locked = await recordIn('done');
        const free = await recordIn('done');
        await fixture.expireRecord(locked.recordId);
        await fixture.expireRecord(free.recordId);
        const runner = fixture.dataSource.createQueryRunner();
        try {
          await runner.startTransaction();
          await runner.query(`SELECT id FROM idempotency_record WHERE id = '${locked.recordId}' FOR UPDATE`);
          expect(await Promise.race([store.sweep(10), sleep(2_000, 'waited', { ref: false })])).toBe(1);
          expect(await fixture.record(free.recordId)).toBeNull();
        } finally {
          await runner.rollbackTransaction();
          await runner.release();
        }
        expect(await store.sweep(10)).toBe(1);
      });
    }
  });
});
