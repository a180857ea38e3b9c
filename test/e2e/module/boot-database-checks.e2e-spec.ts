import { randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { Controller, type INestApplication, Module, Post } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule, type TypeOrmModuleOptions } from '@nestjs/typeorm';
import mysql2 from 'mysql2';
import pg from 'pg';
import { DataSource } from 'typeorm';
import {
  IDEMPOTENCY_ENTITIES,
  Idempotent,
  IdempotencyModule,
  IdempotencyRecord,
  IdempotencyStep,
} from '../../../lib/index.js';
import { LogLines } from '../../conformance/support/app.js';
import { createDatabase, type TestDatabase, type TestDialect } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { TcpProxy } from '../../support/proxy.js';
import { until } from '../../support/until.js';

@Controller('pay')
class PaymentsController {
  @Idempotent()
  @Post()
  pay() {
    return { paid: true };
  }
}

const apps: INestApplication[] = [];
const ends: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const app of apps.splice(0)) await app.close();
  for (const end of ends.splice(0).reverse()) await end();
});

/** A database with our tables. */
async function newDatabase<D extends TestDialect>(
  dialect: D,
): Promise<{ database: TestDatabase<D>; admin: DataSource }> {
  const database = await createDatabase(dialect);
  ends.push(() => database.drop());
  const admin = new DataSource({
    ...database.options,
    entities: [...IDEMPOTENCY_ENTITIES],
    synchronize: true,
  } as never);
  await admin.initialize();
  ends.push(() => admin.destroy());
  return { database, admin };
}

async function boot(options: object): Promise<{ app: INestApplication; log: LogLines }> {
  @Module({
    imports: [
      TypeOrmModule.forRoot({ ...options, autoLoadEntities: true, retryAttempts: 0 } as TypeOrmModuleOptions),
      IdempotencyModule.forRoot({ sweep: false }),
    ],
    controllers: [PaymentsController],
  })
  class App {}
  const log = new LogLines();
  const app = await NestFactory.create(App, { logger: log, abortOnError: false });
  apps.push(app);
  await app.listen(0, '127.0.0.1');
  return { app, log };
}

const pay = async (app: INestApplication) => (await call(`${await app.getUrl()}/pay`, { key: 'k' })).status;

const RIGHTS =
  /\. The database user lacks a right: it needs SELECT, INSERT, UPDATE and DELETE on both of the library's tables/;

describe.each<TestDialect>(['postgres', 'mariadb', 'better-sqlite3'])('On %s', (dialect) => {
  test('a boot without trouble says nothing and leaves nothing behind', async () => {
    const { database, admin } = await newDatabase(dialect);
    const { app, log } = await boot(database.options);
    expect(log.toString()).toBe('');
    expect(await admin.getRepository(IdempotencyRecord).find()).toEqual([]);
    expect(await admin.getRepository(IdempotencyStep).find()).toEqual([]);
    expect(await pay(app)).toBe(201);
  });

  test('the table of steps is missing', async () => {
    const { database, admin } = await newDatabase(dialect);
    await admin.query('DROP TABLE idempotency_step');
    const { log } = await boot(database.options);
    expect(log.lines).toEqual([
      expect.stringMatching(
        /^ERROR The boot check could not record a step: .*idempotency_step.*: the library's tables are missing or older/,
      ),
    ]);
  });
});

