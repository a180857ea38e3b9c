import type { DataSource } from 'typeorm';
import {
  aClaim,
  again,
  type Backend,
  BACKENDS,
  COMPLETION,
  HELD,
  LOST,
  OUTCOME,
  ownership,
  SECOND,
  StoreFixture,
} from './support.js';

const EVENTS = ['INSERT', 'UPDATE', 'DELETE'] as const;
const TABLES = { idempotency_record: 'id', idempotency_step: 'record_id' } as const;

/** Writes each change to a table with generated keys, as audits and replication by triggers do. */
async function audit(dataSource: DataSource, { dialect }: Backend): Promise<void> {
  const key = { postgres: 'bigserial', mariadb: 'bigint AUTO_INCREMENT', 'better-sqlite3': 'integer' }[dialect];
  await dataSource.query(`CREATE TABLE audit (n ${key} PRIMARY KEY, what varchar(40), id varchar(36))`);
  for (const [table, id] of Object.entries(TABLES)) {
    for (const event of EVENTS) {
      const row = event === 'DELETE' ? 'OLD' : 'NEW';
      const insert = `INSERT INTO audit (what, id) VALUES ('${event} ${table}', ${row}.${id})`;
      const name = `audit_${table}_${event}`.toLowerCase();
      if (dialect === 'postgres') {
        await dataSource.query(
          `CREATE FUNCTION ${name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${insert}; RETURN NULL; END $$`,
        );
      }
      const body = {
        postgres: `EXECUTE FUNCTION ${name}()`,
        mariadb: insert,
        'better-sqlite3': `BEGIN ${insert}; END`,
      }[dialect];
      await dataSource.query(`CREATE TRIGGER ${name} AFTER ${event} ON ${table} FOR EACH ROW ${body}`);
    }
  }
}

// On MySQL, a statement of a trigger took the place of the id by which a statement said whether it had found its row: every
// lease was lost at its first renewal, and every transactional operation was rolled back.
describe.each([
  ...BACKENDS.map((backend) => [backend, {}] as const),
  [BACKENDS.find(({ dialect }) => dialect === 'mariadb')!, { flags: ['-FOUND_ROWS'] }] as const,
])('Triggers that audit the tables, %p %p', (backend, options) => {
  let fixture: StoreFixture;
  beforeAll(async () => {
    fixture = await StoreFixture.open(backend, options);
    await audit(fixture.dataSource, backend);
  });
  afterAll(() => fixture?.close());

  it('change no answer', async () => {
    const store = fixture.store();
    const claim = aClaim();
    const ours = ownership(await store.claim(claim));
    // More than once in a millisecond, perhaps. Whether a request waits is not known everywhere.
    for (let i = 0; i < 4; i++) expect((await store.renew(ours, 60 * SECOND)).held).toBe(true);
    expect(await store.steps.begin(ours, 'charge')).toEqual(HELD);
    expect(await store.steps.end(ours, 'charge', { status: 'done', result: '1' })).toEqual(HELD);
    await fixture.expireLease(claim.recordId);
    const heir = ownership(await store.claim(again(claim)));
    expect(heir.token).toBe(2);
    expect([await store.renew(ours, SECOND), await store.complete(ours, COMPLETION)]).toEqual([LOST, LOST]);
    const completed = await store.transaction((transaction) => transaction.complete(heir, COMPLETION));
    expect(completed.held).toBe(true);
    expect(await store.claim(again(claim))).toMatchObject({ status: 'done', token: 2, outcome: OUTCOME });

    const [plain, released, held, discarded] = await Promise.all(
      Array.from({ length: 4 }, () => store.claim(aClaim())),
    );
    expect((await store.complete(ownership(plain), COMPLETION)).held).toBe(true);
    expect((await store.release(ownership(released), SECOND)).held).toBe(true);
    expect((await store.hold(ownership(held))).held).toBe(true);
    expect((await store.discard(ownership(discarded))).held).toBe(true);
    expect(await store.resolveHeld(held.recordId, null)).toBe(true);
    expect(await store.forget(claim.recordId)).toBe(true);
    expect(((await fixture.dataSource.query('SELECT n FROM audit')) as unknown[]).length).toBeGreaterThan(10);
  });
});
