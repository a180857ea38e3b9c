import { ScopeDigest } from '../../../lib/edges/caller/caller-digests.js';
import { until } from '../../support/until.js';
import { aClaim, backendOf, StoreFixture, COMPLETION, HOUR, ownership, SECOND } from './support.js';

describe('The records of a scope, on PostgreSQL', () => {
  let fixture: StoreFixture;
  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf('postgres'));
  });
  afterAll(() => fixture?.close());

  // A statement that waits for a lock looks at the leases as they were when it began.
  it('keep the one whose lease is being renewed', async () => {
    const store = fixture.store();
    const digest = new ScopeDigest({}).of('7')!;
    for (let round = 0; round < 5; round++) {
      const owner = ownership(await store.claim(aClaim({ scopeDigest: digest })));
      await fixture.age(owner.recordId, 'lease_until', HOUR);
      let forgetting: Promise<unknown> | undefined;
      await fixture.dataSource.transaction(async (manager) => {
        await manager.query(`SELECT 1 FROM idempotency_record WHERE id = '${owner.recordId}' FOR UPDATE`);
        forgetting = store.forgetScope([digest], 100);
        await until(async () => {
          const waiting: unknown = await fixture.dataSource.query(
            `SELECT 1 FROM pg_locks WHERE locktype IN ('transactionid', 'tuple') AND NOT granted`,
          );
          return (waiting as unknown[]).length > 0;
        });
        await manager.query(
          `INSERT INTO idempotency_step (record_id, name, status, token, updated_at)
           VALUES ('${owner.recordId}', '', 'running', ${owner.token}, now() + interval '1 hour')`,
        );
      });
      await forgetting;
      expect((await store.renew(owner, 30 * SECOND, true)).held).toBe(true);
      expect((await store.complete(owner, COMPLETION)).held).toBe(true);
      expect(await store.forgetScope([digest], 100)).toEqual({ found: 1, forgotten: 1 });
      expect(await fixture.steps(owner.recordId)).toEqual([]);
    }
  });
});