describe('A process that is killed during the check leaves nothing', () => {
  const count = async (admin: DataSource) => (await admin.getRepository(IdempotencyRecord).find()).length;

  test('on PostgreSQL', async () => {
    const { database, admin } = await newDatabase('postgres');
    await admin.query('CREATE TABLE gate (opened boolean)');
    await admin.query(`CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN WHILE NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP; RETURN NULL; END'`);
    await admin.query('CREATE TRIGGER wait BEFORE DELETE ON idempotency_record EXECUTE FUNCTION wait()');
    const booted = boot(database.options);
    const checking = () =>
      admin.query(`SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'`);
    await until(async () => (await checking()).length > 0);
    expect(await count(admin)).toBe(0);
    const [{ pid }] = await checking();
    // Whatever is tried again passes.
    await admin.query('INSERT INTO gate VALUES (true)');
    await admin.query('SELECT pg_terminate_backend($1)', [pid]);
    await booted;
    expect(await count(admin)).toBe(0);
  });

  test('on MariaDB', async () => {
    const { database, admin } = await newDatabase('mariadb');
    const gate = database.options.database!;
    await admin.query(`CREATE TRIGGER wait BEFORE DELETE ON idempotency_record FOR EACH ROW
      BEGIN DO GET_LOCK('${gate}', 60); DO RELEASE_LOCK('${gate}'); END`);
    const holder = admin.createQueryRunner();
    ends.push(() => holder.release());
    await holder.query(`SELECT GET_LOCK('${gate}', 0)`);
    const booted = boot(database.options);
    const checking = () =>
      admin.query(`SELECT id FROM information_schema.processlist WHERE db = '${gate}' AND state = 'User lock'`);
    await until(async () => (await checking()).length > 0);
    expect(await count(admin)).toBe(0);
    await admin.query(`KILL ${(await checking())[0].id}`);
    await holder.query(`SELECT RELEASE_LOCK('${gate}')`);
    await booted;
    expect(await count(admin)).toBe(0);
  });

  test('on SQLite', async () => {
    const { database, admin } = await newDatabase('better-sqlite3');
    const counts: number[] = [];
    await admin.query('CREATE TRIGGER wait BEFORE DELETE ON idempotency_record BEGIN SELECT outside(); END');
    const { databaseConnection } = admin.driver as unknown as {
      databaseConnection: { prepare(sql: string): { get(): { n: number } } };
    };
    const seen = databaseConnection.prepare('SELECT count(*) AS n FROM idempotency_record');
    // In the midst of the check, by another connection.
    const prepareDatabase = (connection: { function(name: string, body: () => number): void }) =>
      connection.function('outside', () => counts.push(seen.get().n));
    await boot({ ...database.options, prepareDatabase });
    expect(counts).toEqual([0]);
  });
});

/** What a user is granted on either table, what the boot then logs, and what a request gets. */
const GRANTS: [record: string, step: string, failed: string, status: number][] = [
  ['SELECT', 'SELECT', 'claim a record', 503],
  ['', '', 'claim a record', 503],
  ['SELECT, INSERT, UPDATE', 'SELECT, INSERT, UPDATE', 'delete a record', 201],
  ['SELECT, INSERT, UPDATE, DELETE', 'SELECT', 'record a step', 201],
  ['SELECT, INSERT, UPDATE, DELETE', 'SELECT, INSERT, UPDATE', 'delete a record', 201],
];

describe('A PostgreSQL user', () => {
  async function newUser(database: TestDatabase<'postgres'>, admin: DataSource) {
    const username = `r_${randomBytes(6).toString('hex')}`;
    await admin.query(`CREATE ROLE ${username} LOGIN`);
    ends.push(async () => {
      await admin.query(`DROP OWNED BY ${username}`);
      await admin.query(`DROP ROLE ${username}`);
    });
    return { ...database.options, username };
  }

  test.each(GRANTS)('with %j on records and %j on steps', async (record, step, failed, status) => {
    const { database, admin } = await newDatabase('postgres');
    const options = await newUser(database, admin);
    if (record) await admin.query(`GRANT ${record} ON idempotency_record TO ${options.username}`);
    if (step) await admin.query(`GRANT ${step} ON idempotency_step TO ${options.username}`);
    const { app, log } = await boot(options);
    expect(log.lines).toEqual([
      expect.stringMatching(
        new RegExp(`^ERROR The boot check could not ${failed}: permission denied for table \\w+ \\(42501\\)`),
      ),
    ]);
    expect(log.lines[0]).toMatch(RIGHTS);
    expect(await pay(app)).toBe(status);
  });

  test('of a database that takes no writes', async () => {
    const { database, admin } = await newDatabase('postgres');
    const options = await newUser(database, admin);
    await admin.query(`GRANT ALL ON ALL TABLES IN SCHEMA public TO ${options.username}`);
    await admin.query(`ALTER ROLE ${options.username} SET default_transaction_read_only = on`);
    const { log } = await boot(options);
    expect(log.lines).toEqual([
      expect.stringMatching(
        /^ERROR The boot check could not claim a record: .*read-only transaction \(25006\)\. The database takes no writes/,
      ),
    ]);
  });
});

