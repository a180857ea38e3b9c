import type { Connector } from '../../../lib/store/connectors/connector.js';
import { connectorFor } from '../../../lib/store/connectors/index.js';
import type { MysqlConnection } from '../../../lib/store/dialects/mysql.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import { aClaim, again, StoreFixture, COMPLETION, HELD, backendOf, OUTCOME, ownership } from './support.js';

/** What is asked of MySQL, which has no RETURNING, asked of MariaDB. */
describe('The statements for MySQL', () => {
  let fixture: StoreFixture;
  let store: SqlRecordStore;
  let afterInsert: () => Promise<unknown> = async () => undefined;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf('mariadb'));
    const connector = connectorFor(fixture.dataSource) as Connector<MysqlConnection>;
    const execute = (on: MysqlConnection) => async (sql: string, values: readonly unknown[]) => {
      expect(sql).not.toContain('RETURNING');
      const answer = await on.execute(sql, values);
      if (sql.startsWith('INSERT')) await afterInsert();
      return answer;
    };
    const alone = connector.alone.bind(connector);
    connector.alone = (work) => alone((on) => work({ ...on, returning: false, execute: execute(on) }));
    store = fixture.store({ connector });
  });
  afterAll(() => fixture?.close());
  afterEach(() => (afterInsert = async () => undefined));

  it('claim what is free, and say who has what is not', async () => {
    const claim = aClaim();
    expect(await store.claim(claim)).toMatchObject({ owner: claim.owner, status: 'processing', token: 1, attempt: 1 });
    expect(await store.claim(again(claim))).toMatchObject({ owner: claim.owner, token: 1 });
    // Its own, whose answer was lost.
    expect(await store.claim(claim)).toMatchObject({ owner: claim.owner, token: 1 });
  });

  it('take over, and find what was recorded', async () => {
    const claim = aClaim();
    await store.claim(claim);
    await fixture.expireLease(claim.recordId);
    const next = again(claim);
    const taken = await store.claim(next);
    expect(taken).toMatchObject({ owner: next.owner, token: 2, attempt: 2, takenFrom: 'processing' });
    expect(await store.complete(ownership(taken), COMPLETION)).toEqual(HELD);
    expect(await store.claim(again(claim))).toMatchObject({ status: 'done', outcome: OUTCOME });
  });

  it('ask again where the record was deleted before it was read', async () => {
    const claim = aClaim();
    let deletions = 1;
    afterInsert = async () => {
      if (deletions-- > 0)
        await fixture.dataSource.query(`DELETE FROM idempotency_record WHERE id = '${claim.recordId}'`);
    };
    expect(await store.claim(claim)).toMatchObject({ owner: claim.owner, status: 'processing', token: 1 });
    expect(deletions).toBe(-1);
    expect(await fixture.record(claim.recordId)).not.toBeNull();
  });

  it('find all steps where the session limits what a SELECT returns', async () => {
    const dataSource = await fixture.connect();
    const { pool } = dataSource.driver as unknown as { pool: NodeJS.EventEmitter };
    pool.on('connection', (client: { query(sql: string, done: () => void): void }) =>
      client.query('SET SESSION sql_select_limit = 1', () => undefined),
    );
    const limited = fixture.store({ dataSource });
    const ours = ownership(await limited.claim(aClaim()));
    for (const step of ['charge', 'ship']) {
      expect(await limited.steps.begin(ours, step)).toEqual(HELD);
      expect(await limited.steps.end(ours, step, { status: 'done', result: '1' })).toEqual(HELD);
    }
    const names = (await limited.steps.load(ours.recordId)).map(({ name }) => name);
    expect(names.sort()).toEqual(['charge', 'ship']);
  });
});
