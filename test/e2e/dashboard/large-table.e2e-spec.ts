import { randomUUID } from 'node:crypto';
import type { DataSource, Logger } from 'typeorm';
import { ScopeDigest } from '../../../lib/edges/caller/caller-digests.js';
import type { RecordPage } from '../../../lib/dashboard/contract.js';
import { RecordPages, type PageQuery } from '../../../lib/dashboard/record-pages.js';
import { IdempotencyRecord } from '../../../lib/store/entities/index.js';
import { IDEMPOTENCY_MIGRATIONS } from '../../../lib/store/migrations/index.js';
import { backendOf, StoreFixture } from '../store/support.js';

const RECORDS = 200_000;
/** Of each so many records, one is of another operation, held, or of the customer. */
const RARE = 997;

interface Plan {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Actual Loops': number;
  readonly 'Rows Removed by Filter'?: number;
  readonly Plans?: readonly Plan[];
}

/** Keeps what TypeORM asks, to be explained. */
class Statements implements Logger {
  readonly asked: [sql: string, parameters: unknown[]][] = [];

  logQuery(sql: string, parameters: unknown[] = []): void {
    if (sql.startsWith('SELECT') && sql.includes('idempotency_record')) this.asked.push([sql, parameters]);
  }

  logQueryError(): void {}
  logQuerySlow(): void {}
  logSchemaBuild(): void {}
  logMigration(): void {}
  log(): void {}
}

