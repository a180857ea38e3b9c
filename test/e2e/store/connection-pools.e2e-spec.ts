import { randomBytes, randomUUID } from 'node:crypto';
import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';
import { CommitUnknownError, StoreUnavailableError } from '../../../lib/engine/errors.js';
import type { Connector } from '../../../lib/store/connectors/connector.js';
import { connectorFor } from '../../../lib/store/connectors/index.js';
import type { MysqlConnection } from '../../../lib/store/dialects/mysql.js';
import type { PgConnection } from '../../../lib/store/dialects/postgres.js';
import { PostgresWakeUp } from '../../../lib/store/postgres-wake-up.js';
import type { TransactionHost } from '../../../lib/store/transactions/transaction-host.js';
import { createDatabase } from '../../support/database.js';
import { TcpProxy } from '../../support/proxy.js';
import { until } from '../../support/until.js';
import { aClaim, backendOf, StoreFixture, COMPLETION, HELD, HOUR, ownership, SECOND } from './support.js';

type NetworkDialect = 'postgres' | 'mariadb';
const DIALECTS: readonly NetworkDialect[] = ['postgres', 'mariadb'];

/** A driver's client, as its pool reports it. */
interface Client {
  query(sql: string, done: (error: Error | null) => void): void;
}

interface DriverPool {
  on(event: string, listener: (client: Client) => void): void;
  off(event: string, listener: (client: Client) => void): void;
}

/** The data source's pool; the store's own reports its connections to it. */
function poolOf({ driver }: DataSource): DriverPool {
  const { master, pool } = driver as unknown as { master?: DriverPool; pool?: DriverPool };
  return (master ?? pool)!;
}

describe.each(DIALECTS)('Connections to a primary that was demoted, %s', (dialect) => {
  const readOnly = {
    postgres: 'SET default_transaction_read_only = on',
    mariadb: 'SET SESSION TRANSACTION READ ONLY',
  }[dialect];
  const event = { postgres: 'connect', mariadb: 'connection' }[dialect];
  const demote = (client: Client) => client.query(readOnly, () => undefined);
  let fixture: StoreFixture;

  beforeEach(async () => {
    fixture = await StoreFixture.open(backendOf(dialect));
    await fixture.dataSource.query('CREATE TABLE effect (id varchar(36) PRIMARY KEY)');
  });
  afterEach(() => fixture?.close());

  const insert = (on: DataSource | EntityManager) => on.query(`INSERT INTO effect VALUES ('${randomUUID()}')`);

  /** A data source whose connections lead to a server that may not write any more; new ones lead to one that may. */
  async function afterFailover(options: object, meanwhile: (dataSource: DataSource) => Promise<unknown>) {
    const dataSource = await fixture.connect(options);
    await dataSource.query(readOnly);
    poolOf(dataSource).on(event, demote);
    await meanwhile(dataSource);
    poolOf(dataSource).off(event, demote);
    return dataSource;
  }

  it.each([4, 0])('are closed, idle ones with them, and nothing is refused, storeConnections %i', async (n) => {
    let store!: ReturnType<StoreFixture['store']>;
    const dataSource = await afterFailover({}, async (old) => {
      store = fixture.store({ dataSource: old, connector: connectorFor(old, n) });
      await Promise.all(Array.from({ length: 6 }, () => store.read(randomUUID())));
      await Promise.all(Array.from({ length: 6 }, () => old.query('SELECT 1')));
      await expect(insert(old)).rejects.toThrow(/read.only/i);
    });
    const ours = ownership(await store.claim(aClaim()));
    await Promise.all(Array.from({ length: 6 }, () => insert(dataSource)));
    expect(await store.steps.begin(ours, 'charge')).toEqual(HELD);
    expect(await store.renew(ours, 60 * SECOND)).toEqual(HELD);
    expect(await store.complete(ours, COMPLETION)).toEqual(HELD);
    expect(await store.forget(ours.recordId)).toBe(true);
    const many = await Promise.all(Array.from({ length: 20 }, () => store.claim(aClaim())));
    expect(await Promise.all(many.map((record) => store.release(ownership(record), HOUR)))).toEqual(
      many.map(() => HELD),
    );
  });

  const throughTypeorm: TransactionHost = { run: (dataSource, work) => dataSource.transaction(work) };

  it.each([
    ['an error of the database’s', undefined, false],
    ['an error of the handler’s own', undefined, true],
    ['a transaction of the application', throughTypeorm, true],
  ])('are closed after %s', async (_what, transactionHost, disguised) => {
    const dataSource = await afterFailover({ poolSize: 1 }, (old) => old.query('SELECT 1'));
    const store = fixture.store({ dataSource, transactionHost });
    const pay = async () => {
      const ours = ownership(await store.claim(aClaim()));
      return store.transaction(async (transaction) => {
        const { manager } = transaction;
        await insert(manager as EntityManager).catch((error: unknown) => {
          throw disguised ? new Error('read-only, said the handler') : error;
        });
        return transaction.complete(ours, COMPLETION);
      });
    };
    await expect(pay()).rejects.toThrow(/read.only/i);
    expect(await pay()).toEqual(HELD);
    await expect(insert(dataSource)).resolves.toBeDefined();
  });
});

