import { randomBytes } from 'node:crypto';
import { aClaim, again, BACKENDS, openStore, COMPLETION, HELD, ownership } from './support.js';

describe.each(BACKENDS)('A fingerprint that is completed, on $name', (backend) => {
  const on = openStore(backend);

  it('takes the place of the claim’s, in a batch too', async () => {
    const claims = Array.from({ length: 5 }, () => aClaim());
    const records = await Promise.all(claims.map((claim) => on.store.claim(claim)));
    const whole = claims.map((_, i) => (i % 2 ? randomBytes(32) : undefined));
    const answers = await Promise.all(
      records.map((record, i) => on.store.complete(ownership(record), { ...COMPLETION, fingerprint: whole[i] })),
    );
    expect(answers).toEqual(claims.map(() => HELD));
    for (const [i, claim] of claims.entries()) {
      const { fingerprint, status } = (await on.store.read(claim.recordId))!;
      expect([fingerprint, status]).toEqual([whole[i] ?? claim.fingerprint, 'done']);
      // The same request gets it, and writes nothing.
      const { owner, ...recordState } = await on.store.claim(again(claim));
      expect([owner, recordState.fingerprint]).toEqual([claim.owner, fingerprint]);
    }
  });

  it('takes its place in a transaction, and with it', async () => {
    const claim = aClaim();
    const owner = ownership(await on.store.claim(claim));
    const completion = { ...COMPLETION, fingerprint: randomBytes(32) };
    const undone = on.store.transaction(async (transaction) => {
      await transaction.complete(owner, completion);
      throw new Error('undone');
    });
    await expect(undone).rejects.toThrow('undone');
    expect((await on.store.read(claim.recordId))!.fingerprint).toEqual(claim.fingerprint);
    await on.store.transaction((transaction) => transaction.complete(owner, completion));
    expect((await on.store.read(claim.recordId))!.fingerprint).toEqual(completion.fingerprint);
  });

  it('is gone with its outcome: the next claim brings its own', async () => {
    const claim = aClaim();
    await on.store.complete(ownership(await on.store.claim(claim)), { ...COMPLETION, fingerprint: randomBytes(32) });
    await on.fixture.expireRecord(claim.recordId);
    const next = again(claim);
    expect(await on.store.claim(next)).toMatchObject({ owner: next.owner, fingerprint: claim.fingerprint });
  });
});