describe('A list of 200,000 records on PostgreSQL', () => {
  const statements = new Statements();
  const scopes = new ScopeDigest({});
  let fixture: StoreFixture;
  let dataSource: DataSource;
  let pages: RecordPages;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf('postgres'), {
      synchronize: false,
      migrations: [...IDEMPOTENCY_MIGRATIONS],
      migrationsRun: true,
      logger: statements,
      logging: true,
    });
    dataSource = fixture.dataSource;
    pages = new RecordPages(dataSource, scopes);
    // A day of requests, the last of them now.
    await dataSource.query(
      `INSERT INTO idempotency_record (id, owner, endpoint, fingerprint, status, token, attempt, hold_on_crash, awaited,
        lease_until, created_at, completed_at, expires_at, response_code, scope_digest)
      SELECT gen_random_uuid(), gen_random_uuid(),
        CASE WHEN i % ${RARE} = 1 THEN 'POST /refunds' ELSE 'POST /payments' END, sha256(i::text::bytea),
        CASE WHEN i % ${RARE} = 2 THEN 'held' ELSE 'done' END, 1, 1, false, false, at, at, at,
        date_trunc('minute', at + interval '24 h') + interval '1 minute', 201,
        CASE WHEN i % ${RARE} = 3 THEN $1::bytea END
      FROM (SELECT i, now() - (${RECORDS} - i) * interval '432 ms' AS at FROM generate_series(1, ${RECORDS}) i) one`,
      [scopes.of('customer')],
    );
    await dataSource.query('VACUUM ANALYZE idempotency_record');
  }, 60_000);
  afterAll(() => fixture?.close());

  const page = (query: Partial<PageQuery> = {}) => pages.page({ order: 'newest', limit: 100, ...query });

  /** All pages of a query, and how many requests they took. */
  async function walk(query: Partial<PageQuery>) {
    const ids: string[] = [];
    let requests = 0;
    for (let cursor: string | undefined; ; requests++) {
      const found = await page({ ...query, cursor });
      ids.push(...found.records.map(({ id }) => id));
      if (found.cursor === null) return { ids, requests: requests + 1, last: found };
      cursor = found.cursor;
    }
  }

  test('is read by index, a bounded number of records a statement', async () => {
    const first = await page();
    expect(first).toMatchObject({ orderedBy: 'expiry', partial: false });
    const heldOnes = await page({ status: 'held' });
    statements.asked.length = 0;
    await page({ cursor: first.cursor! });
    await page({ status: 'held', cursor: heldOnes.cursor! });
    await page({ status: 'processing', order: 'oldest' });
    await page({ operation: 'POST /none', minAgeMs: 3_600_000 });
    await page({ scope: 'customer' });
    await page({ scope: 'nobody', status: 'held' });
    const asked = statements.asked.splice(0);
    expect(asked.length).toBeGreaterThan(12);
    for (const [sql, parameters] of asked) {
      const [row] = await dataSource.query<{ 'QUERY PLAN': { Plan: Plan }[] }[]>(
        `EXPLAIN (ANALYZE, FORMAT JSON) ${sql}`,
        parameters,
      );
      const [{ Plan: plan }] = row['QUERY PLAN'];
      // 10,001 are counted, to recognize a large table, and 5,000 are a window.
      expect({ sql, most: Math.max(...readsOf(plan)) }).toEqual({ sql, most: expect.any(Number) });
      expect(Math.max(...readsOf(plan))).toBeLessThanOrEqual(10_001);
      if (sql.includes('ORDER BY')) expect({ sql, scans: scansOf(plan) }).toEqual({ sql, scans: [] });
    }
  });

  test('finds each record once, whatever the filter', async () => {
    const [{ count }] = await dataSource.query<{ count: string }[]>(
      `SELECT count(*) FROM idempotency_record WHERE endpoint = 'POST /refunds'`,
    );
    for (const order of ['newest', 'oldest'] as const) {
      const { ids, requests } = await walk({ operation: 'POST /refunds', order, limit: 70 });
      expect(ids.length).toBe(Number(count));
      expect(new Set(ids).size).toBe(ids.length);
      expect(requests).toBeGreaterThan(2);
    }
    const ofCustomer = await walk({ scope: 'customer', limit: 60 });
    expect(ofCustomer.last.orderedBy).toBe('created');
    expect(new Set(ofCustomer.ids).size).toBe(Math.floor((RECORDS - 3) / RARE) + 1);

    const seen = new Set<string>();
    let last = '';
    for (let cursor: string | undefined, i = 0; i < 20; i++) {
      const { records, cursor: next } = await page({ cursor, limit: 200 });
      const times = records.map(({ createdAt }) => createdAt);
      expect(times).toEqual(times.toSorted().reverse());
      // Within the minute that two pages share, either may have the newer ones.
      if (last) expect(Date.parse(times[0]) - Date.parse(last)).toBeLessThan(60_000);
      last = times.at(-1)!;
      for (const { id } of records) seen.add(id);
      cursor = next!;
    }
    expect(seen.size).toBe(4_000);
  });

  test('is cut into short pages by what no index serves', async () => {
    const { last, requests } = await walk({ operation: 'POST /none' });
    expect(last).toMatchObject({ records: [], partial: false, cursor: null });
    expect(requests).toBeLessThan(RECORDS / 5_000 + 2);
  });
});

