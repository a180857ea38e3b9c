import type { EntityManager, QueryRunner } from 'typeorm';
import type { Ownership } from '../../../lib/engine/ports/record-store.js';
import { until } from '../../support/until.js';
import {
  aClaim,
  again,
  backendOf,
  StoreFixture,
  COMPLETION,
  HELD,
  HOUR,
  OUTCOME,
  ownership,
  SECOND,
} from './support.js';

/** More than a default pool has connections. */
const MANY = 12;

/** Ten rows. Only MariaDB has tables of numbers. */
const DIGITS = `(${Array(10).fill('SELECT 1').join(' UNION ALL ')})`;

const NEIGHBOURS = `INSERT INTO idempotency_record (id, owner, endpoint, fingerprint, status, token, attempt, hold_on_crash,
    awaited, lease_until, created_at, expires_at, attempts_left, retention_ms)
  SELECT LOWER(INSERT(INSERT(INSERT(INSERT(LEFT(SHA2(seq, 256), 32), 9, 0, '-'), 14, 0, '-'), 19, 0, '-'), 24, 0, '-')), UUID(), 'POST /payments', '', 'done', 1, 1, 0, 0, 0, 0, 4102444800000, 4, 86400000
  FROM (SELECT ROW_NUMBER() OVER () AS seq FROM ${DIGITS} a, ${DIGITS} b, ${DIGITS} c, ${DIGITS} d, (SELECT 1 UNION ALL SELECT 2) e) n`;

