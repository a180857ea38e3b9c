import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { MAX_RETENTION_MS } from '../../../lib/engine/policy.js';
import type { Claim, RecordStatus } from '../../../lib/engine/ports/record-store.js';
import { aClaim, again, BACKENDS, openStore, COMPLETION, HOUR, LOST, OUTCOME, ownership } from './support.js';

describe.each(BACKENDS)('Operators on $name', (backend) => {
  const on = openStore(backend);

  async function recordIn(status: RecordStatus, terms: Partial<Claim> = {}) {
    const claim = aClaim(terms);
    const owned = ownership(await on.store.claim(claim));
    await on.store.steps.begin(owned, 'charge');
    if (status === 'done') await on.store.complete(owned, COMPLETION);
    // A step that happened would keep the record.
    if (status === 'failed') await on.store.steps.end(owned, 'charge', { status: 'failed' });
    if (status === 'failed') await on.store.release(owned, 86_400_000);
    if (status === 'held') await on.store.hold(owned);
    return { ...owned, claim };
  }

  async function silentUnderHold() {
    const record = await recordIn('processing', { holdOnCrash: true });
    await on.fixture.expireLease(record.recordId);
    return record;
  }

  describe.each([
    ['a held record', () => recordIn('held')],
    ['a record whose owner fell silent under hold', silentUnderHold],
  ])('resolve %s', (_, unresolved) => {
    it('with an outcome', async () => {
      const { recordId, owner, token, claim } = await unresolved();
      expect(await on.store.resolveHeld(recordId, OUTCOME)).toBe(true);
      expect(await on.store.claim(again(claim))).toMatchObject({ status: 'done', outcome: OUTCOME });
      expect(await on.store.complete({ recordId, owner, token }, COMPLETION)).toEqual(LOST);
      expect(await on.store.resolveHeld(recordId, OUTCOME)).toBe(false);
      const { completedAt, expiresAt } = (await on.fixture.record(recordId))!;
      expect(expiresAt.getTime() - completedAt!.getTime()).toBeGreaterThanOrEqual(COMPLETION.retentionMs - 50);
    });

    it('as one that did not happen', async () => {
      const { recordId, owner, token, claim } = await unresolved();
      expect(await on.store.resolveHeld(recordId, null)).toBe(true);
      const next = again(claim);
      expect(await on.store.claim(next)).toMatchObject({
        owner: next.owner,
        token: 2,
        attempt: 2,
        takenFrom: 'failed',
      });
      expect(await on.store.complete({ recordId, owner, token }, COMPLETION)).toEqual(LOST);
    });
  });

  it('resolve nothing that is not unknown', async () => {
    const lapsed = await recordIn('processing');
    await on.fixture.expireLease(lapsed.recordId);
    const running = await recordIn('processing', { holdOnCrash: true });
    for (const { recordId } of [lapsed, running, await recordIn('done'), await recordIn('failed')]) {
      const before = await on.fixture.record(recordId);
      expect(await on.store.resolveHeld(recordId, null)).toBe(false);
      expect(await on.store.resolveHeld(recordId, OUTCOME)).toBe(false);
      expect(await on.fixture.record(recordId)).toEqual(before);
    }
    expect(await on.store.resolveHeld(randomUUID(), null)).toBe(false);
  });

  it.each(['processing', 'done', 'failed', 'held'] as const)('forget a record that is %s', async (status) => {
    const { recordId } = await recordIn(status);
    const { recordId: bystander } = await recordIn(status);
    expect(await on.store.forget(recordId)).toBe(true);
    expect(await on.fixture.record(recordId)).toBeNull();
    expect(await on.fixture.steps(recordId)).toEqual([]);
    expect(await on.store.forget(recordId)).toBe(false);
    expect(await on.fixture.record(bystander)).not.toBeNull();
    expect(await on.fixture.steps(bystander)).toHaveLength(1);
  });

  describe('sweep', () => {
    beforeEach(async () => {
      while ((await on.store.sweep(1_000)) > 0);
    });

    it('what has expired, with its steps, and nothing else', async () => {
      const done = await recordIn('done');
      const failed = await recordIn('failed');
      const abandoned = aClaim();
      await on.store.claim(abandoned);
      await on.fixture.age(abandoned.recordId, 'lease_until', 48 * HOUR);
      const lately = aClaim();
      await on.store.claim(lately);
      await on.fixture.expireLease(lately.recordId);
      // It has a step that a retry has to find.
      const silent = await recordIn('processing');
      await on.fixture.age(silent.recordId, 'lease_until', 48 * HOUR);
      const running = await recordIn('processing');
      const held = await recordIn('held');
      await on.fixture.expireLease(held.recordId);
      const unknown = await silentUnderHold();
      const fresh = await recordIn('done');
      const expired = [done, failed, abandoned, lately, silent, running, held, unknown];
      for (const { recordId } of expired) await on.fixture.expireRecord(recordId);
      // Its step keeps it for longer.
      await on.fixture.age(held.recordId, 'expires_at', MAX_RETENTION_MS);

      expect(await on.store.sweep(1_000)).toBe(3);
      for (const { recordId } of [done, failed, abandoned]) {
        expect(await on.fixture.record(recordId)).toBeNull();
        expect(await on.fixture.steps(recordId)).toEqual([]);
      }
      expect(await on.fixture.record(lately.recordId)).not.toBeNull();
      for (const { recordId } of [silent, running, held, unknown, fresh]) {
        expect(await on.fixture.record(recordId)).not.toBeNull();
        expect(await on.fixture.steps(recordId)).toHaveLength(1);
      }
      expect(await on.store.sweep(1_000)).toBe(0);
    });

    it('in batches, side by side', async () => {
      for (const { recordId } of await Promise.all(Array.from({ length: 50 }, () => recordIn('done')))) {
        await on.fixture.expireRecord(recordId);
      }
      expect(await on.store.sweep(10)).toBe(10);
      const swept = await Promise.all(Array.from({ length: 8 }, () => on.store.sweep(10)));
      const rest = await on.store.sweep(1_000);
      expect(swept.reduce((sum, count) => sum + count, rest)).toBe(40);
    });

    if (backend.dialect !== 'better-sqlite3') {
      it('past a row that another transaction holds', async () => {
        const locked = await recordIn('done');
        const free = await recordIn('done');
        await on.fixture.expireRecord(locked.recordId);
        await on.fixture.expireRecord(free.recordId);
        const runner = on.fixture.dataSource.createQueryRunner();
        try {
          await runner.startTransaction();
          await runner.query(`SELECT id FROM idempotency_record WHERE id = '${locked.recordId}' FOR UPDATE`);
          expect(await Promise.race([on.store.sweep(10), sleep(2_000, 'waited', { ref: false })])).toBe(1);
          expect(await on.fixture.record(free.recordId)).toBeNull();
        } finally {
          await runner.rollbackTransaction();
          await runner.release();
        }
        expect(await on.store.sweep(10)).toBe(1);
      });
    }
  });
});
