import { randomUUID } from 'node:crypto';
import { DataSource, type QueryRunner } from 'typeorm';
import { connectorFor } from '../../../lib/store/connectors/index.js';
import { IDEMPOTENCY_ENTITIES } from '../../../lib/store/entities/index.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import { startMariadb } from '../../support/servers.mjs';
import { aClaim, again, backendOf, COMPLETION, HELD, HOUR, ownership, StoreFixture } from './support.js';

const CONNECTIONS = 8;

/**
 * What a handler may leave on a connection that returns to its pool. TypeORM's `release()` does not roll back: `if (done) return`
 * between `startTransaction()` and `commitTransaction()` is enough.
 */
const LEFT = {
  'an open transaction': async (runner: QueryRunner) => {
    await runner.startTransaction('REPEATABLE READ');
    // Its snapshot.
    await runner.query('SELECT count(*) FROM idempotency_record');
  },
  'a failed transaction': async (runner: QueryRunner) => {
    await runner.startTransaction();
    await runner.query('SELECT nothing').catch(() => undefined);
  },
  // Refused on a connection that is still in the one before.
  'a distributed transaction': async (runner: QueryRunner) => {
    const branch = randomUUID();
    const begun = runner.query(`XA START '${branch}'`).then(() => runner.query(`XA END '${branch}'`));
    await begun.catch(() => undefined);
  },
  'locked tables': (runner: QueryRunner) => runner.query('LOCK TABLES effect READ'),
} as const;

/** By default, statements on MariaDB take connections of the data source when all of the store's own are in use. */
describe.each([
  ['postgres', 0, 'an open transaction'],
  ['postgres', 0, 'a failed transaction'],
  ['mariadb', 0, 'an open transaction'],
  ['mariadb', 4, 'an open transaction'],
  ['mariadb', 4, 'locked tables'],
  ['mariadb', 0, 'a distributed transaction'],
  ['mariadb', 4, 'a distributed transaction'],
] as const)('Connections of %s that handlers have left, storeConnections %i: %s', (dialect, own, what) => {
  let fixture: StoreFixture;
  let dataSource: DataSource;
  let store: SqlRecordStore;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf(dialect));
    await fixture.dataSource.query('CREATE TABLE effect (id varchar(36) PRIMARY KEY)');
    dataSource = await fixture.connect({ poolSize: CONNECTIONS });
    store = fixture.store({ dataSource, connector: connectorFor(dataSource, own) });
  });
  afterAll(() => fixture?.close());

  /** Leaves all connections of the pool so. */
  async function leave(): Promise<void> {
    const runners = Array.from({ length: CONNECTIONS }, () => dataSource.createQueryRunner());
    await Promise.all(runners.map((runner) => runner.connect()));
    // What was left before. A distributed transaction stays, and its connection is as it should be left.
    await Promise.all(runners.map((runner) => runner.query('ROLLBACK').catch(() => undefined)));
    await Promise.all(runners.map((runner) => LEFT[what](runner)));
    await Promise.all(runners.map((runner) => runner.release()));
  }

  /** Runs so much at once that the store's own connections do not suffice. */
  const many = <T>(work: (i: number) => Promise<T>) =>
    Promise.all(Array.from({ length: 2 * CONNECTIONS }, (_, i) => work(i)));

  const committed = async (status: string) => {
    const rows = await fixture.dataSource.query(`SELECT id FROM idempotency_record WHERE status = '${status}'`);
    return (rows as unknown[]).length;
  };

  it('keep no claim, no completion and no step from being committed, and show no old ones', async () => {
    const rival = fixture.store();
    await leave();
    const records = await many(() => store.claim(aClaim()));
    expect(await committed('processing')).toBe(records.length);
    const ours = records.map(ownership);
    await leave();
    expect(await many((i) => store.renew(ours[i], HOUR))).toEqual(ours.map(() => HELD));
    await leave();
    expect(await many((i) => store.steps.begin(ours[i], 'charge'))).toEqual(ours.map(() => HELD));
    await leave();
    await Promise.all(ours.map((one) => rival.steps.end(one, 'charge', { status: 'done', result: '1' })));
    const steps = await many((i) => store.steps.load(ours[i].recordId));
    expect(steps).toEqual(ours.map(() => [{ name: 'charge', status: 'done', result: '1' }]));
    await leave();
    expect(await many((i) => store.complete(ours[i], COMPLETION))).toEqual(ours.map(() => HELD));
    expect(await committed('done')).toBe(ours.length);
    await leave();
    const others = await Promise.all(ours.map(() => rival.claim(aClaim())));
    const seen = await many((i) => store.read(others[i].recordId));
    expect(seen.map((record) => record?.status)).toEqual(others.map(() => 'processing'));
    await leave();
    expect(await many((i) => store.forget(others[i].recordId))).toEqual(others.map(() => true));
    await leave();
    expect(await store.sweep(10)).toBe(0);
    expect(await committed('processing')).toBe(0);
  });
});

