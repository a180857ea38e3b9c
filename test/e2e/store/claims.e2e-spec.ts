import { randomBytes } from 'node:crypto';
import type { Claim, RecordStatus } from '../../../lib/engine/ports/record-store.js';
import {
  aClaim,
  again,
  BACKENDS,
  openStore,
  COMPLETION,
  HELD,
  HOUR,
  LOST,
  OUTCOME,
  ownership,
  SECOND,
} from './support.js';

describe.each(BACKENDS)('A claim on $name', (backend) => {
  const on = openStore(backend);

  /** A record in the given state, and the claim that its owner made. */
  async function recordIn(status: RecordStatus, terms: Partial<Claim> = {}): Promise<Claim> {
    const claim = aClaim(terms);
    const owned = ownership(await on.store.claim(claim));
    if (status === 'done') await on.store.complete(owned, COMPLETION);
    if (status === 'failed') await on.store.release(owned, 86_400_000);
    if (status === 'held') await on.store.hold(owned);
    return claim;
  }

  it('wins a fresh key', async () => {
    const claim = aClaim({ binding: randomBytes(16), request: Buffer.from('{"amount":1}') });
    const won = await on.store.claim(claim);
    expect(won).toEqual({
      recordId: claim.recordId,
      owner: claim.owner,
      status: 'processing',
      token: 1,
      attempt: 1,
      takenFrom: null,
      attemptsLeft: 4,
      fingerprint: claim.fingerprint,
      binding: claim.binding,
      leaseLeftMs: expect.any(Number),
      outcome: null,
    });
    expect(won.leaseLeftMs).toBeGreaterThan(25 * SECOND);
    expect(won.leaseLeftMs).toBeLessThanOrEqual(30 * SECOND);
    expect((await on.fixture.record(claim.recordId))!.request).toEqual(claim.request);
  });

  it('stands back where another runs it', async () => {
    const first = await recordIn('processing');
    const second = await on.store.claim(again(first, { leaseMs: HOUR, request: Buffer.from('second') }));
    expect(second).toMatchObject({ owner: first.owner, status: 'processing', token: 1, attempt: 1 });
    expect(second.leaseLeftMs).toBeLessThanOrEqual(30 * SECOND);
    expect((await on.fixture.record(first.recordId))!.request).toBeNull();
  });

  it('is recognised as its own when it is made again', async () => {
    const claim = await recordIn('processing');
    const repeated = await on.store.claim(claim);
    expect(repeated).toMatchObject({ owner: claim.owner, status: 'processing', token: 1, attempt: 1 });
    expect(await on.store.complete(ownership(repeated), COMPLETION)).toEqual(HELD);
  });

  it('keeps a waiter when it is made again', async () => {
    const claim = await recordIn('processing');
    await on.store.markAwaited(claim.recordId);
    const repeated = await on.store.claim(claim);
    expect(await on.store.complete(ownership(repeated), COMPLETION)).toEqual({ held: true, awaited: true });
  });

  it('takes over from an owner that fell silent', async () => {
    const first = await recordIn('processing');
    await on.store.markAwaited(first.recordId);
    await on.fixture.expireLease(first.recordId);
    const second = again(first, { request: Buffer.from('second') });
    expect(await on.store.claim(second)).toMatchObject({
      owner: second.owner,
      status: 'processing',
      token: 2,
      attempt: 2,
      takenFrom: 'processing',
    });
    const record = (await on.fixture.record(first.recordId))!;
    expect(record).toMatchObject({ request: second.request, awaited: false });
    expect(record.leaseUntil.getTime()).toBeGreaterThan(Date.now());
    expect(await on.store.complete({ recordId: first.recordId, owner: first.owner, token: 1 }, COMPLETION)).toEqual(
      LOST,
    );
  });

  it('takes a key that was released', async () => {
    const first = await recordIn('failed');
    const second = again(first);
    expect(await on.store.claim(second)).toMatchObject({
      owner: second.owner,
      status: 'processing',
      token: 2,
      attempt: 2,
      takenFrom: 'failed',
    });
  });

  it('is answered with the outcome where there is one', async () => {
    const first = await recordIn('done');
    for (const claim of [again(first), first]) {
      const answer = await on.store.claim(claim);
      expect(answer).toMatchObject({ owner: first.owner, status: 'done', token: 1, attempt: 1, outcome: OUTCOME });
    }
    expect((await on.store.read(first.recordId))!.outcome).toEqual(OUTCOME);
  });

  it('starts again when the outcome has expired', async () => {
    const first = await recordIn('done', { request: Buffer.from('first') });
    const before = (await on.fixture.record(first.recordId))!;
    await on.fixture.expireRecord(first.recordId);
    expect(await on.store.read(first.recordId)).toBeUndefined();
    const second = again(first, {
      fingerprint: randomBytes(32),
      binding: randomBytes(16),
      endpoint: 'POST /other',
      request: null,
    });
    expect(await on.store.claim(second)).toMatchObject({
      owner: second.owner,
      status: 'processing',
      token: 2,
      attempt: 1,
      takenFrom: 'done',
      fingerprint: second.fingerprint,
      binding: second.binding,
      outcome: null,
    });
    const record = (await on.fixture.record(first.recordId))!;
    expect(record).toMatchObject({ endpoint: 'POST /other', request: null, completedAt: null, responseBody: null });
    expect(record.createdAt.getTime()).toBeGreaterThanOrEqual(before.createdAt.getTime());
    expect(record.expiresAt.getTime()).toBeGreaterThan(Date.now());
  });

  it('starts again when a failed record has expired', async () => {
    const first = await recordIn('failed');
    await on.fixture.expireLease(first.recordId);
    await on.fixture.expireRecord(first.recordId);
    const second = again(first, { fingerprint: randomBytes(32) });
    expect(await on.store.claim(second)).toMatchObject({
      owner: second.owner,
      token: 2,
      attempt: 1,
      takenFrom: 'failed',
    });
  });

  it('takes over what has no outcome, however old it is, with its steps', async () => {
    const first = await recordIn('processing');
    await on.store.steps.end({ ...first, token: 1 }, 'charge', { status: 'done', result: '1' });
    await on.fixture.expireLease(first.recordId);
    await on.fixture.expireRecord(first.recordId);
    const other = again(first, { fingerprint: randomBytes(32) });
    expect(await on.store.claim(other)).toMatchObject({ owner: first.owner, token: 1 });
    const second = again(first);
    expect(await on.store.claim(second)).toMatchObject({ owner: second.owner, token: 2, attempt: 2 });
    expect(await on.store.steps.load(first.recordId)).toMatchObject([{ name: 'charge', status: 'done' }]);
  });

  it('is held once as many executions died in a row as may, and not for those that ended', async () => {
    const claim = aClaim({ maxAttempts: 2 });
    const first = ownership(await on.store.claim(claim));
    await on.fixture.expireLease(first.recordId);
    const second = ownership(await on.store.claim(again(claim)));
    expect(second.token).toBe(2);
    // Asked for again, as its answer was lost: it is the same attempt.
    expect(await on.store.claim({ ...claim, owner: second.owner })).toMatchObject({ attempt: 2, attemptsLeft: 0 });
    await on.store.release(second, 24 * HOUR);
    const third = await on.store.claim(again(claim));
    expect(third).toMatchObject({ status: 'processing', attempt: 3, attemptsLeft: 1 });
    await on.fixture.expireLease(first.recordId);
    expect(await on.store.claim(again(claim))).toMatchObject({ status: 'processing', attempt: 4, attemptsLeft: 0 });
    await on.fixture.expireLease(first.recordId);
    expect(await on.store.claim(again(claim))).toMatchObject({ status: 'held', attempt: 4, attemptsLeft: 0 });
  });

  it('leaves a live lease alone, however old the record', async () => {
    const first = await recordIn('processing');
    await on.fixture.expireRecord(first.recordId);
    expect(await on.store.claim(again(first))).toMatchObject({ owner: first.owner, status: 'processing', token: 1 });
  });

  it.each([
    ['the owner wanted it', true, false],
    ['the one that asks wants it', false, true],
  ])('holds the record of an owner that fell silent, where %s', async (_, ofOwner, ofAsker) => {
    const first = await recordIn('processing', { holdOnCrash: ofOwner });
    await on.fixture.expireLease(first.recordId);
    const second = again(first, { holdOnCrash: ofAsker });
    expect(await on.store.claim(second)).toMatchObject({ owner: first.owner, status: 'held', token: 1, attempt: 1 });
    expect(await on.store.claim(again(second))).toMatchObject({ owner: first.owner, status: 'held' });
    expect(await on.store.complete({ recordId: first.recordId, owner: first.owner, token: 1 }, COMPLETION)).toEqual(
      LOST,
    );
  });

  it('never takes a held record, expired or not', async () => {
    const first = await recordIn('held');
    await on.fixture.expireLease(first.recordId);
    await on.fixture.expireRecord(first.recordId);
    expect(await on.store.claim(again(first))).toMatchObject({ owner: first.owner, status: 'held', token: 1 });
    expect(await on.store.read(first.recordId)).toMatchObject({ status: 'held' });
  });

  it('holds an expired record of an owner that fell silent, where that is wanted', async () => {
    const first = await recordIn('processing', { holdOnCrash: true });
    await on.fixture.expireLease(first.recordId);
    await on.fixture.expireRecord(first.recordId);
    expect(await on.store.claim(again(first))).toMatchObject({ owner: first.owner, status: 'held', token: 1 });
  });

  describe.each(['processing', 'done', 'failed', 'held'] as const)('on a record that is %s', (status) => {
    it.each([
      ['another request', { fingerprint: randomBytes(32) }],
      ['another credential', { binding: randomBytes(16) }],
      ['no credential', { binding: null }],
    ])('stands back with %s', async (_, terms) => {
      const first = await recordIn(status, { binding: randomBytes(16) });
      if (status !== 'done') await on.fixture.expireLease(first.recordId);
      expect(await on.store.claim(again(first, terms))).toMatchObject({
        owner: first.owner,
        status,
        token: 1,
        attempt: 1,
        fingerprint: first.fingerprint,
        binding: first.binding,
      });
    });
  });

  it('distinguishes what comes in one batch, the same key twice included', async () => {
    const done = await recordIn('done');
    const fresh = Array.from({ length: 20 }, () => aClaim({ binding: randomBytes(16) }));
    const claims = [...fresh, again(done), ...fresh.map((claim) => again(claim))];
    const answers = await Promise.all(claims.map((claim) => on.store.claim(claim)));
    expect(answers.map((answer) => answer.recordId)).toEqual(claims.map((claim) => claim.recordId));
    for (const { recordId, fingerprint, binding } of fresh) {
      const ofKey = answers.filter((answer) => answer.recordId === recordId);
      expect(ofKey).toHaveLength(2);
      for (const answer of ofKey) expect(answer).toMatchObject({ owner: ofKey[0].owner, fingerprint, binding });
    }
    expect(answers[20]).toMatchObject({ status: 'done', outcome: OUTCOME });
  });

  it('returns the existing record to one that only reads', async () => {
    const claim = await recordIn('processing');
    expect(await on.store.read(claim.recordId)).toMatchObject({
      owner: claim.owner,
      status: 'processing',
      outcome: null,
    });
    expect(await on.store.read(aClaim().recordId)).toBeUndefined();
  });
});
