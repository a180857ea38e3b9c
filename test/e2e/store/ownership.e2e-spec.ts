import { randomBytes, randomUUID } from 'node:crypto';
import type { Claim, FencedAnswer, Ownership } from '../../../lib/engine/ports/record-store.js';
import { AesGcmSealer } from '../../../lib/store/sealer.js';
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

describe.each(BACKENDS)('An owner on $name', (backend) => {
  const on = openStore(backend);

  const claimed = async (terms: Partial<Claim> = {}) => ownership(await on.store.claim(aClaim(terms)));
  const takenOver = async (owner: Ownership) => {
    await on.fixture.expireLease(owner.recordId);
    return ownership(await on.store.claim({ ...aClaim(), ...(await termsOf(owner)) }));
  };
  const termsOf = async ({ recordId }: Ownership) => {
    const { fingerprint, binding } = (await on.store.read(recordId))!;
    return { recordId, fingerprint, binding };
  };

  const writes: [string, (owner: Ownership) => Promise<FencedAnswer>][] = [
    ['complete', (owner) => on.store.complete(owner, COMPLETION)],
    ['release', (owner) => on.store.release(owner, 86_400_000)],
    ['hold', (owner) => on.store.hold(owner)],
    ['discard', (owner) => on.store.discard(owner)],
    ['renew', (owner) => on.store.renew(owner, 30 * SECOND)],
    ['begin a step', (owner) => on.store.steps.begin(owner, 'charge')],
    ['end a step', (owner) => on.store.steps.end(owner, 'charge', { status: 'done', result: '1' })],
  ];

  describe.each(writes)('to %s', (_, write) => {
    it('needs the record', async () => {
      const owner = await claimed();
      const before = await on.fixture.record(owner.recordId);
      expect(await write({ ...owner, token: owner.token + 1 })).toEqual(LOST);
      expect(await write({ ...owner, token: owner.token - 1 })).toEqual(LOST);
      expect(await write({ ...owner, owner: randomUUID() })).toEqual(LOST);
      expect(await write({ ...owner, recordId: randomUUID() })).toEqual(LOST);
      expect(await on.fixture.record(owner.recordId)).toEqual(before);
      expect(await on.fixture.steps(owner.recordId)).toEqual([]);
      expect((await write(owner)).held).toBe(true);
    });

    it('needs it to be running', async () => {
      const done = await claimed();
      await on.store.complete(done, COMPLETION);
      const failed = await claimed();
      await on.store.release(failed, 86_400_000);
      const held = await claimed();
      await on.store.hold(held);
      for (const owner of [done, failed, held]) {
        const before = await on.fixture.record(owner.recordId);
        expect(await write(owner)).toEqual(LOST);
        expect(await on.fixture.record(owner.recordId)).toEqual(before);
      }
    });

    it('must not have been taken over, even by itself', async () => {
      const first = await claimed();
      const second = await takenOver(first);
      expect(await write(first)).toEqual(LOST);
      expect(await write({ ...first, token: second.token })).toEqual(LOST);
      expect(await write({ ...second, token: first.token })).toEqual(LOST);
      expect((await write(second)).held).toBe(true);
    });

    it('may have fallen silent, as long as no other took over', async () => {
      const owner = await claimed();
      await on.fixture.expireLease(owner.recordId);
      expect((await write(owner)).held).toBe(true);
    });
  });

  it('completes once: the first outcome stands', async () => {
    const owner = await claimed();
    expect(await on.store.complete(owner, COMPLETION)).toEqual(HELD);
    const other = { outcome: { code: 500, head: null, body: null }, retentionMs: HOUR };
    expect(await on.store.complete(owner, other)).toEqual(LOST);
    expect((await on.store.read(owner.recordId))!.outcome).toEqual(OUTCOME);
  });

  it.each([
    ['nothing', null, null],
    ['empty bytes', Buffer.alloc(0), Buffer.alloc(0)],
    ['a megabyte', Buffer.from('{}'), randomBytes(1 << 20)],
  ])('keeps %s as they are', async (_, head, body) => {
    const owner = await claimed();
    const outcome = { code: 204, head, body };
    await on.store.complete(owner, { outcome, retentionMs: HOUR });
    expect((await on.store.read(owner.recordId))!.outcome).toEqual(outcome);
  });

  it('counts retention from completion', async () => {
    for (const retentionMs of [10 * SECOND, 3 * HOUR]) {
      const owner = await claimed({ retentionMs: 24 * HOUR });
      await on.store.complete(owner, { ...COMPLETION, retentionMs });
      const { completedAt, expiresAt } = (await on.fixture.record(owner.recordId))!;
      const kept = expiresAt.getTime() - completedAt!.getTime();
      expect(kept).toBeGreaterThanOrEqual(retentionMs - 50);
      // Long ones may end on a full minute.
      expect(kept).toBeLessThanOrEqual(retentionMs + (retentionMs > HOUR ? 60 * SECOND : 50));
    }
  });

  it('learns by its last write that a request waits', async () => {
    const last: [string, (owner: Ownership) => Promise<FencedAnswer>][] = writes.slice(0, 4);
    for (const [, write] of last) {
      const owner = await claimed();
      const recordState = await on.store.markAwaited(owner.recordId);
      expect(recordState).toMatchObject({ owner: owner.owner, status: 'processing' });
      expect(await write(owner)).toEqual({ held: true, awaited: true });
    }
  });

  it('reports no waiter of a record that is over', async () => {
    const owner = await claimed();
    await on.store.complete(owner, COMPLETION);
    expect(await on.store.markAwaited(owner.recordId)).toMatchObject({ status: 'done', outcome: OUTCOME });
    expect(await on.store.markAwaited(randomUUID())).toBeUndefined();
    expect((await on.fixture.record(owner.recordId))!.awaited).toBe(false);
  });

  it('extends its lease from now on', async () => {
    const owner = await claimed({ leaseMs: 5 * SECOND });
    await on.fixture.expireLease(owner.recordId);
    expect(await on.store.renew(owner, 20 * SECOND)).toEqual(HELD);
    const { leaseLeftMs } = (await on.store.read(owner.recordId))!;
    expect(leaseLeftMs).toBeGreaterThan(15 * SECOND);
    expect(leaseLeftMs).toBeLessThanOrEqual(20 * SECOND);
    // Twice within a millisecond: a row that did not change was still there.
    const renewals = await Promise.all([on.store.renew(owner, HOUR), on.store.renew(owner, HOUR)]);
    expect(renewals).toEqual([HELD, HELD]);
  });

  it('frees the key at once when it releases', async () => {
    const owner = await claimed();
    await on.store.release(owner, 86_400_000);
    const recordState = (await on.store.read(owner.recordId))!;
    expect(recordState).toMatchObject({ status: 'failed', outcome: null });
    expect(recordState.leaseLeftMs).toBeLessThanOrEqual(0);
  });

  it('leaves nothing behind when it discards a first attempt', async () => {
    const owner = await claimed();
    expect((await on.store.discard(owner)).held).toBe(true);
    expect(await on.fixture.record(owner.recordId)).toBeNull();
  });

  it('leaves the fingerprint bound when it discards a later attempt', async () => {
    const first = await claimed();
    const second = await takenOver(first);
    expect((await on.store.discard(second)).held).toBe(true);
    expect(await on.store.read(first.recordId)).toMatchObject({ status: 'failed', token: 2, attempt: 2 });
  });

  describe('with steps', () => {
    it('finds again what it did', async () => {
      const owner = await claimed();
      expect(await on.store.steps.load(owner.recordId)).toEqual([]);
      expect(await on.store.steps.begin(owner, 'charge')).toEqual(HELD);
      expect(await on.store.steps.begin(owner, 'mail')).toEqual(HELD);
      expect(await on.store.steps.begin(owner, 'ship')).toEqual(HELD);
      expect(await on.store.steps.end(owner, 'charge', { status: 'done', result: '{"id":"ü"}' })).toEqual(HELD);
      expect(await on.store.steps.end(owner, 'mail', { status: 'failed' })).toEqual(HELD);
      expect(await on.store.steps.end(owner, 'log', { status: 'done', result: null })).toEqual(HELD);
      const steps = [...(await on.store.steps.load(owner.recordId))].sort((a, b) => (a.name < b.name ? -1 : 1));
      expect(steps).toEqual([
        { name: 'charge', status: 'done', result: '{"id":"ü"}' },
        { name: 'log', status: 'done', result: null },
        { name: 'mail', status: 'failed', result: null },
        { name: 'ship', status: 'begun', result: null },
      ]);
    });

    it('hands them to the execution that takes over, which may write them again', async () => {
      const first = await claimed();
      await on.store.steps.end(first, 'charge', { status: 'done', result: '1' });
      await on.store.steps.begin(first, 'mail');
      const second = await takenOver(first);
      expect(await on.store.steps.load(first.recordId)).toHaveLength(2);
      expect(await on.store.steps.end(first, 'mail', { status: 'done', result: '"stale"' })).toEqual(LOST);
      expect(await on.store.steps.end(second, 'mail', { status: 'done', result: '"fresh"' })).toEqual(HELD);
      const mail = (await on.store.steps.load(first.recordId)).find((step) => step.name === 'mail');
      expect(mail).toEqual({ name: 'mail', status: 'done', result: '"fresh"' });
    });

    it('does not see those of an operation that expired', async () => {
      const claim = aClaim();
      const first = ownership(await on.store.claim(claim));
      await on.store.steps.end(first, 'charge', { status: 'done', result: '"old"' });
      await on.store.complete(first, COMPLETION);
      await on.fixture.expireRecord(claim.recordId);
      const second = ownership(await on.store.claim(again(claim)));
      expect(await on.store.steps.load(claim.recordId)).toEqual([]);
      await on.store.steps.end(second, 'mail', { status: 'done', result: '"new"' });
      expect(await on.store.steps.load(claim.recordId)).toEqual([{ name: 'mail', status: 'done', result: '"new"' }]);
    });

    it('does not find those of an operation that expired after it discarded', async () => {
      const claim = aClaim();
      const old = ownership(await on.store.claim(claim));
      await on.store.steps.end(old, 'charge', { status: 'done', result: '"old"' });
      await on.store.complete(old, COMPLETION);
      await on.fixture.expireRecord(claim.recordId);
      await on.store.discard(ownership(await on.store.claim(again(claim))));
      expect(await on.fixture.steps(claim.recordId)).toEqual([]);

      await on.store.claim(again(claim));
      await on.fixture.expireLease(claim.recordId);
      expect(await on.store.claim(again(claim))).toMatchObject({ attempt: 2 });
      expect(await on.store.steps.load(claim.recordId)).toEqual([]);
    });
  });

  it('finds everything sealed in the database and open in its hands', async () => {
    const sealer = new AesGcmSealer({ keys: { k: randomBytes(32) }, current: 'k' });
    const sealed = on.fixture.store({ sealer });
    const claim = aClaim({ request: Buffer.from('card 4711') });
    const owner = ownership(await sealed.claim(claim));
    const outcome = { code: 200, head: Buffer.from('head 4711'), body: Buffer.from('body 4711') };
    await sealed.steps.end(owner, 'charge', { status: 'done', result: '"step 4711"' });
    await sealed.complete(owner, { outcome, retentionMs: HOUR });

    expect((await sealed.claim(again(claim))).outcome).toEqual(outcome);
    expect(await sealed.steps.load(claim.recordId)).toMatchObject([{ result: '"step 4711"' }]);
    const { request, responseHead, responseBody } = (await on.fixture.record(claim.recordId))!;
    const [step] = await on.fixture.steps(claim.recordId);
    for (const bytes of [request, responseHead, responseBody, step.result]) {
      expect(bytes!.includes('4711')).toBe(false);
    }
    expect(sealer.open(request!, { recordId: claim.recordId, field: 'request' })).toEqual(claim.request);
  });
});