test.each(GRANTS)('A MariaDB user with %j on records and %j on steps', async (record, step, failed, status) => {
  const { database, admin } = await newDatabase('mariadb');
  const user = `u_${randomBytes(6).toString('hex')}`;
  await admin.query(`CREATE USER ${user}@'127.0.0.1'`);
  ends.push(() => admin.query(`DROP USER ${user}@'127.0.0.1'`));
  if (record) await admin.query(`GRANT ${record} ON idempotency_record TO ${user}@'127.0.0.1'`);
  if (step) await admin.query(`GRANT ${step} ON idempotency_step TO ${user}@'127.0.0.1'`);
  // Without a right on any table of it, a user cannot choose a database.
  await admin.query(`GRANT CREATE ON *.* TO ${user}@'127.0.0.1'`);
  const { app, log } = await boot({ ...database.options, username: user, password: '' });
  expect(log.lines).toEqual([
    expect.stringMatching(
      new RegExp(`^ERROR The boot check could not ${failed}: .*command denied to user .*ER_TABLEACCESS_DENIED_ERROR`),
    ),
  ]);
  expect(log.lines[0]).toMatch(RIGHTS);
  expect(await pay(app)).toBe(status);
});

test('A SQLite file that cannot be written to', async () => {
  const { database } = await newDatabase('better-sqlite3');
  const { log } = await boot({ ...database.options, enableWAL: false, readonly: true });
  expect(log.lines).toEqual([
    expect.stringMatching(
      /^ERROR The boot check could not claim a record: .*\(SQLITE_READONLY\w*\)\. The database takes no writes/,
    ),
  ]);
});

describe('A server that is too old', () => {
  test('PostgreSQL', async () => {
    const { database, admin } = await newDatabase('postgres');
    await admin.query('CREATE SCHEMA old');
    await admin.query(
      `CREATE FUNCTION old.version() RETURNS text LANGUAGE sql AS $$ SELECT 'PostgreSQL 12.22 on x86_64' $$`,
    );
    await admin.query(`ALTER DATABASE ${database.options.database} SET search_path = old, public, pg_catalog`);
    const { log } = await boot(database.options);
    expect(log.lines).toEqual([
      expect.stringContaining('ERROR PostgreSQL 12.22 is not supported: the statements need 13 or newer'),
    ]);
  });

  test('SQLite', async () => {
    const { database } = await newDatabase('better-sqlite3');
    const prepareDatabase = (connection: { function(name: string, body: () => string): void }) =>
      connection.function('sqlite_version', () => '3.34.1');
    const { log } = await boot({ ...database.options, prepareDatabase });
    expect(log.lines).toEqual([
      expect.stringContaining('ERROR SQLite 3.34 is not supported: the statements need 3.35 or newer'),
    ]);
  });
});

test('connections that cannot prepare statements, as those of the package `mysql`, fail the boot', async () => {
  const { database } = await newDatabase('mariadb');
  // TypeORM 1 does not work with the package, and 0.3 prefers it to `mysql2`.
  const withoutExecute = (connection: object) => Object.assign(connection, { execute: undefined });
  const driver = {
    ...mysql2,
    createPool(options: mysql2.PoolOptions) {
      const pool = mysql2.createPool(options);
      const getConnection = pool.getConnection.bind(pool);
      pool.getConnection = (done) =>
        getConnection((error, connection) => done(error, error ? connection : (withoutExecute(connection) as never)));
      return pool;
    },
  };
  await expect(boot({ ...database.options, driver })).rejects.toThrow(
    'IdempotencyModule: the data source uses the package `mysql`, which cannot prepare statements. Install `mysql2`',
  );
});

