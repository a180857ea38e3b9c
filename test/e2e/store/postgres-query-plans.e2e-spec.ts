import type { Claim } from '../../../lib/engine/ports/record-store.js';
import { postgresStatements } from '../../../lib/store/dialects/postgres.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import { IDEMPOTENCY_MIGRATIONS } from '../../../lib/store/migrations/index.js';
import { aClaim, again, StoreFixture, COMPLETION, BACKENDS, ownership } from './support.js';

interface Plan {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'WAL Records'?: number;
  readonly Plans?: readonly Plan[];
}

const statements: Record<string, string> = postgresStatements({
  record: 'idempotency_record',
  step: 'idempotency_step',
});

describe('On PostgreSQL', () => {
  const [postgres] = BACKENDS;
  const RECORDS = 20_000;
  let fixture: StoreFixture;
  let store: SqlRecordStore;

  beforeAll(async () => {
    fixture = await StoreFixture.open(postgres, {
      synchronize: false,
      migrations: [...IDEMPOTENCY_MIGRATIONS],
      migrationsRun: true,
    });
    store = fixture.store();
    await fill(RECORDS, '1 day');
    await fixture.dataSource.query('VACUUM ANALYZE idempotency_record');
  });
  afterAll(() => fixture?.close());

  const fill = (count: number, expiresIn: string) =>
    fixture.dataSource.query(`
      INSERT INTO idempotency_record (id, owner, endpoint, fingerprint, status, token, attempt, hold_on_crash, awaited,
        lease_until, created_at, completed_at, expires_at, response_code)
      SELECT gen_random_uuid(), gen_random_uuid(), 'POST /payments', sha256(i::text::bytea), 'done', 1, 1, false, false,
        now(), now(), now(), now() + interval '${expiresIn}', 201 FROM generate_series(1, ${count}) i`);

  async function completed(): Promise<Claim> {
    const claim = aClaim();
    await store.complete(ownership(await store.claim(claim)), COMPLETION);
    return claim;
  }

  /** Which version of the row stands, and who has locked it. */
  async function version({ recordId }: Claim): Promise<unknown> {
    const rows: unknown[] = await fixture.dataSource.query(
      'SELECT ctid::text, xmin::text, xmax::text FROM idempotency_record WHERE id = $1',
      [recordId],
    );
    return rows[0];
  }

  async function explain(name: string, values: readonly string[], options = ''): Promise<Plan> {
    const runner = fixture.dataSource.createQueryRunner();
    try {
      await runner.query(`PREPARE statement AS ${statements[name]}`);
      // The plan that is kept for all values, as is the one of a statement that is prepared by name.
      await runner.query('SET plan_cache_mode = force_generic_plan');
      const [row] = await runner.query(`EXPLAIN (${options} FORMAT JSON) EXECUTE statement(${values.join(', ')})`);
      return (row['QUERY PLAN'] as { Plan: Plan }[])[0].Plan;
    } finally {
      await runner.query('DEALLOCATE ALL');
      await runner.query('RESET plan_cache_mode');
      await runner.release();
    }
  }

  const explainClaim = ({ recordId, owner, fingerprint }: Claim) => {
    const values = [
      recordId,
      owner,
      'POST /',
      null,
      null,
      `\\\\x${fingerprint.toString('hex')}`,
      null,
      null,
      0,
      4,
      30_000,
      86_400_000,
    ];
    const arrays = values.map((value) => (value === null ? `'{NULL}'` : `'{"${value}"}'`));
    return explain('claim', arrays, 'ANALYZE, WAL,');
  };

  it('a replay writes nothing and locks nothing', async () => {
    const claims = await Promise.all(Array.from({ length: 20 }, completed));
    const [claim] = claims;
    const before = await Promise.all(claims.map(version));
    for (const answer of await Promise.all(claims.map((one) => store.claim(again(one))))) {
      expect(answer.status).toBe('done');
    }
    await store.read(claim.recordId);
    expect(await Promise.all(claims.map(version))).toEqual(before);

    // The first to read a row notes on its page that it is committed.
    await explainClaim(again(claim));
    expect((await explainClaim(again(claim)))['WAL Records'] ?? 0).toBe(0);
    expect((await explainClaim(aClaim()))['WAL Records']).toBeGreaterThan(0);
  });

  const BY_ID = [
    'claim',
    'claimAsync',
    'complete',
    'completeWithin',
    'takeOver',
    'read',
    'renew',
    'renewLeaseRow',
    'markLeaseRowAwaited',
    'endLease',
    'discard',
    'putStep',
  ];
  const TABLES = ['idempotency_record', 'idempotency_step'];

  it('the records of a scope are found by their index', async () => {
    const plans = flatten(await explain('findByScope', [`'{"\\\\x00"}'`, '1000']));
    expect(plans.map((node) => node['Index Name'])).toContainEqual(expect.stringMatching(/^IDX_/));
    const deleting = flatten(await explain('forgetMany', ['NULL']));
    expect([...plans, ...deleting].map((node) => node['Node Type'])).not.toContain('Seq Scan');
  });

  describe.each([
    ['that is full', async () => undefined],
    [
      'that was emptied and vacuumed',
      async () => {
        await fixture.dataSource.query('TRUNCATE idempotency_record');
        await fill(2_000, '-1 hour');
        while ((await store.sweep(1_000)) > 0);
        await fixture.dataSource.query('VACUUM idempotency_record');
      },
    ],
  ])('in a table %s', (_, prepare) => {
    beforeAll(prepare);

    it.each(BY_ID)('%s goes by the primary key', async (name) => {
      const parameters = Math.max(...[...statements[name].matchAll(/\$(\d+)/g)].map(([, n]) => Number(n)));
      const plan = await explain(name, Array<string>(parameters).fill('NULL'));
      const scans = flatten(plan).filter(
        (node) => TABLES.includes(node['Relation Name'] ?? '') && node['Node Type'].includes('Scan'),
      );
      expect(scans.length).toBeGreaterThan(0);
      for (const scan of scans) {
        expect(scan['Node Type']).toMatch(/^Index (Only )?Scan$/);
        expect(scan['Index Name']).toMatch(/^PK_/);
      }
    });
  });
});

function flatten(plan: Plan): Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(flatten)];
}