describe('What an error says of the connection that met it', () => {
  let postgres: StoreFixture;
  let mariadb: StoreFixture;
  beforeAll(async () => {
    postgres = await StoreFixture.open(backendOf('postgres'), { extra: { max: 1 } });
    mariadb = await StoreFixture.open(backendOf('mariadb'), { poolSize: 1 });
  });
  afterAll(async () => {
    await postgres?.close();
    await mariadb?.close();
  });

  /** Has the server fail with a code. Which connections were asked, and which one comes after. */
  async function failing(
    dialect: NetworkDialect,
    code: string,
    connections: number,
    again = (_asked: unknown[]) => false,
  ) {
    const connector = connectorFor((dialect === 'postgres' ? postgres : mariadb).dataSource, connections);
    const ask = async (on: unknown, sql: string) =>
      dialect === 'postgres'
        ? (await (on as PgConnection).query({ text: sql })).rows[0]
        : (await (on as MysqlConnection).query(sql, [])).rows[0];
    const whoAmI = dialect === 'postgres' ? 'SELECT pg_backend_pid() AS id' : 'SELECT CONNECTION_ID() AS id';
    const fail =
      dialect === 'postgres'
        ? `DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '${code}'; END $$`
        : `SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = ${code}, MESSAGE_TEXT = 'no'`;
    const asked: unknown[] = [];
    do {
      const failed = connector.alone(async (on) => {
        asked.push((await ask(on, whoAmI))!.id);
        await ask(on, fail);
      });
      await expect(failed).rejects.toThrow('no');
    } while (again(asked));
    const next = await connector.alone((on) => ask(on, whoAmI));
    await connector.close?.();
    return { asked, next: next!.id };
  }

  test.each([
    ...['25006', '57P05'].map((code) => ['postgres', code] as const),
    ...['1290', '1792', '1836', '1047', '1243', '1615', '1461', '4031'].map((code) => ['mariadb', code] as const),
  ])('refused, and asked for once more on another: %s %s', async (dialect, code) => {
    for (const connections of [1, 0]) {
      const { asked, next } = await failing(dialect, code, connections);
      expect(asked).toHaveLength(2);
      expect(new Set([...asked, next]).size).toBe(3);
    }
  });

  test.each([
    ...['57P01', '08P01', 'XX000'].map((code) => ['postgres', code] as const),
    ...['1053', '1153', '1158', '1927', '4082'].map((code) => ['mariadb', code] as const),
  ])('not used again: %s %s', async (dialect, code) => {
    const { asked, next } = await failing(dialect, code, 1);
    expect(asked).toHaveLength(1);
    expect(next).not.toBe(asked[0]);
  });

  test.each([
    ['postgres', '57014'],
    ['mariadb', '1969'],
    ['mariadb', '3024'],
  ] as const)('not used again if it lasts: %s %s', async (dialect, code) => {
    const { asked, next } = await failing(dialect, code, 1, (ids) => new Set(ids).size === 1);
    expect(asked.length).toBeGreaterThan(2);
    expect(next).toBe(asked.at(-1));
  });

  test.each([
    ...['23505', '22001', '40001', '40P01', '55P03', '0A000', '42501'].map((code) => ['postgres', code] as const),
    ...['1062', '1205', '1213', '1142', '1317'].map((code) => ['mariadb', code] as const),
  ])('as good as before: %s %s', async (dialect, code) => {
    const { asked, next } = await failing(dialect, code, 1);
    expect(asked).toEqual([next]);
  });

  test('plans that a migration has made useless', async () => {
    const fixture = await StoreFixture.open(backendOf('postgres'));
    try {
      const store = fixture.store();
      const before = await Promise.all(Array.from({ length: 4 }, () => store.claim(aClaim())));
      for (const { recordId } of before) await store.read(recordId);
      await fixture.dataSource.query('ALTER TABLE idempotency_record ALTER COLUMN response_code TYPE integer');
      for (const { recordId } of before) expect(await store.read(recordId)).toMatchObject({ status: 'processing' });
      expect(await store.claim(aClaim())).toMatchObject({ status: 'processing' });
    } finally {
      await fixture.close();
    }
  });

  test('a connection that its server closes in a transaction does not end the process', async () => {
    const admin = await postgres.connect();
    const store = postgres.store();
    const closed = store.transaction(async ({ manager }) => {
      const [{ pid }] = await (manager as EntityManager).query('SELECT pg_backend_pid() AS pid');
      await admin.query('SELECT pg_terminate_backend($1)', [pid]);
      const isThere = 'SELECT 1 FROM pg_stat_activity WHERE pid = $1';
      await until(async () => (await admin.query(isThere, [pid])).length === 0);
      await new Promise((resolve) => setImmediate(resolve));
    });
    await expect(closed).rejects.toBeInstanceOf(CommitUnknownError);
    await admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
    );
    await until(async () => (await store.claim(aClaim()).catch(() => undefined))?.status === 'processing');
    await expect(store.transaction(() => Promise.resolve('done'))).resolves.toBe('done');
  });
});

