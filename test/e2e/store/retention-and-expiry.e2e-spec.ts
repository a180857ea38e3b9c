import { aClaim, again, BACKENDS, StoreFixture, COMPLETION, HOUR, OUTCOME, ownership } from './support.js';

describe.each(BACKENDS)('A record on $name', (backend) => {
  let fixture: StoreFixture;
  beforeAll(async () => {
    fixture = await StoreFixture.open(backend);
  });
  afterAll(() => fixture?.close());

  async function ageOf(recordId: string): Promise<number> {
    const { createdAt } = (await fixture.record(recordId))!;
    return Date.now() - createdAt.getTime();
  }

  it('is as old as its operation: attempts do not make it younger', async () => {
    const store = fixture.store();
    const claim = aClaim();
    await store.claim(claim);
    await fixture.age(claim.recordId, 'created_at', HOUR);
    await fixture.expireLease(claim.recordId);
    expect(await store.claim(again(claim))).toMatchObject({ attempt: 2 });
    expect(await ageOf(claim.recordId)).toBeGreaterThan(0.9 * HOUR);
  });

  it('begins again once it has expired', async () => {
    const store = fixture.store();
    const claim = aClaim();
    await store.complete(ownership(await store.claim(claim)), COMPLETION);
    await fixture.age(claim.recordId, 'created_at', HOUR);
    await fixture.expireRecord(claim.recordId);
    expect(await store.claim(again(claim))).toMatchObject({ attempt: 1, token: 2, takenFrom: 'done' });
    expect(await ageOf(claim.recordId)).toBeLessThan(0.5 * HOUR);
  });

  it.each(['done', 'failed'] as const)('is not there any more once it has expired: %s', async (status) => {
    const store = fixture.store();
    const owned = ownership(await store.claim(aClaim()));
    await (status === 'done' ? store.complete(owned, COMPLETION) : store.release(owned, 86_400_000));
    expect(await store.read(owned.recordId)).toMatchObject({ status });
    await fixture.expireRecord(owned.recordId);
    expect(await store.read(owned.recordId)).toBeUndefined();
  });

  it('stays where its outcome is not there yet, or not known', async () => {
    const store = fixture.store();
    const [running, held] = [await store.claim(aClaim()), await store.claim(aClaim())];
    await store.hold(ownership(held));
    for (const { recordId } of [running, held]) await fixture.expireRecord(recordId);
    expect(await store.read(running.recordId)).toMatchObject({ status: 'processing' });
    expect(await store.read(held.recordId)).toMatchObject({ status: 'held' });
  });

  it('is kept for its retention where a later attempt is given back, however long that took', async () => {
    const store = fixture.store();
    const claim = aClaim();
    await store.steps.end(ownership(await store.claim(claim)), 'charge', { status: 'done', result: '1' });
    await fixture.expireLease(claim.recordId);
    const second = ownership(await store.claim(again(claim)));
    await fixture.expireRecord(claim.recordId);
    expect(await store.discard(second)).toMatchObject({ held: true });
    expect(await store.claim(again(claim))).toMatchObject({ takenFrom: 'failed', attempt: 3 });
    expect(await store.steps.load(claim.recordId)).toMatchObject([{ name: 'charge', status: 'done' }]);
  });

  it('takes its steps with it, and no others', async () => {
    const store = fixture.store();
    const [gone, kept] = [await store.claim(aClaim()), await store.claim(aClaim())];
    for (const one of [gone, kept]) {
      await store.steps.end(ownership(one), 'charge', { status: 'done', result: '1' });
      await store.complete(ownership(one), COMPLETION);
    }
    // What other tests have left.
    await store.sweep(100);
    await fixture.expireRecord(gone.recordId);
    expect(await store.sweep(100)).toBe(1);
    expect(await store.sweep(100)).toBe(0);
    expect(await fixture.steps(gone.recordId)).toEqual([]);
    expect(await fixture.steps(kept.recordId)).toHaveLength(1);
    expect(await store.forget(kept.recordId)).toBe(true);
    expect(await store.forget(kept.recordId)).toBe(false);
    expect(await fixture.steps(kept.recordId)).toEqual([]);
  });

  it('that is held and settled settles what had begun with it', async () => {
    const store = fixture.store();
    const statuses = async (outcome: typeof OUTCOME | null) => {
      const owned = ownership(await store.claim(aClaim()));
      await store.steps.begin(owned, 'a begun');
      await store.steps.end(owned, 'b done', { status: 'done', result: null });
      expect(await store.resolveHeld(owned.recordId, outcome)).toBe(false);
      expect(await fixture.steps(owned.recordId)).toMatchObject([{ status: 'begun' }, { status: 'done' }]);
      await store.hold(owned);
      expect(await store.resolveHeld(owned.recordId, outcome)).toBe(true);
      const steps = await fixture.steps(owned.recordId);
      return steps.sort((a, b) => (a.name < b.name ? -1 : 1)).map(({ status }) => status);
    };
    // It did not happen: what had begun of it may run again.
    expect(await statuses(null)).toEqual(['failed', 'done']);
    expect(await statuses(OUTCOME)).toEqual(['begun', 'done']);
  });

  it('is announced by its last owner alone', async () => {
    const store = fixture.store();
    const claim = aClaim();
    const owned = ownership(await store.claim(claim));
    expect(await store.renew(owned, HOUR)).toEqual({ held: true, awaited: false });
    expect(await store.markAwaited(claim.recordId)).toMatchObject({ owner: claim.owner, status: 'processing' });
    expect(await store.renew(owned, HOUR)).toEqual({ held: true, awaited: true });
    expect(await store.steps.begin(owned, 'charge')).toEqual({ held: true, awaited: false });
    await store.release(owned, 86_400_000);
    // The next owner has not been waited for.
    const next = ownership(await store.claim(again(claim)));
    expect(await store.complete(next, COMPLETION)).toEqual({ held: true, awaited: false });
  });
});