test('binary results of `pg`, as which completions cannot be read, fail the boot', async () => {
  const { database } = await newDatabase('postgres');
  await expect(boot({ ...database.options, extra: { binary: true } })).rejects.toThrow(
    'IdempotencyModule: the data source sets `binary` of `pg`, which the store cannot read. Remove it from `extra`',
  );
});

/** As typeorm-pglite has it: all connections of the pool are one session, which takes statements as text. */
test('a driver whose connections are one session, in which no record outlives a rollback, fails the boot', async () => {
  const { database } = await newDatabase('postgres');
  const { host, port, username, password, database: name } = database.options;
  class OneSession extends EventEmitter {
    private readonly client = new pg.Client({
      host,
      port,
      user: username,
      password,
      database: name,
    } as pg.ClientConfig);
    private readonly connected = this.client.connect();
    async connect(done: (error: undefined, connection: this, release: () => void) => void) {
      await this.connected;
      done(undefined, this, () => undefined);
    }
    query(sql: string, values: unknown[], done: (error: Error, result: unknown) => void) {
      if (typeof sql !== 'string') throw new TypeError('text must be a string');
      return this.client.query(sql, values, done as never);
    }
    async end(done: () => void) {
      await this.client.end();
      done();
    }
  }
  await expect(boot({ ...database.options, driver: { Pool: OneSession } })).rejects.toThrow(
    'IdempotencyModule: the data source has a `driver` other than `pg`, whose connections are one session',
  );
});

test('a database that is down for a moment does not fail the boot', async () => {
  const { database } = await newDatabase('postgres');
  const proxy = await TcpProxy.listen(database.options.port!);
  ends.push(() => proxy.close());
  @Module({
    imports: [
      TypeOrmModule.forRoot({ ...database.options, port: proxy.port, autoLoadEntities: true, retryAttempts: 0 }),
      IdempotencyModule.forRoot({ sweep: false }),
    ],
    controllers: [PaymentsController],
  })
  class App {}
  const log = new LogLines();
  const app = await NestFactory.create(App, { logger: log, abortOnError: false });
  apps.push(app);
  await proxy.refuse(true);
  proxy.cut();
  await app.listen(0, '127.0.0.1');
  const ours = log.lines.filter((line) => line.endsWith('Idempotency'));
  expect(ours).toEqual([expect.stringMatching(/^ERROR The boot check could not ask for the version: /)]);
  await proxy.refuse(false);
  expect(await pay(app)).toBe(201);
});

// Its statements changed no row, without an error: handlers ran, and no outcome was recorded.
test('A PostgreSQL with row-level security that has no policy for UPDATE', async () => {
  const { database, admin } = await newDatabase('postgres');
  const username = `user_${randomBytes(4).toString('hex')}`;
  await admin.query(`CREATE ROLE ${username} LOGIN`);
  ends.push(async () => {
    await admin.query(`DROP OWNED BY ${username}`);
    await admin.query(`DROP ROLE ${username}`);
  });
  for (const table of ['idempotency_record', 'idempotency_step']) {
    await admin.query(`GRANT ALL ON ${table} TO ${username}`);
    await admin.query(`ALTER TABLE ${table} ENABLE ROW LEVEL SECURITY`);
    await admin.query(`CREATE POLICY add_rows ON ${table} FOR INSERT WITH CHECK (true)`);
    await admin.query(`CREATE POLICY see_rows ON ${table} FOR SELECT USING (true)`);
  }
  const limited = { ...database.options, username, password: '' };
  const { app, log } = await boot(limited);
  expect(log.lines).toEqual([
    expect.stringMatching(
      /^ERROR The boot check could not record a step: .* not found\. Row-level security needs policies/,
    ),
  ]);
  expect(await pay(app)).not.toBe(201);
  for (const table of ['idempotency_record', 'idempotency_step']) {
    await admin.query(`CREATE POLICY all_rows ON ${table} FOR ALL USING (true)`);
  }
  expect((await boot(limited)).log.toString()).toBe('');
});