/** As of an application whose pool prepares each connection. */
async function prepared(fixture: StoreFixture, statement: string): Promise<DataSource> {
  const dataSource = await fixture.connect({ poolSize: 2 });
  const { pool } = dataSource.driver as unknown as {
    pool: { on(event: string, listener: (connection: { query(sql: string, done: () => void): void }) => void): void };
  };
  pool.on('connection', (connection) => connection.query(statement, () => undefined));
  // It has opened one before.
  await dataSource.query(statement);
  return dataSource;
}

// A request that waited got the outcome, and the transaction with it was rolled back.
test.each([0, 4])(
  'READ UNCOMMITTED sessions of MariaDB show no outcome before its COMMIT, storeConnections %i',
  async (own) => {
    const fixture = await StoreFixture.open(backendOf('mariadb'));
    try {
      const dataSource = await prepared(fixture, 'SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED');
      const store = fixture.store({ dataSource, connector: connectorFor(dataSource, own) });
      const claim = aClaim();
      const ours = ownership(await store.claim(claim));
      const seen = fixture.store().transaction(async (within) => {
        expect(await within.complete(ours, COMPLETION)).toEqual(HELD);
        const record = await store.read(claim.recordId);
        throw new Error(`seen as ${record?.status}`);
      });
      await expect(seen).rejects.toThrow('seen as processing');
    } finally {
      await fixture.close();
    }
  },
);

// The limit holds for SHOW, too: the store took the server for one that keeps the transaction, and a handler's writes half stayed.
test('A MariaDB whose sessions limit what a SELECT returns is known for what it is', async () => {
  const server = await startMariadb({ settings: ['--innodb-rollback-on-timeout=ON'] });
  const dataSource = new DataSource({
    type: 'mariadb',
    host: '127.0.0.1',
    port: server.port,
    username: 'root',
    database: 'test',
    entities: [...IDEMPOTENCY_ENTITIES],
  });
  const connector = connectorFor(dataSource, 4);
  try {
    await dataSource.initialize();
    await dataSource.query('SET GLOBAL sql_select_limit = 1');
    await connector.alone(async () => undefined);
    expect(connector.endsTransaction!(Object.assign(new Error('Lock wait timeout'), { errno: 1205 }))).toBe(true);
  } finally {
    await connector.close!();
    await dataSource.destroy();
    await server.dispose();
  }
});

// A lease was over before its handler began, and an outcome expired before it was sent: retries ran.
test.each([0, 4])(
  'Sessions of MySQL and MariaDB that a handler has left at another time, storeConnections %i',
  async (own) => {
    const fixture = await StoreFixture.open(backendOf('mariadb'));
    try {
      const dataSource = await prepared(fixture, 'SET timestamp = 1000000000');
      const store = fixture.store({ dataSource, connector: connectorFor(dataSource, own) });
      const rival = fixture.store();
      const claim = aClaim();
      const ours = ownership(await store.claim(claim));
      expect((await rival.read(claim.recordId))?.leaseLeftMs).toBeGreaterThan(20_000);
      expect(await store.renew(ours, HOUR)).toEqual(HELD);
      expect((await rival.read(claim.recordId))?.leaseLeftMs).toBeGreaterThan(HOUR / 2);
      expect(await store.transaction((within) => within.complete(ours, COMPLETION))).toEqual(HELD);
      expect(await rival.read(claim.recordId)).toMatchObject({ status: 'done' });
      await dataSource.query('SET timestamp = 2000000000');
      expect(await store.sweep(10)).toBe(0);
    } finally {
      await fixture.close();
    }
  },
);

// Each claim was refused, because it stays uncommitted in such a session.
test("The store's own connections commit, where a MariaDB or its application begins sessions without autocommit", async () => {
  const fixture = await StoreFixture.open(backendOf('mariadb'));
  try {
    const dataSource = await prepared(fixture, 'SET autocommit = 0');
    const store = fixture.store({ dataSource });
    const claim = aClaim();
    const ours = ownership(await store.claim(claim));
    expect(await store.complete(ours, COMPLETION)).toEqual(HELD);
    expect(await fixture.store().claim(again(claim))).toMatchObject({ status: 'done' });
    expect(await store.forget(randomUUID())).toBe(false);
  } finally {
    await fixture.close();
  }
});
