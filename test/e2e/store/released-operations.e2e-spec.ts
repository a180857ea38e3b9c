import { aClaim, again, BACKENDS, HOUR, openStore, ownership } from './support.js';

describe.each(BACKENDS)('A released record on $name', (backend) => {
  const on = openStore(backend);

  async function released(...steps: ('done' | 'begun' | 'failed')[]) {
    const claim = aClaim();
    const owned = ownership(await on.store.claim(claim));
    for (const status of steps) {
      await on.store.steps.begin(owned, status);
      if (status === 'done') await on.store.steps.end(owned, status, { status, result: '7' });
      if (status === 'failed') await on.store.steps.end(owned, status, { status });
    }
    await on.store.release(owned, HOUR);
    await on.fixture.expireRecord(claim.recordId);
    return claim;
  }

  it.each(['done', 'begun'] as const)(
    'with a step that is %s does not expire: a retry must find the step',
    async (status) => {
      const claim = await released(status);
      await on.store.sweep(1_000);
      expect(await on.store.claim(again(claim))).toMatchObject({ status: 'processing', attempt: 2, token: 2 });
      expect(await on.store.steps.load(claim.recordId)).toMatchObject([{ name: status, status }]);
    },
  );

  it('with such a step does not expire either where a later attempt never began', async () => {
    const claim = await released('done');
    const owned = ownership(await on.store.claim(again(claim)));
    await on.store.discard(owned);
    await on.fixture.expireRecord(claim.recordId);
    await on.store.sweep(1_000);
    expect(await on.store.claim(again(claim))).toMatchObject({ attempt: 3 });
  });

  it('whose steps failed expires, and so do the steps of an earlier operation', async () => {
    const claim = await released('failed');
    const second = ownership(await on.store.claim(again(claim)));
    expect(second.token).toBe(2);
    await on.store.steps.end(second, 'failed', { status: 'done', result: '7' });
    await on.store.complete(second, { outcome: { code: 201, head: null, body: null }, retentionMs: HOUR });
    await on.fixture.expireRecord(claim.recordId);
    const third = await on.store.claim(again(claim));
    expect(third).toMatchObject({ attempt: 1, token: 3 });
    await on.store.release(ownership(third), HOUR);
    await on.fixture.expireRecord(claim.recordId);
    expect(await on.store.sweep(1_000)).toBe(1);
  });

  it('that an operator freed does not expire by what had begun, but by what is done', async () => {
    for (const [isKept, ...steps] of [
      [false, 'begun'],
      [true, 'done', 'begun'],
    ] as const) {
      const claim = aClaim({ holdOnCrash: true });
      const owned = ownership(await on.store.claim(claim));
      for (const name of steps) await on.store.steps.begin(owned, name);
      if (isKept) await on.store.steps.end(owned, 'done', { status: 'done', result: '7' });
      await on.store.hold(owned);
      expect(await on.store.resolveHeld(claim.recordId, null)).toBe(true);
      await on.fixture.expireRecord(claim.recordId);
      expect(await on.store.claim(again(claim))).toMatchObject({ attempt: isKept ? 2 : 1 });
    }
  });
});