describe.each(['postgres', 'mariadb'] as const)('Rows that others have locked, %s', (dialect) => {
  let fixture: StoreFixture;
  let store: ReturnType<StoreFixture['store']>;
  let operator: QueryRunner;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf(dialect));
    // A transaction that waits for a row of InnoDB's also keeps others from inserting just before it: in an empty table, all of them.
    if (dialect === 'mariadb') await fixture.dataSource.query(NEIGHBOURS);
  });
  afterAll(() => fixture?.close());

  beforeEach(async () => {
    store = fixture.store();
    operator = (await fixture.connect()).createQueryRunner();
  });
  afterEach(async () => {
    if (operator?.isTransactionActive) await operator.rollbackTransaction();
    await operator?.release();
  });

  /** An open transaction, as of an operator at a prompt, or of a backup. */
  async function lock(recordIds: readonly string[]): Promise<void> {
    await operator.startTransaction();
    const ids = recordIds.map((id) => `'${id}'`).join(', ');
    await operator.query(`SELECT id FROM idempotency_record WHERE id IN (${ids}) FOR UPDATE`);
  }

  const unlock = () => operator.rollbackTransaction();

  async function owned(count: number): Promise<Ownership[]> {
    return Promise.all(Array.from({ length: count }, async () => ownership(await store.claim(aClaim()))));
  }

  /** Lives of records from claim to completion, several at a time. */
  async function lives(count: number): Promise<void> {
    let left = count;
    const client = async () => {
      while (left-- > 0) {
        expect(await store.complete(ownership(await store.claim(aClaim())), COMPLETION)).toEqual(HELD);
      }
    };
    await Promise.all(Array.from({ length: 8 }, client));
  }

  it('hold up claims of themselves, not of others', async () => {
    const claims = Array.from({ length: MANY }, () => aClaim());
    for (const claim of claims) await store.release(ownership(await store.claim(claim)), HOUR);
    await lock(claims.map(({ recordId }) => recordId));
    let over = false;
    let refused = 0;
    const duplicates = claims.map(async (claim) => {
      while (!over) await store.claim(again(claim)).catch(() => refused++);
    });
    await lives(100);
    await until(() => refused >= MANY);
    await lives(300);
    over = true;
    await unlock();
    await Promise.all(duplicates);
    expect(await store.claim(again(claims[0]))).toMatchObject({ status: 'processing' });
  });

  it('hold up completions of themselves, not of others that come with them', async () => {
    const ownerships = await owned(12);
    const [locked, free] = [ownerships.slice(0, 2), ownerships.slice(2)];
    await lock(locked.map(({ recordId }) => recordId));
    const completed = new Set<string>();
    const completions = ownerships.map((ours) =>
      store.complete(ours, COMPLETION).then(
        ({ held }) => held && completed.add(ours.recordId),
        () => undefined,
      ),
    );
    await until(() => free.every(({ recordId }) => completed.has(recordId)));
    await lives(50);
    expect(locked.filter(({ recordId }) => completed.has(recordId))).toEqual([]);
    await unlock();
    await Promise.all(completions);
    for (const ours of locked) {
      if (!completed.has(ours.recordId)) expect(await store.complete(ours, COMPLETION)).toEqual(HELD);
      expect(await store.read(ours.recordId)).toMatchObject({ status: 'done', outcome: OUTCOME });
    }
  });

  it('are waited for by releases, renewals, discards and steps, which leave the connections to others', async () => {
    const ownerships = await owned(MANY);
    await lock(ownerships.map(({ recordId }) => recordId));
    const ways = [
      (ours: Ownership) => store.release(ours, HOUR),
      (ours: Ownership) => store.discard(ours),
      (ours: Ownership) => store.renew(ours, 60 * SECOND),
      (ours: Ownership) => store.steps.begin(ours, 'charge'),
    ];
    let ended = 0;
    const asked = ownerships.map(async (ours, i) => {
      const answer = await ways[i % ways.length](ours);
      ended++;
      return answer;
    });
    await lives(dialect === 'postgres' ? 200 : 20);
    expect(ended).toBe(0);
    await unlock();
    expect((await Promise.all(asked)).filter(({ held }) => !held)).toEqual([]);
  });

  it('that only another claim has locked for a moment cause no error', async () => {
    const other = fixture.store({ dataSource: await fixture.connect() });
    const claims = Array.from({ length: 200 }, () => aClaim());
    const records = await Promise.all(
      claims.flatMap((claim) => [store.claim(again(claim)), other.claim(again(claim)), store.claim(again(claim))]),
    );
    for (const { recordId } of claims) {
      const owners = records.filter((record) => record.recordId === recordId).map(({ owner }) => owner);
      expect(new Set(owners).size).toBe(1);
    }
  });

  it('cost an application’s transaction no setting of its own', async () => {
    const ours = ownership(await store.claim(aClaim()));
    const ask = dialect === 'postgres' ? 'SHOW lock_timeout' : 'SELECT @@innodb_lock_wait_timeout AS lock_timeout';
    const before = await fixture.dataSource.query(ask);
    const answer = await store.transaction(async (transaction) => {
      const held = await transaction.complete(ours, COMPLETION);
      expect(await (transaction.manager as EntityManager).query(ask)).toEqual(before);
      return held;
    });
    expect(answer).toEqual(HELD);
    expect(await fixture.dataSource.query(ask)).toEqual(before);
  });
});

// ALTER TABLE, or a backup, locks the table for all. Statements took every connection of the data source, and waited without a limit.
test('A table of MariaDB that others have locked does not take all connections of the data source', async () => {
  const fixture = await StoreFixture.open(backendOf('mariadb'));
  try {
    const store = fixture.store();
    const operator = (await fixture.connect()).createQueryRunner();
    await store.claim(aClaim());
    await operator.query('LOCK TABLES idempotency_record WRITE');
    const claims = Array.from({ length: 2 * MANY }, () => aClaim());
    const answers = await Promise.allSettled(claims.map((claim) => store.claim(claim)));
    expect(answers.filter(({ status }) => status === 'fulfilled')).toEqual([]);
    expect(await fixture.dataSource.query('SELECT 1 AS one')).toMatchObject([{ one: expect.anything() }]);
    await operator.query('UNLOCK TABLES');
    await operator.release();
    expect(await store.claim(again(claims[0]))).toMatchObject({ status: 'processing' });
  } finally {
    await fixture.close();
  }
});
