import { aClaim, StoreFixture, COMPLETION, HELD, BACKENDS, ownership } from './support.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';

const POSTGRES = BACKENDS[0];

/** Which commits wait for the disk, as a trigger sees it in the statement's own transaction. */
describe('PostgreSQL waits for the disk', () => {
  let fixture: StoreFixture;
  let store: SqlRecordStore;

  beforeAll(async () => {
    fixture = await StoreFixture.open(POSTGRES, { extra: { max: 1 } });
    store = fixture.store();
    await fixture.dataSource.query(`
      CREATE TABLE waited (id uuid, operation text, setting text);
      CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO waited VALUES (NEW.id, TG_OP, current_setting('synchronous_commit')); RETURN NEW;
      END $$;
      CREATE TRIGGER note BEFORE INSERT OR UPDATE ON idempotency_record FOR EACH ROW EXECUTE FUNCTION note();`);
  });
  afterAll(() => fixture?.close());

  const noted = async (recordId: string): Promise<string[]> => {
    const rows: { operation: string; setting: string }[] = await fixture.dataSource.query(
      'SELECT operation, setting FROM waited WHERE id = $1',
      [recordId],
    );
    return rows.map(({ operation, setting }) => `${operation} ${setting}`);
  };

  it('at a claim, for effects elsewhere may follow it', async () => {
    const claim = aClaim();
    await store.claim(claim);
    expect(await noted(claim.recordId)).toEqual(['INSERT on']);
  });

  it('not at a claim that a crash of its own may forget, but at its completion on the same connection', async () => {
    const claim = aClaim({ asyncCommit: true });
    const owned = ownership(await store.claim(claim));
    expect(await store.complete(owned, COMPLETION)).toEqual(HELD);
    expect(await noted(claim.recordId)).toEqual(['INSERT off', 'UPDATE on']);
  });

  it('at a batch of claims if one of them has to', async () => {
    const asyncCommit = Array.from({ length: 3 }, () => aClaim({ asyncCommit: true }));
    const claims = [...asyncCommit, aClaim()];
    await Promise.all(claims.map((claim) => store.claim(claim)));
    const settings = await Promise.all(claims.map((claim) => noted(claim.recordId)));
    expect(settings).toEqual(claims.map(() => ['INSERT on']));
    const others = Array.from({ length: 3 }, () => aClaim({ asyncCommit: true }));
    await Promise.all(others.map((claim) => store.claim(claim)));
    expect(await noted(others[1].recordId)).toEqual(['INSERT off']);
  });
});
