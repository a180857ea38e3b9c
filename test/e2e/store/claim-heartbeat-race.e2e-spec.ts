import { waitsForLock } from '../../support/lock-waits.js';
import { until } from '../../support/until.js';
import { aClaim, again, backendOf, StoreFixture, COMPLETION, HOUR, ownership } from './support.js';

/**
 * A transactional operation renews its lease beside its record. A claim that takes over by one statement would look beside the
 * record as of its snapshot, wait for the heartbeat's lock, and not look again: two owners.
 */
describe('A heartbeat that has the record while a claim wants it, on PostgreSQL', () => {
  let fixture: StoreFixture;
  beforeAll(async () => void (fixture = await StoreFixture.open(backendOf('postgres'))));
  afterAll(() => fixture?.close());

  it('is seen by that claim', async () => {
    const [store, other] = [fixture.store(), fixture.store({ dataSource: await fixture.connect() })];
    const claim = aClaim();
    const owner = ownership(await store.claim(claim));
    await fixture.age(claim.recordId, 'lease_until', HOUR);

    // What a renewal does, stopped before its COMMIT.
    const heartbeat = fixture.dataSource.createQueryRunner();
    await heartbeat.startTransaction();
    await heartbeat.query('SELECT FROM idempotency_record WHERE id = $1 FOR UPDATE', [claim.recordId]);
    await heartbeat.query(
      `INSERT INTO idempotency_step (record_id, name, status, token, updated_at)
       VALUES ($1, '', 'running', 1, clock_timestamp() + interval '30 s')`,
      [claim.recordId],
    );
    const claiming = other.claim(again(claim));
    await until(() => waitsForLock(fixture.dataSource));
    await heartbeat.commitTransaction();
    await heartbeat.release();

    expect(await claiming).toMatchObject({ owner: owner.owner, token: 1, status: 'processing' });
    expect((await store.complete(owner, COMPLETION)).held).toBe(true);
  });
});
