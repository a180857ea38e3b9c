import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import { aClaim, again, BACKENDS, StoreFixture, HOUR, OUTCOME, ownership } from './support.js';

describe.each(BACKENDS)('An operator who decided about what a record was, on $name', (backend) => {
  let fixture: StoreFixture;
  let store: SqlRecordStore;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backend);
    store = fixture.store();
  });
  afterAll(() => fixture?.close());

  /** Held, released by an operator, and held again by its second attempt. */
  async function heldTwice() {
    const claim = aClaim();
    await store.hold(ownership(await store.claim(claim)));
    await store.resolveHeld(claim.recordId, null);
    const second = ownership(await store.claim(again(claim)));
    await store.steps.begin(second, 'charge');
    await store.hold(second);
    return { recordId: claim.recordId, token: second.token };
  }

  it('settles no attempt but that one', async () => {
    for (const outcome of [OUTCOME, null]) {
      const { recordId, token } = await heldTwice();
      const before = await fixture.record(recordId);
      expect(token).toBe(2);
      expect(await store.resolveHeld(recordId, outcome, null, 1)).toBe(false);
      expect(await store.forget(recordId, { token: 1 })).toBe(false);
      expect(await fixture.record(recordId)).toEqual(before);
      expect(await store.steps.load(recordId)).toMatchObject([{ status: 'begun' }]);
      expect(await store.resolveHeld(recordId, outcome, null, token)).toBe(true);
      expect(await store.forget(recordId, { token })).toBe(true);
      expect(await store.steps.load(recordId)).toEqual([]);
    }
  });

  it('deletes nothing that an execution has taken over', async () => {
    const claim = aClaim();
    const { recordId } = claim;
    await store.claim(claim);
    await fixture.expireLease(recordId);
    const next = ownership(await store.claim(again(claim)));
    await store.steps.begin(next, 'charge');
    expect(await store.forget(recordId, { evenIfRunning: false })).toBe(false);
    expect(await store.steps.load(recordId)).toMatchObject([{ status: 'begun' }]);
    await fixture.expireLease(recordId);
    // Beside the record, as while a transaction of the operation is under way.
    await store.renew(next, HOUR, true);
    expect(await store.forget(recordId, { evenIfRunning: false })).toBe(false);
    await fixture.expireLease(recordId);
    expect(await store.forget(recordId, { evenIfRunning: true })).toBe(true);
    expect(await store.steps.load(recordId)).toEqual([]);
  });
});
