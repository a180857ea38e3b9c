import { performance } from 'node:perf_hooks';
import { jest } from '@jest/globals';
import { LessThan } from 'typeorm';
import { IdempotencyRecord, IdempotencyStep } from '../../../lib/store/entities/index.js';
import { aClaim, again, BACKENDS, StoreFixture, COMPLETION, HOUR, ownership, SECOND } from './support.js';

describe.each(BACKENDS)('Times on $name', (backend) => {
  let fixture: StoreFixture;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backend);
  });
  afterEach(() => {
    jest.restoreAllMocks();
  });
  afterAll(() => fixture?.close());

  it.each([
    ['behind', -HOUR],
    ['ahead', HOUR],
  ])('are the database’s, to a process that is an hour %s', async (_, shift) => {
    const store = fixture.store();
    const { now } = Date;
    const monotonic = performance.now.bind(performance);
    jest.spyOn(Date, 'now').mockImplementation(() => now() + shift);
    jest.spyOn(performance, 'now').mockImplementation(() => monotonic() + shift);

    const first = aClaim({ leaseMs: 30 * SECOND, retentionMs: HOUR / 2 });
    expect((await store.claim(first)).leaseLeftMs).toBeGreaterThan(25 * SECOND);
    expect(await store.claim(again(first))).toMatchObject({ owner: first.owner, status: 'processing' });
    const record = (await fixture.record(first.recordId))!;
    expect(Math.abs(record.createdAt.getTime() - now())).toBeLessThan(10 * SECOND);
    expect(record.leaseUntil.getTime() - record.createdAt.getTime()).toBe(30 * SECOND);

    await store.complete(ownership(await store.claim(first)), { ...COMPLETION, retentionMs: HOUR / 2 });
    expect(await store.claim(again(first))).toMatchObject({ status: 'done' });
    expect(await store.sweep(1_000)).toBe(0);
    await fixture.expireRecord(first.recordId);
    const second = again(first);
    expect(await store.claim(second)).toMatchObject({ owner: second.owner, status: 'processing' });
  });

  it('and everything else reach users as what the entities say', async () => {
    const store = fixture.store();
    const before = Date.now() - SECOND;
    const claim = aClaim({ binding: Buffer.alloc(16, 7), request: Buffer.from('{}'), holdOnCrash: true });
    const owner = ownership(await store.claim(claim));
    await store.steps.end(owner, 'charge', { status: 'done', result: '42' });
    await store.complete(owner, COMPLETION);
    const after = Date.now() + SECOND;

    const record = (await fixture.dataSource.getRepository(IdempotencyRecord).findOneBy({ id: claim.recordId }))!;
    expect(record).toEqual({
      id: claim.recordId,
      endpoint: claim.endpoint,
      route: null,
      scopeDigest: null,
      fingerprint: claim.fingerprint,
      binding: claim.binding,
      status: 'done',
      owner: claim.owner,
      token: 1,
      attempt: 1,
      takenFrom: null,
      holdOnCrash: true,
      attemptsLeft: claim.maxAttempts - 1,
      retentionMs: claim.retentionMs,
      awaited: false,
      leaseUntil: expect.any(Date),
      createdAt: expect.any(Date),
      completedAt: expect.any(Date),
      expiresAt: expect.any(Date),
      request: claim.request,
      responseCode: COMPLETION.outcome.code,
      responseHead: COMPLETION.outcome.head,
      responseBody: COMPLETION.outcome.body,
    });
    for (const bytes of [record.fingerprint, record.binding, record.request, record.responseBody]) {
      expect(Buffer.isBuffer(bytes)).toBe(true);
    }
    for (const instant of [record.createdAt, record.completedAt!]) {
      expect(instant.getTime()).toBeGreaterThan(before);
      expect(instant.getTime()).toBeLessThan(after);
    }
    expect(record.leaseUntil.getTime() - record.createdAt.getTime()).toBe(claim.leaseMs);
    expect(record.expiresAt.getTime() - record.completedAt!.getTime()).toBeGreaterThanOrEqual(claim.retentionMs - 50);

    const [step] = await fixture.dataSource.getRepository(IdempotencyStep).findBy({ recordId: claim.recordId });
    expect(step).toEqual({
      recordId: claim.recordId,
      name: 'charge',
      status: 'done',
      token: 1,
      result: Buffer.from('42'),
      updatedAt: expect.any(Date),
    });
  });

  it('can be searched by, as can bytes', async () => {
    const store = fixture.store();
    const claim = aClaim();
    await store.claim(claim);
    const repository = fixture.dataSource.getRepository(IdempotencyRecord);
    const { recordId: id, fingerprint } = claim;
    expect(await repository.findOneBy({ id, createdAt: LessThan(new Date(Date.now() + HOUR)) })).not.toBeNull();
    expect(await repository.findOneBy({ id, createdAt: LessThan(new Date(Date.now() - HOUR)) })).toBeNull();
    expect(await repository.findOneBy({ fingerprint })).toMatchObject({ id });
    const record = (await repository.findOneBy({ id }))!;
    const expiresAt = new Date(Date.now() + HOUR);
    await repository.save(Object.assign(record, { expiresAt, request: Buffer.from('other') }));
    expect(await repository.findOneBy({ id })).toEqual(record);
    expect(record).toMatchObject({ expiresAt, request: Buffer.from('other') });
  });

  if (backend.dialect !== 'better-sqlite3') {
    it('are the same in a session of another time zone', async () => {
      const elsewhere = await fixture.connect({
        ...(backend.dialect === 'postgres' && { extra: { options: '-c TimeZone=America/St_Johns' } }),
        ...(backend.dialect === 'mariadb' && { timezone: '-03:30', poolSize: 1 }),
      });
      if (backend.dialect === 'mariadb') await elsewhere.query(`SET time_zone = '-03:30'`);
      const there = fixture.store({ dataSource: elsewhere });
      const claim = aClaim();
      expect((await there.claim(claim)).leaseLeftMs).toBeGreaterThan(25 * SECOND);
      const here = (await fixture.record(claim.recordId))!;
      expect(Math.abs(here.createdAt.getTime() - Date.now())).toBeLessThan(10 * SECOND);
      expect(await elsewhere.getRepository(IdempotencyRecord).findOneBy({ id: claim.recordId })).toEqual(here);
      await fixture.store().complete(ownership(await there.claim(claim)), COMPLETION);
      expect(await there.claim(again(claim))).toMatchObject({ status: 'done' });
    });
  }
});
