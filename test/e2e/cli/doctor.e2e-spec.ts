import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { jest } from '@jest/globals';
import { DataSource } from 'typeorm';
import { build } from '../../support/app-process.js';
import { IS_MYSQL } from '../../support/database.js';
import { startMariadb, startRedis } from '../../support/servers.mjs';
import { aClaim, backendOf, StoreFixture, ownership } from '../store/support.js';
import { cli, cliHere, type Ended, installWithout, urlOf } from './support.js';

const FINE = 0;
const WARNED = 1;
const USAGE = 2;
const UNREACHABLE = 3;
const FAILED = 4;

interface Finding {
  readonly check: string;
  readonly level: 'ok' | 'note' | 'warning' | 'failure';
  readonly message: string;
  readonly remedy?: string;
}

interface Examined extends Ended {
  readonly findings: readonly Finding[];
  /** `level message → remedy` of each finding of a check. */
  of(check: string): string[];
}

// Some calls are processes of their own, and a busy machine starts them slowly.
jest.setTimeout(120_000);

function findingsIn(ended: Ended): Finding[] {
  try {
    return (JSON.parse(ended.stdout) as { findings: Finding[] }).findings;
  } catch {
    throw new Error(`no findings, but ${JSON.stringify(ended)}`);
  }
}

/** In a process of its own where it loads an application, or has to end with what it cannot reach. */
async function doctor(
  url: string | undefined,
  args: readonly string[] = ['--no-app'],
  { env = {}, run = cliHere }: { env?: Record<string, string>; run?: typeof cliHere } = {},
): Promise<Examined> {
  const ended = await run(['doctor', '--json', ...args], { ...(url && { DATABASE_URL: url }), ...env });
  const findings = findingsIn(ended);
  // Whatever is found comes with what to do, and never as a stack.
  expect(ended.stdout + ended.stderr).not.toMatch(/\n\s+at /);
  expect(findings.filter(({ level, remedy }) => level !== 'ok' && remedy === undefined)).toEqual([]);
  const of = (check: string) =>
    findings
      .filter((finding) => finding.check === check)
      .map(({ level, message, remedy }) => `${level} ${message}${remedy ? ` → ${remedy}` : ''}`);
  return { ...ended, findings, of };
}

const apart: typeof cliHere = (args, env) => cli(args, { env });

const troubles = ({ findings }: Examined) => findings.filter(({ level }) => level !== 'ok').map(({ check }) => check);

/** A user of its own on the database of a fixture. */
async function userOn(fixture: StoreFixture, statements: (name: string) => string[]): Promise<string> {
  const name = `doctor_${randomBytes(4).toString('hex')}`;
  for (const statement of statements(name)) await fixture.dataSource.query(statement);
  const url = new URL(urlOf(fixture.options));
  [url.username, url.password] = [name, 'p'];
  return url.href;
}

async function heldAndExpired(fixture: StoreFixture): Promise<void> {
  const store = fixture.store();
  await store.hold(ownership(await store.claim(aClaim())));
  const done = ownership(await store.claim(aClaim()));
  await store.complete(done, { outcome: { code: 200, head: null, body: null }, retentionMs: 1_000 });
  await fixture.expireRecord(done.recordId);
  const charged = ownership(await store.claim(aClaim()));
  await store.steps.end(charged, 'charge', { status: 'done', result: '1' });
  await store.release(charged, 1_000);
}

