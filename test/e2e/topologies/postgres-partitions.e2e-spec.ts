import { setTimeout as sleep } from 'node:timers/promises';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import { aClaim, again, StoreFixture, COMPLETION, HELD, LOST, backendOf, ownership } from '../store/support.js';

const POSTGRES = backendOf('postgres');
const PARTITIONS = 4;

describe('PostgreSQL, the table of records partitioned by hash', () => {
  let fixture: StoreFixture;
  let stores: SqlRecordStore[];

  beforeAll(async () => {
    fixture = await StoreFixture.open(POSTGRES);
    const run = (sql: string) => fixture.dataSource.query(sql);
    await run('ALTER TABLE idempotency_record RENAME TO plain');
    await run('CREATE TABLE idempotency_record (LIKE plain INCLUDING ALL) PARTITION BY HASH (id)');
    await run('DROP TABLE plain');
    for (let i = 0; i < PARTITIONS; i++) {
      await run(
        `CREATE TABLE idempotency_record_${i} PARTITION OF idempotency_record
         FOR VALUES WITH (MODULUS ${PARTITIONS}, REMAINDER ${i}) WITH (fillfactor = 50)`,
      );
    }
    await run(
      'ALTER TABLE idempotency_step ADD FOREIGN KEY (record_id) REFERENCES idempotency_record (id) ON DELETE CASCADE',
    );
    stores = [fixture.store(), fixture.store({ dataSource: await fixture.connect() })];
  });
  afterAll(() => fixture?.close());

  const counts = async () => {
    const rows: { count: string }[] = await fixture.dataSource.query(
      'SELECT count(*) FROM idempotency_record GROUP BY tableoid',
    );
    return rows.map(({ count }) => Number(count));
  };

  test('one winner of each key, over all partitions', async () => {
    const claims = Array.from({ length: 60 }, () => aClaim());
    const rivals = claims.flatMap((claim) => Array.from({ length: 20 }, () => again(claim)));
    const answers = await Promise.all(
      rivals.map(async (claim, i) => ({ claim, recordState: await stores[i % 2].claim(claim) })),
    );
    for (const { recordId } of claims) {
      const ofRecord = answers.filter(({ claim }) => claim.recordId === recordId);
      expect(ofRecord.filter(({ claim, recordState }) => recordState.owner === claim.owner)).toHaveLength(1);
      expect(new Set(ofRecord.map(({ recordState }) => recordState.owner)).size).toBe(1);
    }
    expect(await counts()).toHaveLength(PARTITIONS);
  });

  test('complete, take over, steps, and a late writer', async () => {
    const [here, there] = stores;
    const claim = aClaim();
    const first = ownership(await here.claim(claim));
    expect(await here.steps.begin(first, 'charge')).toEqual(HELD);
    expect(await here.steps.end(first, 'charge', { status: 'done', result: '1' })).toEqual(HELD);
    await fixture.expireLease(claim.recordId);
    const second = ownership(await there.claim(again(claim)));
    expect(second.token).toBe(2);
    expect(await there.steps.load(claim.recordId)).toEqual([{ name: 'charge', status: 'done', result: '1' }]);
    expect(await here.complete(first, COMPLETION)).toEqual(LOST);
    expect(await here.steps.begin(first, 'confirm')).toEqual(LOST);
    expect(await there.complete(second, COMPLETION)).toEqual(HELD);
    expect(await here.claim(again(claim))).toMatchObject({ status: 'done', token: 2 });
  });

  test('sweeping deletes what has expired, and not the row at the same place of another partition', async () => {
    const [here, there] = stores;
    const done = await Promise.all(
      Array.from({ length: 120 }, async () => {
        const owned = ownership(await here.claim(aClaim()));
        await here.steps.begin(owned, 'charge');
        await here.complete(owned, COMPLETION);
        return owned.recordId;
      }),
    );
    const doomed = done.filter((_, i) => i % 3 === 0);
    for (const id of doomed) await fixture.expireRecord(id);
    const swept = await Promise.all([here.sweep(15), there.sweep(15)]);
    let count = swept[0] + swept[1];
    while (count < doomed.length) {
      count += await here.sweep(15);
      await sleep(1);
    }
    expect(count).toBe(doomed.length);
    expect(await here.sweep(100)).toBe(0);
    for (const id of done) {
      const isLeft = !doomed.includes(id);
      expect({ id, left: (await fixture.record(id)) !== null }).toEqual({ id, left: isLeft });
      expect({ id, steps: (await fixture.steps(id)).length }).toEqual({ id, steps: isLeft ? 1 : 0 });
    }
    expect(await here.forget(done[1])).toBe(true);
    expect(await fixture.steps(done[1])).toEqual([]);
  });
});