describe.each(DIALECTS)('The store’s own connections, %s', (dialect) => {
  let fixture: StoreFixture;
  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf(dialect));
  });
  afterAll(() => fixture?.close());

  /** Handlers that hold a connection each, and record steps and renew leases meanwhile. */
  function handlers(store: ReturnType<StoreFixture['store']>, count: number) {
    const handler = async () => {
      const ours = ownership(await store.claim(aClaim()));
      return store.transaction(async (transaction) => {
        await (transaction.manager as EntityManager).query('SELECT 1');
        return [
          await store.steps.begin(ours, 'charge'),
          await store.renew(ours, 60 * SECOND),
          await store.steps.end(ours, 'charge', { status: 'done', result: '1' }),
          await transaction.complete(ours, COMPLETION),
        ];
      });
    };
    return Promise.all(Array.from({ length: count }, handler));
  }
  const held = (count: number) => Array(count).fill([HELD, HELD, HELD, HELD]);

  it.each([1, 4])('serve handlers that hold all connections of the data source, poolSize %i', async (poolSize) => {
    const dataSource = await fixture.connect({ poolSize });
    expect(await handlers(fixture.store({ dataSource }), 4 * poolSize)).toEqual(held(4 * poolSize));
  });

  it('are never more than the data source may have', async () => {
    const dataSource = await fixture.connect({ poolSize: 2 });
    let opened = 0;
    poolOf(dataSource).on(dialect === 'postgres' ? 'connect' : 'connection', () => void opened++);
    expect(await handlers(fixture.store({ dataSource }), 12)).toEqual(held(12));
    // The data source opened one before we looked.
    expect(opened + 1).toBeLessThanOrEqual(4);
  });

  /** A user that may have so many connections. */
  async function userOf(limit: number): Promise<object> {
    const username = `u${randomUUID().slice(0, 8)}`;
    const { database, port } = fixture.options as { database: string; port: number };
    if (dialect === 'postgres') {
      await fixture.dataSource.query(`CREATE ROLE ${username} LOGIN CONNECTION LIMIT ${limit}`);
      await fixture.dataSource.query(`GRANT ALL ON ALL TABLES IN SCHEMA public TO ${username}`);
    } else {
      const root = await new DataSource({ type: 'mariadb', host: '127.0.0.1', port, username: 'root' }).initialize();
      await root.query(`CREATE USER ${username}@'127.0.0.1' WITH MAX_USER_CONNECTIONS ${limit}`);
      await root.query(`GRANT ALL ON ${database}.* TO ${username}@'127.0.0.1'`);
      await root.destroy();
    }
    return { username, password: '' };
  }

  it.each([1, 2])('are done without where the server accepts no more, connections of the user: %i', async (limit) => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    try {
      const dataSource = await fixture.connect({ ...(await userOf(limit)), poolSize: limit === 1 ? 1 : 4 });
      const store = fixture.store({ dataSource });
      for (let round = 0; round < 3; round++) {
        const records = await Promise.all(Array.from({ length: 10 }, () => store.claim(aClaim())));
        const renewed = await Promise.all(records.map((record) => store.renew(ownership(record), 60 * SECOND)));
        expect(renewed).toEqual(records.map(() => HELD));
        expect(await Promise.all(records.map((record) => store.complete(ownership(record), COMPLETION)))).toEqual(
          records.map(() => HELD),
        );
      }
      // The one that could be opened is ours: the handler's transaction holds the other one.
      const hands = limit === 2 ? 1 : 0;
      expect(await handlers(store, hands)).toEqual(held(hands));
      const said = warn.mock.calls.filter(([message]) => String(message).includes('no further connections'));
      expect(said).toHaveLength(1);
    } finally {
      warn.mockRestore();
    }
  });

  it('lead to the primary where there are replicas', async () => {
    const { host, port, username, password, database } = fixture.options as unknown as Record<string, string>;
    const primary = { host, port, username, password, database, poolSize: 1 };
    // Without our tables: whatever is asked of a replica fails.
    const empty = await createDatabase(dialect);
    const replica = { ...primary, database: (empty.options as { database: string }).database };
    const dataSource = await fixture.connect({ replication: { master: primary, slaves: [replica] }, poolSize: 1 });
    expect(await handlers(fixture.store({ dataSource }), 3)).toEqual(held(3));
    await dataSource.destroy();
    await empty.drop();
  });
});