describe('the doctor on PostgreSQL', () => {
  let fixture: StoreFixture;
  let url: string;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf('postgres'), { synchronize: false });
    url = urlOf(fixture.options);
  });
  afterAll(() => fixture?.close());

  test('tables: missing, old, and as they should be', async () => {
    const none = await doctor(url, ['--no-app'], { run: apart });
    expect(none.code).toBe(FAILED);
    expect(none.of('database.writes').join()).toMatch(
      /^failure .*could not claim a record.*42P01.*→ Run the migrations: npx/,
    );
    expect(none.of('tables.columns').join()).toMatch(
      /^failure Missing: table idempotency_record, table idempotency_step/,
    );

    const run = (...args: string[]) => cliHere(['migrations', ...args], { DATABASE_URL: url });
    expect((await run('run')).code).toBe(FINE);
    expect((await run('revert', '--yes')).code).toBe(FINE);
    const old = await doctor(url);
    expect(old.code).toBe(FAILED);
    expect(old.of('tables.columns').join()).toMatch(
      /^failure Missing: idempotency_record\.route, idempotency_record\.scope_digest; .*KeepRouteAndScope.*migrations run/,
    );

    await run('run');
    const good = await doctor(url);
    // The servers of the tests are hasty.
    expect(troubles(good)).toEqual(['application', 'postgres.durability']);
    expect(good.of('postgres.durability').join()).toMatch(/^warning fsync, full_page_writes = off/);
    expect(good.of('database.version').join()).toMatch(/^ok PostgreSQL \d+/);
    expect(good.of('postgres.fillfactor')).toEqual(['ok idempotency_record has fillfactor 35']);
    expect(good.of('clock').join()).toMatch(/^ok /);
    expect(good.of('connections').join()).toMatch(
      /One process opens up to 15 connections \(15 each: 10 of the data source, 4 of/,
    );
    expect(good.code).toBe(WARNED);
  });

  test('settings of the table, held and late records, a clock that is wrong, too many processes', async () => {
    const table = 'idempotency_record';
    await fixture.dataSource.query(`ALTER TABLE ${table} RESET (fillfactor, vacuum_truncate)`);
    await fixture.dataSource.query(`ALTER TABLE ${table} SET (autovacuum_enabled = off)`);
    const [{ index }] = await fixture.dataSource.query<{ index: string }[]>(
      `SELECT indexname AS index FROM pg_indexes WHERE tablename = '${table}' AND indexdef LIKE '%expires_at%'`,
    );
    await fixture.dataSource.query(`DROP INDEX "${index}"`);
    await heldAndExpired(fixture);
    const ahead = `--import=data:text/javascript,const%20now=Date.now;Date.now=()=>now()+7200000`;
    const found = await doctor(url, ['--no-app', '--processes', '40'], {
      env: { NODE_OPTIONS: ahead },
      run: apart,
    });
    expect(found.code).toBe(FAILED);
    expect(found.of('postgres.fillfactor').join()).toMatch(/^warning .*fillfactor 100.*SET \(fillfactor = 35\)/);
    expect(found.of('postgres.vacuum_truncate').join()).toMatch(/^warning .*vacuum_truncate = off/);
    expect(found.of('postgres.autovacuum').join()).toMatch(/^warning Autovacuum is off.*RESET/);
    expect(found.of('tables.indexes').join()).toMatch(/^warning No index on idempotency_record\.expires_at/);
    expect(found.of('records.held').join()).toMatch(/^warning Held records: 1\..*list --held/);
    expect(found.of('records.sweeping').join()).toMatch(/^warning The oldest expired record .* minutes.*purge/);
    expect(found.of('clock').join()).toMatch(/^warning The clock here is 7\d{3}\.\d s ahead of the database's.*NTP/);
    expect(found.of('connections').join()).toMatch(
      /^failure 40 processes open up to 600 connections .*max_connections/,
    );
  });

  test('a user without a right, and with few connections', async () => {
    const theirs = await userOn(fixture, (name) => [
      `CREATE ROLE ${name} LOGIN PASSWORD 'p' CONNECTION LIMIT 12`,
      `GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_record TO ${name}`,
      `GRANT SELECT ON idempotency_step TO ${name}`,
    ]);
    const found = await doctor(theirs);
    expect(found.code).toBe(FAILED);
    expect(found.of('database.writes').join()).toMatch(
      /^failure .*could not record a step.*42501.*→ GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_record, idempotency_step TO/,
    );
    expect(found.of('connections').join()).toMatch(/^failure .*allows 12 \(the role's CONNECTION LIMIT/);
    const { username } = new URL(theirs);
    await fixture.dataSource.query(`DROP OWNED BY ${username}; DROP ROLE ${username}`);
  });

  test('a server that is lost, or never answers, is a finding', async () => {
    const refused = await doctor('postgres://u:topsecret@127.0.0.1:9/d', ['--no-app'], { run: apart });
    expect(refused).toMatchObject({ code: UNREACHABLE });
    expect(refused.of('database.connection').join()).toMatch(/^failure .*ECONNREFUSED/);
    expect(refused.stdout).not.toContain('topsecret');

    const silent = createServer().listen(0, '127.0.0.1');
    await once(silent, 'listening');
    const { port } = silent.address() as AddressInfo;
    const unanswered = await doctor(`postgres://u:p@127.0.0.1:${port}/d`, ['--no-app', '--timeout', '300ms'], {
      run: apart,
    });
    expect(unanswered).toMatchObject({ code: UNREACHABLE });
    silent.close();

    const runner = fixture.dataSource.createQueryRunner();
    await runner.startTransaction();
    await runner.query('LOCK TABLE idempotency_record IN ACCESS EXCLUSIVE MODE');
    let stuck: Examined;
    try {
      stuck = await doctor(url, ['--no-app', '--timeout', '2s'], { run: apart });
    } finally {
      await runner.rollbackTransaction();
      await runner.release();
    }
    expect(stuck).toMatchObject({ code: UNREACHABLE });
    expect(stuck.of('database.writes').join()).toMatch(/^failure .*could not claim a record/);
    expect(stuck.of('database.connection').join()).toMatch(/^failure .*no answer within 2000 ms/);
  });

  describe('with the application', () => {
    let app: string;
    beforeAll(async () => {
      app = await build('doctor-app');
      await fixture.dataSource.query('DELETE FROM idempotency_record');
    });

    test('its routes, pools and Redis nodes, and none of its hooks', async () => {
      const ports = process.env.TEST_REDIS_PORTS!.split(',').slice(0, 3).join(',');
      const env = {
        DATABASE: JSON.stringify({ ...fixture.options, poolSize: 7 }),
        REDIS_PORTS: ports,
        OPTIONS: JSON.stringify({ storeConnections: 2 }),
      };
      const found = await doctor(undefined, ['--app', app], { env, run: apart });
      expect(found.of('routes')).toEqual([
        'warning Mutating routes with neither @Idempotent() nor @NotIdempotent(): PaymentsController.refund → ' +
          'Put @Idempotent() or @NotIdempotent() on each',
        expect.stringMatching(/^warning An interceptor commits .*: PaymentsController.pay \(UnitOfWork\) → /) as string,
      ]);
      expect(found.of('connections').join()).toContain('9 connections (9 each: 7 of the data source, 2 of the store)');
      expect(found.of('redis.quorum')).toEqual(['ok 3 of 3 Redis nodes take a lock, and 2 have to']);
      expect(found.of('redis.listener')).toHaveLength(3);
      expect(found.stderr).toContain('printed while it is loaded');
      expect(found.stderr).not.toContain('the consumer has started');
    });

    // One route of two hundred: the application has decided about the others, and a pipeline would fail at each deploy.
    test('its routes, without the audit that it has turned off', async () => {
      const env = { DATABASE: JSON.stringify(fixture.options), OPTIONS: JSON.stringify({ audit: 'off' }) };
      const found = await doctor(undefined, ['--app', app], { env, run: apart });
      expect(found.of('routes')).toEqual([expect.stringMatching(/^ok Routes and mutations that change something: /)]);
    });

    test('that cannot be loaded, or is none', async () => {
      const env = { DATABASE: JSON.stringify({ ...fixture.options, port: 9 }) };
      const unreachable = await doctor(undefined, ['--app', app, '--timeout', '30s'], { env, run: apart });
      expect(unreachable.code).toBe(FAILED);
      expect(unreachable.of('application').join()).toMatch(/^failure .*could not be loaded: .*ECONNREFUSED/);
      const none = await doctor(url, ['--app', 'package.json'], { run: apart });
      expect(none.of('application').join()).toMatch(/^failure package\.json could not be loaded/);
      expect(none.of('database.writes').join()).toMatch(/^ok /);
    });

    // The file was imported, and the application served requests beside the deployed one while it was examined.
    test('that would start itself is not started', async () => {
      const main = join(dirname(app), 'doctor-main.mjs');
      const started = join(dirname(app), 'doctor-main.started');
      await writeFile(
        main,
        `import { writeFileSync } from 'node:fs';
         import { NestFactory } from '@nestjs/core';
         export class AppModule {}
         const app = await NestFactory.create(AppModule);
         await app.listen(0);
         writeFileSync(${JSON.stringify(started)}, '');`,
      );
      const found = await doctor(url, ['--app', main], { run: apart });
      expect(found.of('application').join()).toMatch(
        /^failure .*: it starts the application: name the file of the root/,
      );
      expect(existsSync(started)).toBe(false);
      await rm(main);
    });
  });

  test('text for people, and what to type next', async () => {
    const found = await cli(['doctor', '--no-app'], { env: { DATABASE_URL: url } });
    expect(found.stdout).toMatch(
      /^note {5}The routes were not examined\n {9}→ Name the compiled root module: --app dist/,
    );
    expect(found.stdout).toMatch(/\n\d+ failure, \d+ warning, \d+ note, \d+ ok\n$/);
    const folder = await installWithout(/^$/);
    const nothing = await cli(['doctor'], { cwd: folder });
    const neither = await cli(['doctor', '--no-app'], { cwd: folder });
    const noFile = await cli(['doctor', '--app', 'nix.js'], { cwd: folder });
    expect(noFile).toMatchObject({ code: USAGE, stderr: 'There is no file nix.js\nType next: npx nest build\n' });
    expect(nothing).toMatchObject({ code: USAGE, stderr: expect.stringContaining('--database-url') as string });
    // A build would not help who leaves the application out.
    expect(neither).toMatchObject({ code: USAGE, stderr: expect.stringMatching(/^Which database\?/) as string });
    await rm(folder, { recursive: true });
  });
});

test('the doctor on MariaDB', async () => {
  const settings = [
    '--max-allowed-packet=1M',
    '--max-connections=12',
    '--sql-mode=NO_ENGINE_SUBSTITUTION',
    '--transaction-isolation=SERIALIZABLE',
  ];
  const server = await startMariadb({ settings });
  const root = new DataSource({
    type: 'mariadb',
    host: '127.0.0.1',
    port: server.port,
    username: 't',
    password: 't',
    database: 'test',
  });
  try {
    await root.initialize();
    const url = `mariadb://t:t@127.0.0.1:${server.port}/test`;
    const none = await doctor(url);
    expect(none.code).toBe(FAILED);
    expect(none.of('database.writes').join()).toMatch(/^failure .*ER_NO_SUCH_TABLE.*→ Run the migrations/);
    await cliHere(['migrations', 'run'], { DATABASE_URL: url });

    const found = await doctor(url);
    expect(found.of('database.version').join()).toMatch(IS_MYSQL ? /^ok MySQL \d+\.\d+/ : /^ok \d+\.\d+.*MariaDB/);
    expect(found.of('database.writes').join()).toMatch(/^ok /);
    expect(found.of('tables.indexes')).toEqual([]);
    expect(found.of('mysql.max_allowed_packet').join()).toMatch(/^warning max_allowed_packet = 1\.0 MiB.*2097152/);
    expect(found.of('mysql.durability').join()).toMatch(/^warning innodb_flush_log_at_trx_commit = 2/);
    expect(found.of('mysql.sql_mode').join()).toMatch(/^warning .*STRICT_TRANS_TABLES/);
    expect(found.of('mysql.isolation').join()).toMatch(/^note .*SERIALIZABLE/);
    expect(found.of('connections').join()).toMatch(/^failure .* 14 connections .*allows 12 \(max_connections/);
    expect(found.of('clock').join()).toMatch(/^ok /);

    await root.query(`CREATE USER few@'127.0.0.1' IDENTIFIED BY 'p' WITH MAX_USER_CONNECTIONS 11`);
    await root.query(`GRANT SELECT, INSERT, UPDATE ON test.* TO few@'127.0.0.1'`);
    const few = await doctor(`mariadb://few:p@127.0.0.1:${server.port}/test`);
    expect(few.of('database.writes').join()).toMatch(
      /^failure .*could not delete a record.*ER_TABLEACCESS_DENIED_ERROR.*→ GRANT SELECT/,
    );
    expect(few.of('connections').join()).toMatch(/allows 11 \(max_user_connections/);

    await root.query('ALTER TABLE idempotency_step ENGINE = MyISAM');
    expect((await doctor(url)).of('mysql.engine').join()).toMatch(/^failure idempotency_step is of the engine MyISAM/);
  } finally {
    if (root.isInitialized) await root.destroy();
    await server.dispose();
  }
});

test('the doctor on SQLite', async () => {
  const fixture = await StoreFixture.open(backendOf('better-sqlite3'), { enableWAL: false });
  try {
    const url = urlOf(fixture.options);
    await fixture.dataSource.query('PRAGMA journal_mode = delete');
    await heldAndExpired(fixture);
    const found = await doctor(url);
    expect(found.of('database.version').join()).toMatch(/^ok SQLite 3/);
    expect(troubles(found)).toEqual([
      'application',
      'tables.migrations',
      'sqlite.journal_mode',
      'records.sweeping',
      'records.held',
      'records.unfinished',
    ]);
    expect(found.of('records.unfinished').join()).toMatch(
      /^note Operations that failed half way.*: 1\..*list --status failed/,
    );
    expect(found.code).toBe(WARNED);
    await fixture.dataSource.query('PRAGMA journal_mode = wal');
    await fixture.dataSource.query('DELETE FROM idempotency_record');
    expect(await doctor(url)).toMatchObject({ code: FINE });
    await fixture.dataSource.query('ALTER TABLE idempotency_record DROP COLUMN route');
    const old = await doctor(url);
    expect(old.code).toBe(FAILED);
    expect(old.of('database.writes').join()).toMatch(/→ Run the migrations/);
    expect(old.of('tables.columns').join()).toMatch(/^failure Missing: idempotency_record\.route/);
  } finally {
    await fixture.close();
  }
});

test('the doctor on Redis', async () => {
  const [one, two, three] = process.env.TEST_REDIS_PORTS!.split(',').map((port) => `redis://127.0.0.1:${port}`);
  const cache = await startRedis({ settings: ['--maxmemory', '64mb', '--maxmemory-policy', 'allkeys-lru'] });
  const replica = await startRedis({ settings: ['--replicaof', '127.0.0.1', new URL(one).port] });
  const fixture = await StoreFixture.open(backendOf('better-sqlite3'));
  try {
    const url = urlOf(fixture.options);
    const nodes = (...urls: string[]) => doctor(url, ['--no-app', '--redis', urls.join(',')]);

    const good = await nodes(one, two, three);
    expect(good.code).toBe(FINE);
    expect(good.of('redis.quorum')).toEqual(['ok 3 of 3 Redis nodes take a lock, and 2 have to']);
    expect(good.of('redis.independence').join()).toMatch(/^ok /);
    expect(good.of('redis.clock')).toHaveLength(3);

    const even = await nodes(one, two);
    expect(even.code).toBe(FAILED);
    expect(even.of('redis.nodes').join()).toMatch(/^failure .*odd number/);

    const twice = await nodes(one, one.replace('127.0.0.1', 'localhost'), two);
    expect(twice.of('redis.independence').join()).toMatch(/^failure Redis node 1 and Redis node 2 are the same server/);

    const bad = await nodes(one, `redis://127.0.0.1:${replica.port}`, `redis://127.0.0.1:${cache.port}`);
    expect(bad.of('redis.independence').join()).toMatch(/^failure Redis node 2 is a replica/);
    expect(bad.of('redis.quorum').join()).toMatch(/^warning 2 of 3 .*READONLY/);
    expect(bad.of('redis.eviction').join()).toMatch(/warning Redis node 3 has maxmemory-policy allkeys-lru/);

    const gone = await nodes(one, 'redis://127.0.0.1:9', 'redis://127.0.0.1:10');
    expect(gone.code).toBe(WARNED);
    expect(gone.of('redis.quorum').join()).toMatch(/^warning 1 of 3 .*requests go on without the lock/);
    expect(gone.of('redis.node')).toHaveLength(2);
  } finally {
    await fixture.close();
    await Promise.all([cache.dispose(), replica.dispose()]);
  }
});
