import type { EventEmitter } from 'node:events';
import { jest } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { connectorFor } from '../../../lib/store/connectors/index.js';
import type { MysqlConnection } from '../../../lib/store/dialects/mysql.js';
import type { PgConnection } from '../../../lib/store/dialects/postgres.js';
import type { Connector } from '../../../lib/store/connectors/connector.js';
import { aClaim, backendOf, StoreFixture } from './support.js';

describe('A connection to PostgreSQL', () => {
  let fixture: StoreFixture;
  let connector: Connector<PgConnection>;
  const pid = () =>
    connector.alone(async (on) => (await on.query({ text: 'SELECT pg_backend_pid() AS pid' })).rows[0].pid);
  const prepared = () =>
    connector.alone(async (on) => {
      const { rows } = await on.query({ text: `SELECT name FROM pg_prepared_statements ORDER BY name` });
      return rows.map(({ name }) => name as string);
    });

  beforeEach(async () => {
    fixture = await StoreFixture.open(backendOf('postgres'), { extra: { max: 1 } });
    connector = connectorFor(fixture.dataSource) as Connector<PgConnection>;
    await fixture.dataSource.query('CREATE TABLE effect (id int PRIMARY KEY)');
  });
  afterEach(() => fixture?.close());

  it('is used again after an error that the server reported', async () => {
    const before = await pid();
    await expect(connector.alone((on) => on.query({ text: 'SELECT nonsense' }))).rejects.toThrow('nonsense');
    expect(await pid()).toBe(before);
  });

  it('is used again after an error in the language of the server', async () => {
    const { master } = fixture.dataSource.driver as unknown as { master: EventEmitter };
    // As with lc_messages = 'de_DE'.
    const translated = (error: { severity: string }) => (error.severity = error.severity.replace('ERROR', 'FEHLER'));
    master.on('acquire', ({ connection }: { connection: EventEmitter }) =>
      connection.prependListener('errorMessage', translated),
    );
    const before = await pid();
    await expect(connector.alone((on) => on.query({ text: 'SELECT nonsense' }))).rejects.toThrow('nonsense');
    expect(await pid()).toBe(before);
  });

  it('is not used again where it ended, or where our own code failed on it', async () => {
    const before = await pid();
    const end = { text: 'SELECT pg_terminate_backend(pg_backend_pid())' };
    await expect(connector.alone((on) => on.query(end))).rejects.toThrow('terminat');
    const after = await pid();
    expect(after).not.toBe(before);
    const mistake = new TypeError('a mistake');
    await expect(connector.alone(() => Promise.reject(mistake))).rejects.toBe(mistake);
    expect(await pid()).not.toBe(after);
  });

  it('commits a transaction of ours, or rolls it back, and sees what others have committed meanwhile', async () => {
    await fixture.dataSource.query(`ALTER ROLE CURRENT_USER IN DATABASE ${fixture.options.database as string}
      SET default_transaction_isolation = 'repeatable read'`);
    const other = await fixture.connect();
    const fresh = connectorFor(await fixture.connect()) as Connector<PgConnection>;
    const seen = await fresh.atomically(async (on) => {
      await on.query({ text: 'SELECT FROM effect' });
      await other.query('INSERT INTO effect VALUES (1)');
      await on.query({ text: 'INSERT INTO effect VALUES (2)' });
      return (await on.query({ text: 'SELECT id FROM effect ORDER BY id' })).rows;
    });
    expect(seen).toEqual([{ id: '1' }, { id: '2' }]);
    const doubled = fresh.atomically(async (on) => {
      await on.query({ text: 'INSERT INTO effect VALUES (3)' });
      await on.query({ text: 'INSERT INTO effect VALUES (1)' });
    });
    await expect(doubled).rejects.toThrow('duplicate key');
    expect(await other.query('SELECT id FROM effect ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
    // The connection was left without a transaction.
    const { rows } = await fresh.alone((on) => on.query({ text: 'SELECT count(*)::int AS n FROM effect' }));
    expect(rows).toEqual([{ n: '2' }]);
    await other.query('ALTER ROLE CURRENT_USER RESET ALL');
  });

  it('has statements prepared by a name that stands for their text', async () => {
    const store = fixture.store({ connector });
    await store.claim(aClaim());
    await store.claim(aClaim());
    expect(await prepared()).toEqual([expect.stringMatching(/^nestjs_idempotency_claim_[0-9a-f]{12}$/)]);
    const ask = (text: string) => connector.alone((on) => on.query({ name: 'same', text, values: [] }));
    expect((await ask('SELECT 1 AS n')).rows).toEqual([{ n: '1' }]);
    expect((await ask('SELECT 2 AS n')).rows).toEqual([{ n: '2' }]);
  });

  it('whose prepared statements a pooler has lost does without them, and says so once', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation(() => undefined);
    try {
      const store = fixture.store({ connector });
      const claim = aClaim();
      await store.claim(claim);
      await connector.alone((on) => on.query({ text: 'DEALLOCATE ALL' }));
      expect(await store.claim(aClaim())).toMatchObject({ status: 'processing', token: 1 });
      expect(await store.read(claim.recordId)).toMatchObject({ owner: claim.owner });
      expect(await prepared()).toEqual([]);
      expect(warn).toHaveBeenCalledTimes(1);
      expect(warn).toHaveBeenCalledWith(expect.stringContaining('does not keep prepared statements'));
    } finally {
      warn.mockRestore();
    }
  });

  it('that breaks while idle does not end the process', async () => {
    const other = await fixture.connect();
    const before = await pid();
    await connector
      .alone(async (on) => {
        await on.query({ text: 'SELECT 1' });
        await other.query('SELECT pg_terminate_backend($1)', [before]);
        await new Promise((resolve) => setTimeout(resolve, 200));
      })
      .catch(() => undefined);
    expect(await pid()).not.toBe(before);
  });
});

describe('A connection to MariaDB', () => {
  let fixture: StoreFixture;
  let connector: Connector<MysqlConnection>;
  const id = () =>
    connector.alone(async (on) => (await on.query('SELECT CONNECTION_ID() AS id', [])).rows[0].id as number);

  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf('mariadb'), { extra: { connectionLimit: 1 } });
    connector = connectorFor(fixture.dataSource) as Connector<MysqlConnection>;
    await fixture.dataSource.query('CREATE TABLE effect (id int PRIMARY KEY) ENGINE = InnoDB');
  });
  afterAll(() => fixture?.close());

  it('is used again after an error that the server reported', async () => {
    const before = await id();
    await expect(connector.alone((on) => on.query('SELECT nonsense', []))).rejects.toThrow('nonsense');
    await expect(connector.alone((on) => on.execute('SELECT nonsense', []))).rejects.toThrow('nonsense');
    expect(await id()).toBe(before);
  });

  it('is not used again where it ended, or where our own code failed on it', async () => {
    const before = await id();
    await expect(
      connector.alone(async (on) => {
        await on.query('KILL CONNECTION CONNECTION_ID()', []).catch(() => undefined);
        return on.query('SELECT 1', []);
      }),
    ).rejects.toThrow(/connection|ECONNRESET/i);
    const after = await id();
    expect(after).not.toBe(before);
    const mistake = new TypeError('a mistake');
    await expect(connector.alone(() => Promise.reject(mistake))).rejects.toBe(mistake);
    expect(await id()).not.toBe(after);
  });

  it('commits a transaction of ours, or rolls it back, and sees what others have committed meanwhile', async () => {
    const other = await fixture.connect();
    const seen = await connector.atomically(async (on) => {
      await on.query('SELECT id FROM effect', []);
      await other.query('INSERT INTO effect VALUES (1)');
      await on.query('INSERT INTO effect VALUES (2)', []);
      return (await on.query('SELECT id FROM effect ORDER BY id', [])).rows;
    });
    expect(seen.map(({ id: n }) => n)).toEqual([1, 2]);
    const doubled = connector.atomically(async (on) => {
      await on.query('INSERT INTO effect VALUES (3)', []);
      await on.query('INSERT INTO effect VALUES (1)', []);
    });
    await expect(doubled).rejects.toThrow('Duplicate entry');
    expect(await other.query('SELECT id FROM effect ORDER BY id')).toEqual([{ id: 1 }, { id: 2 }]);
    const { rows } = await connector.alone((on) => on.query('SELECT count(*) AS n FROM effect', []));
    expect(Number(rows[0].n)).toBe(2);
  });

  it('answers with rows, or with what was changed', async () => {
    const { rows, affectedRows } = await connector.alone((on) => on.execute('SELECT ? AS n', [7]));
    expect({ n: Number(rows[0].n), affectedRows }).toEqual({ n: 7, affectedRows: 0 });
    const written = await connector.alone((on) => on.execute('INSERT INTO effect VALUES (?), (?)', [70, 71]));
    expect(written).toMatchObject({ rows: [], affectedRows: 2 });
  });
});