test('A connection to PostgreSQL that is not answered makes room for another', async () => {
  const fixture = await StoreFixture.open(backendOf('postgres'));
  const proxy = await TcpProxy.listen(fixture.port);
  try {
    const dataSource = await fixture.connect({ port: proxy.port });
    const store = fixture.store({ dataSource, timeoutMs: 60 * SECOND });
    proxy.blackhole(true);
    const claimed = store.claim(aClaim());
    await expect(claimed).rejects.toBeInstanceOf(StoreUnavailableError);
    await expect(claimed).rejects.toMatchObject({ cause: { message: 'timeout expired' } });
  } finally {
    proxy.blackhole(false);
    await fixture.close();
    await proxy.close();
  }
});

describe('Announcements through PostgreSQL', () => {
  let fixture: StoreFixture;
  let there: PostgresWakeUp;
  let warn: jest.SpiedFunction<Logger['warn']>;
  const opened: { close?(): Promise<void> }[] = [];

  function wakeUpOn(dataSource: DataSource, connections: number) {
    const connector = connectorFor(dataSource, connections) as Connector<PgConnection>;
    const wakeUp = new PostgresWakeUp(dataSource, connector);
    opened.push(wakeUp, connector);
    return { wakeUp, connector };
  }

  /** Holds all that a data source has, as handlers do. */
  async function held(dataSource: DataSource) {
    const runner = dataSource.createQueryRunner();
    await runner.connect();
    return runner;
  }

  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf('postgres'));
    ({ wakeUp: there } = wakeUpOn(fixture.dataSource, 4));
  });
  beforeEach(() => void (warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined)));
  afterEach(() => warn.mockRestore());
  afterAll(async () => {
    for (const one of opened) await one.close?.();
    await fixture?.close();
  });

  it('are heard and made where handlers hold the pool', async () => {
    const dataSource = await fixture.connect({ poolSize: 1 });
    const holder = await held(dataSource);
    const { wakeUp: here } = wakeUpOn(dataSource, 4);
    const recordId = randomUUID();
    let woken = 0;
    await here.subscribe(recordId, () => woken++);
    await there.announce(recordId);
    await until(() => woken === 1);
    await there.subscribe(recordId, () => woken++);
    await here.announce(recordId);
    await until(() => woken >= 3);
    expect(warn).not.toHaveBeenCalled();
    await holder.release();
  });

  it('that cannot be sent are not taken for a pooler’s silence', async () => {
    const dataSource = await fixture.connect({ poolSize: 1 });
    const holder = await held(dataSource);
    const { wakeUp: here } = wakeUpOn(dataSource, 0);
    const recordId = randomUUID();
    let woken = 0;
    await expect(here.subscribe(recordId, () => undefined)).rejects.toThrow('could not be sent');
    expect(warn).not.toHaveBeenCalled();
    await holder.release();
    await here.subscribe(recordId, () => woken++);
    await there.announce(recordId);
    await until(() => woken > 0);
  });

  it('are listened to on another connection once the store’s turn out to be stale', async () => {
    const { wakeUp: here, connector } = wakeUpOn(await fixture.connect(), 4);
    const recordId = randomUUID();
    let woken = 0;
    const listeners = async () => {
      const rows: { pid: number }[] = await fixture.dataSource.query(
        `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`,
      );
      return rows.map(({ pid }) => pid);
    };
    const others = await listeners();
    await here.subscribe(recordId, () => woken++);
    const [before] = (await listeners()).filter((pid) => !others.includes(pid));
    const demoted = `DO $$ BEGIN RAISE EXCEPTION 'demoted' USING ERRCODE = '25006'; END $$`;
    await expect(connector.alone((on) => on.query({ text: demoted }))).rejects.toThrow('demoted');
    // Whatever was announced meanwhile may have been missed.
    await until(() => woken > 0);
    const now = (await listeners()).filter((pid) => !others.includes(pid));
    expect(now).toHaveLength(1);
    expect(now).not.toEqual([before]);
    const seen = woken;
    await there.announce(recordId);
    await until(() => woken > seen);
  });
});