/** What counts as large is set low: the statements are the same. */
describe.each(['mariadb', 'better-sqlite3'] as const)('A table that counts as large on %s', (dialect) => {
  const RECORDS = 300;
  const statuses = ['done', 'held', 'failed', 'processing'] as const;
  let fixture: StoreFixture;
  let pages: RecordPages;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf(dialect));
    pages = new RecordPages(fixture.dataSource, new ScopeDigest({}), { sorted: 20, window: 40, patienceMs: 0 });
    const now = Date.now();
    const instant = (minutes: number) => new Date(now + minutes * 60_000);
    await fixture.dataSource.getRepository(IdempotencyRecord).insert(
      Array.from({ length: RECORDS }, (_, i) => ({
        id: randomUUID(),
        owner: randomUUID(),
        endpoint: 'POST /',
        fingerprint: Buffer.alloc(32),
        token: 1,
        attempt: 1,
        holdOnCrash: i % 8 === 3,
        awaited: false,
        status: statuses[i % 4],
        leaseUntil: instant(i % 16 === 3 ? 1 : -1),
        createdAt: instant(-i),
        // Several to a minute, as PostgreSQL and MySQL have them.
        expiresAt: instant(60 - Math.floor(i / 7)),
      })),
    );
  });
  afterAll(() => fixture?.close());

  test.each([
    [undefined, RECORDS],
    ['done', RECORDS / 4],
    // With those whose owner died under `hold`.
    ['held', RECORDS / 4 + 19],
    ['processing', RECORDS / 4 - 19],
  ] as const)('finds each record of the status %s once', async (status, count) => {
    for (const order of ['newest', 'oldest'] as const) {
      const ids: string[] = [];
      let isPartial = false;
      for (let cursor: string | null | undefined; cursor !== null;) {
        const page: RecordPage = await pages.page({ status, order, limit: 13, cursor });
        expect(page.orderedBy).toBe('expiry');
        if (status) expect(page.records.filter((record) => record.status !== status)).toEqual([]);
        ids.push(...page.records.map(({ id }) => id));
        isPartial ||= page.partial;
        cursor = page.cursor;
      }
      expect([new Set(ids).size, ids.length]).toEqual([count, count]);
      expect(isPartial).toBe(status !== undefined);
    }
  });
});

test.each(['mariadb', 'better-sqlite3'] as const)(
  'A search skips nothing that is not swept meanwhile, on %s',
  async (dialect) => {
    const fixture = await StoreFixture.open(backendOf(dialect));
    const table = fixture.dataSource.getRepository(IdempotencyRecord);
    const now = Date.now();
    const ids = Array.from({ length: 60 }, () => randomUUID());
    await table.insert(
      ids.map((id, i) => ({
        id,
        owner: randomUUID(),
        endpoint: 'POST /',
        fingerprint: Buffer.alloc(32),
        token: 1,
        attempt: 1,
        holdOnCrash: false,
        awaited: false,
        status: 'done' as const,
        leaseUntil: new Date(now),
        createdAt: new Date(now),
        expiresAt: new Date(now + i * 1_000),
      })),
    );
    /** Between the two statements of a window, a sweeper deletes what expires first. */
    class SweptPages extends RecordPages {
      private isSwept = false;

      protected override async windowEnd(...of: Parameters<RecordPages['windowEnd']>) {
        const end = await super.windowEnd(...of);
        if (!this.isSwept) await table.delete(ids.slice(0, 10));
        this.isSwept = true;
        return end;
      }
    }
    const pages = new SweptPages(fixture.dataSource, new ScopeDigest({}), { sorted: 20, window: 20, patienceMs: 0 });
    const found: string[] = [];
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page: RecordPage = await pages.page({ status: 'done', order: 'oldest', limit: 30, cursor });
      found.push(...page.records.map(({ id }) => id));
      cursor = page.cursor;
    }
    expect(found.toSorted()).toEqual(ids.slice(10).toSorted());
    for (const at of ['----', '2024-99-99 00:00:00+00', 1.5]) {
      const [digest, by, , id] = JSON.parse(
        Buffer.from((await pages.page({ status: 'done', order: 'oldest', limit: 3 })).cursor!, 'base64url').toString(),
      ) as unknown[];
      const cursor = Buffer.from(JSON.stringify([digest, by, at, id])).toString('base64url');
      await expect(pages.page({ status: 'done', order: 'oldest', limit: 3, cursor })).rejects.toThrow(
        'The cursor belongs',
      );
    }
    await fixture.close();
  },
);

function all(plan: Plan): Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(all)];
}

function readsOf(plan: Plan): number[] {
  return all(plan).map((node) => (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops']);
}

function scansOf(plan: Plan): string[] {
  return all(plan)
    .filter((node) => node['Node Type'].includes('Seq Scan') && node['Relation Name'] === 'idempotency_record')
    .map((node) => node['Node Type']);
}
