import { aClaim, again, BACKENDS, openStore, HOUR, OUTCOME, ownership } from './support.js';

describe.each(BACKENDS)('An operator who decided about what a record was, on $name', (backend) => {
  const on = openStore(backend);

  /** Held, released by an operator, and held again by its second attempt. */
  async function heldTwice() {
    const claim = aClaim();
    await on.store.hold(ownership(await on.store.claim(claim)));
    await on.store.resolveHeld(claim.recordId, null);
    const second = ownership(await on.store.claim(again(claim)));
    await on.store.steps.begin(second, 'charge');
    await on.store.hold(second);
    return { recordId: claim.recordId, token: second.token };
  }

  it('settles no attempt but that one', async () => {
    for (const outcome of [OUTCOME, null]) {
      const { recordId, token } = await heldTwice();
      const before = await on.fixture.record(recordId);
      expect(token).toBe(2);
      expect(await on.store.resolveHeld(recordId, outcome, null, 1)).toBe(false);
      expect(await on.store.forget(recordId, { token: 1 })).toBe(false);
      expect(await on.fixture.record(recordId)).toEqual(before);
      expect(await on.store.steps.load(recordId)).toMatchObject([{ status: 'begun' }]);
      expect(await on.store.resolveHeld(recordId, outcome, null, token)).toBe(true);
      expect(await on.store.forget(recordId, { token })).toBe(true);
      expect(await on.store.steps.load(recordId)).toEqual([]);
    }
  });

  it('deletes nothing that an execution has taken over', async () => {
    const claim = aClaim();
    const { recordId } = claim;
    await on.store.claim(claim);
    await on.fixture.expireLease(recordId);
    const next = ownership(await on.store.claim(again(claim)));
    await on.store.steps.begin(next, 'charge');
    expect(await on.store.forget(recordId, { evenIfRunning: false })).toBe(false);
    expect(await on.store.steps.load(recordId)).toMatchObject([{ status: 'begun' }]);
    await on.fixture.expireLease(recordId);
    // Beside the record, as while a transaction of the operation is under way.
    await on.store.renew(next, HOUR, true);
    expect(await on.store.forget(recordId, { evenIfRunning: false })).toBe(false);
    await on.fixture.expireLease(recordId);
    expect(await on.store.forget(recordId, { evenIfRunning: true })).toBe(true);
    expect(await on.store.steps.load(recordId)).toEqual([]);
  });
});