// As in a maintenance, while a password is changed, or while a database is renamed. A completion was taken for refused, and given up at once.
describe.each([
  ['postgres', ['CREATE ROLE $ LOGIN SUPERUSER'], 'ALTER ROLE $ NOLOGIN', 'DROP ROLE $'],
  ['mariadb', ['CREATE USER $', 'GRANT ALL ON *.* TO $'], 'ALTER USER $ ACCOUNT LOCK', 'DROP USER $'],
] as const)('A user of %s who may not log in', (dialect, create, lock, drop) => {
  it('refuses no statement: each is sent again later', async () => {
    const fixture = await StoreFixture.open(backendOf(dialect));
    const username = `u_${randomBytes(4).toString('hex')}`;
    const run = (sql: string) => fixture.dataSource.query(sql.replace('$', username));
    for (const statement of create) await run(statement);
    try {
      const dataSource = await fixture.connect({ username, password: '' });
      const store = fixture.store({ dataSource });
      await run(lock);
      const outage = { name: 'StoreUnavailableError' };
      const ours = ownership(await fixture.store().claim(aClaim()));
      await expect(store.complete(ours, COMPLETION)).rejects.toMatchObject(outage);
      await expect(store.release(ours, HOUR)).rejects.toMatchObject(outage);
      const held = dataSource.createQueryRunner();
      await held.connect();
      await expect(store.transaction(async () => ({ held: true, awaited: false }))).rejects.toMatchObject(outage);
      await held.release();
    } finally {
      await fixture.close();
      const admin = await StoreFixture.open(backendOf(dialect));
      await admin.dataSource.query(drop.replace('$', username));
      await admin.close();
    }
  });
});
