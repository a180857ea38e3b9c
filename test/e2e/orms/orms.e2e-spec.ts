import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Client } from 'pg';
import { root } from '../../../scripts/workspace.mjs';
import { prepareOrms } from '../../orms/prepare.mjs';
import { AppProcess } from '../../support/app-process.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { until } from '../../support/until.js';

/** The recipes of docs/drizzle.md, docs/prisma.md and docs/mikro-orm.md, with processes killed between write and outcome. */

/** The first run installs what the recipes use. */
const LIMIT = 180_000;
const BODY = { account: 1, amount: 5 };

let program: string;
let types: Promise<string>;

beforeAll(async () => {
  program = await prepareOrms();
  types = compilerOutput();
}, LIMIT);

describe.each(['drizzle', 'prisma', 'mikro-orm'])('%s', (application) => {
  let database: TestDatabase<'postgres'>;
  let sql: Client;
  let victim: AppProcess;
  let survivor: AppProcess;

  beforeAll(async () => {
    database = await createDatabase('postgres');
    const { host, port, username, database: name } = database.options;
    const url = `postgres://${username}@${host}:${port}/${name}`;
    sql = new Client(url);
    await sql.connect();
    await sql.query(`
      CREATE SCHEMA idempotency;
      CREATE TABLE account (id integer PRIMARY KEY, balance integer NOT NULL);
      CREATE TABLE payment (id uuid PRIMARY KEY, account integer NOT NULL, amount integer NOT NULL);
      INSERT INTO account VALUES (1, 100), (2, 100), (3, 100)`);
    const env = { DATABASE_URL: url, APPLICATION: application };
    survivor = await AppProcess.run(program, env);
    victim = await AppProcess.run(program, { ...env, HOLD: '3' });
  }, LIMIT);

  afterAll(async () => {
    await Promise.all([victim, survivor].map((app) => app?.stop()));
    await sql?.end();
    await database?.drop();
  });

  beforeEach(() => sql.query('TRUNCATE payment; UPDATE account SET balance = 100'));

  const post = (path: string, key: string, body: object = BODY, app = survivor) =>
    call(`${app.url}${path}`, { key, body });
  const written = async () => {
    const { rows } = await sql.query<{ payments: number; charged: number }>(
      'SELECT (SELECT count(*)::int FROM payment) AS payments, (SELECT 300 - sum(balance)::int FROM account) AS charged',
    );
    return rows[0];
  };

  test('a process that is killed between its writes and its outcome', async () => {
    const paths = ['/payments', '/payments/by-key', '/probes/apart'];
    const keys = new Map(paths.map((path) => [path, randomUUID()]));
    // An account each: one waits for another's transaction otherwise.
    const bodyOf = (path: string) => ({ account: paths.indexOf(path) + 1, amount: 5 });
    const dying = paths.map((path) => post(path, keys.get(path)!, bodyOf(path), victim).catch(() => 'no answer'));
    await until(() => victim.messages.length === paths.length);
    await victim.stop('SIGKILL');
    expect(await Promise.all(dying)).toEqual(['no answer', 'no answer', 'no answer']);
    // The key's own transaction and the write apart are committed, the write in the operation's is not.
    await until(async () => (await openTransactions()) === 0);
    expect(await written()).toEqual({ payments: 2, charged: 5 });
    await sql.query('UPDATE idempotency.idempotency_record SET lease_until = now()');

    const retry = async (path: string) => {
      const { status, body } = await post(path, keys.get(path)!, bodyOf(path));
      const again = await post(path, keys.get(path)!, bodyOf(path));
      expect([again.status, again.body, again.headers['idempotent-replayed']]).toEqual([status, body, 'true']);
      return { status, ...(await written()) };
    };
    expect(await retry('/payments')).toEqual({ status: 201, payments: 3, charged: 10 });
    expect(await retry('/payments/by-key')).toEqual({ status: 201, payments: 3, charged: 10 });
    expect(await retry('/probes/apart')).toEqual({ status: 201, payments: 4, charged: 10 });
  });

  /** What the recipes write is in the transaction, and reads are not writes. */
  test('the handler whose write is not in the transaction is named at boot, and no other', () => {
    const [, by] = /\(([^()]*) in ProbesController\.apart\)/.exec(survivor.output)!;
    expect(by).toBe(
      { drizzle: 'Drizzle by this.db', prisma: 'Prisma by this.prisma', 'mikro-orm': 'MikroORM by this.em' }[
        application
      ],
    );
    expect(survivor.output.match(/\w+Controller\.\w+ \(/g)).toEqual(['ProbesController.apart (']);
  });

  const openTransactions = async () => {
    const { rows } = await sql.query<{ open: number }>(
      `SELECT count(*)::int AS open FROM pg_stat_activity
       WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()`,
    );
    return rows[0].open;
  };

  test("its transactions are savepoints of the operation's, which commits or rolls back all that remains", async () => {
    const key = randomUUID();
    expect((await post('/probes/nested', key, { ...BODY, fail: true })).status).toBe(500);
    expect(await written()).toEqual({ payments: 0, charged: 0 });
    const answer = await post('/probes/nested', randomUUID());
    expect(JSON.parse(answer.body)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await written()).toEqual({ payments: 4, charged: 0 });
  });

  test('what a handler leaves running writes nothing once it has ended', async () => {
    expect((await post('/probes/left-behind', randomUUID())).status).toBe(201);
    expect((await post('/probes/late', randomUUID())).body).toContain('The transaction of this operation has ended');
    expect(await written()).toEqual({ payments: 0, charged: 0 });
  });

  if (application === 'drizzle') {
    test('a transaction on the bare connection commits too early: the outcome is unknown, and nothing runs again', async () => {
      const key = randomUUID();
      const answers = [await post('/probes/bare', key), await post('/probes/bare', key)];
      expect(answers.map(({ status }) => status)).toEqual([500, 409]);
      expect(answers[1].body).toContain('outcome-unknown');
      expect(await written()).toEqual({ payments: 1, charged: 0 });
    });
  }

  if (application === 'mikro-orm') {
    test("the schema generator leaves the library's tables alone", async () => {
      const { sql: statements } = JSON.parse((await post('/probes/schema', randomUUID())).body) as { sql: string };
      expect(statements).not.toContain('idempotency');
    });
  }
});

test('the types of the recipes', async () => expect(await types).toBe(''), LIMIT);

/** Begins while the applications run. */
function compilerOutput(): Promise<string> {
  const args = [join(root, 'node_modules/typescript/bin/tsc'), '-p', join(root, 'test/orms/tsconfig.json')];
  return new Promise((resolve) =>
    execFile(process.execPath, args, (error, stdout, stderr) =>
      resolve(stdout + stderr + (error && !stdout ? error.message : '')),
    ),
  );
}
