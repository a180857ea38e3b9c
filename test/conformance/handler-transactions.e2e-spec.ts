import { randomUUID } from 'node:crypto';
import {
  type ArgumentsHost,
  Catch,
  ConflictException,
  Controller,
  type ExceptionFilter,
  Post,
  UseFilters,
} from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Column, Entity, type EntityManager, PrimaryColumn, QueryFailedError } from 'typeorm';
import {
  type Execution,
  Idempotent,
  IdempotentExecution,
  IdempotencyService,
  StepResult,
  type TransactionHost,
} from '../../lib/index.js';
import { createDatabase, IS_MYSQL, type TestDatabase, type TestDialect } from '../support/database.js';
import { waitsForLock } from '../support/lock-waits.js';
import { startMariadb } from '../support/servers.mjs';
import { until } from '../support/until.js';
import { type AppSettings, PLATFORMS, type RunningApp, startApp } from './support/app.js';
import { codeOf, isReplay } from './support/cases.js';
import { type RawRequest, send } from './support/raw-http.js';

@Entity('ledger')
class Entry {
  @PrimaryColumn({ type: 'varchar', length: 80 }) id!: string;
  @Column({ type: 'varchar', length: 80 }) what!: string;
}

type Handler = (execution: Execution) => unknown;

/** What the handler of the next requests does. */
let handler: Handler = () => undefined;

@Catch(QueryFailedError)
class Violations implements ExceptionFilter<QueryFailedError & { code?: string }> {
  catch(error: QueryFailedError & { code?: string }, host: ArgumentsHost): void {
    const response = host.switchToHttp().getResponse<{ status(code: number): { send(body: object): void } }>();
    response.status(422).send({ violated: error.code });
  }
}

@Controller('tx')
class TransactionalController {
  @Idempotent({ transactional: true })
  @Post('run')
  run(@IdempotentExecution() execution: Execution) {
    return handler(execution);
  }

  @Idempotent({ transactional: true })
  @UseFilters(Violations)
  @Post('filtered')
  filtered(@IdempotentExecution() execution: Execution) {
    return handler(execution);
  }

  @Idempotent()
  @Post('plain')
  plain(@IdempotentExecution() execution: Execution) {
    return handler(execution);
  }
}

const settings: AppSettings = {
  controllers: [TransactionalController],
  imports: [TypeOrmModule.forFeature([Entry])],
};

const DIALECTS = ['postgres', 'mariadb', 'better-sqlite3'] as const satisfies readonly TestDialect[];

let app: RunningApp;
let service: IdempotencyService;

async function open(dialect: TestDialect, platform: (typeof PLATFORMS)[number] = 'express', more: AppSettings = {}) {
  app = await startApp(platform, { ...settings, dialect, ...more });
  service = app.app.get(IdempotencyService);
}

const to = (path: string): RawRequest & { key: string } => ({ path: `/tx/${path}`, key: randomUUID(), body: {} });
const write = (manager: EntityManager, key: string, what: string) =>
  manager.insert(Entry, { id: `${what} ${key}`, what });
/** A handler that writes before and after a statement. */
const writesAround =
  (sql: string): Handler =>
  async ({ manager, key }) => {
    await write(manager, key, 'debit');
    await manager.query(sql);
    await write(manager, key, 'credit');
    return { ok: true };
  };
/** What is in the ledger for a key. */
const entriesOf = async (key: string) =>
  (await app.dataSource.getRepository(Entry).find())
    .filter(({ id }) => id.endsWith(key))
    .map(({ what }) => what)
    .sort();
const statusOf = async ({ path, key }: { path: string; key?: string }) =>
  (await service.find({ key: key!, operation: `POST ${path}` }))?.status;
const warnings = (text: string) => app.log.lines.filter((line) => line.includes(text));
/** The driver's own connection, whose statements TypeORM does not see. */
async function rawly({ queryRunner }: EntityManager, sql: string): Promise<void> {
  const connection = (await queryRunner!.connect()) as {
    exec?: (sql: string) => unknown;
    query: (sql: string, done: (error: unknown) => void) => unknown;
  };
  if (connection.exec) connection.exec(sql);
  else
    await new Promise<void>((resolve, reject) =>
      connection.query(sql, (error) => (error ? reject(error as Error) : resolve())),
    );
}

describe.each(DIALECTS)('a transactional operation, on %s', (dialect) => {
  // TypeORM keeps results in a table of its own: a step could not read, and reads elsewhere were taken for lost writes.
  it.each([{}, { tableName: 'kept_results', alwaysEnabled: true }])('reads through a cache, %j', async (cache) => {
    const database: TestDatabase = await createDatabase(dialect);
    const options = { ...database.options, cache: { type: 'database', ...cache } } as TestDatabase['options'];
    await open(dialect, 'express', { database: { ...database, options } });
    try {
      const request = to('run');
      handler = async (execution) => {
        await write(execution.manager, execution.key, 'debit');
        const read = (manager: EntityManager) => manager.find(Entry, { where: { what: 'debit' }, cache: true });
        const within = await execution.step('read', () => read(execution.manager));
        return { within, beside: await read(app.dataSource.manager).then(({ length }) => length) };
      };
      expect((await send(app.port, request)).status).toBe(201);
      expect(isReplay(await send(app.port, request))).toBe(true);
      expect(warnings('writes through another connection')).toEqual([]);
    } finally {
      await app.close();
      await database.drop();
    }
  });
});

describe.each(DIALECTS)('a transactional operation, on %s', (dialect) => {
  beforeAll(() => open(dialect));
  afterAll(() => app?.close());

  it('refuses what a step writes in its transaction, and keeps nothing of it', async () => {
    const transfer = (key: string) =>
      service.run({ key, operation: 'transfer', transactional: true }, async (execution) => {
        await write(execution.manager, key, 'credit');
        await execution.step('debit', () => write(execution.manager, key, 'debit'));
        return 'transferred';
      });
    const key = randomUUID();
    for (let n = 0; n < 2; n++)
      await expect(transfer(key)).rejects.toThrow('Step "debit" writes through execution.manager');
    expect(await entriesOf(key)).toEqual([]);
  });

  it('lets a step read in its transaction, and write elsewhere', async () => {
    const key = randomUUID();
    const read = await service.run({ key, operation: 'report', transactional: true }, async (execution) => {
      await write(execution.manager, key, 'credit');
      return execution.step('count', () => execution.manager.countBy(Entry, { id: `credit ${key}` }));
    });
    expect(read).toBe(1);
  });

  it.each(['before', 'behind'])(
    'does not run a step again that was %s a write of a rolled back transaction',
    async (at) => {
      const key = randomUUID();
      let charges = 0;
      const order = (fails: boolean) =>
        service.run({ key, operation: 'order', transactional: true }, async (execution) => {
          if (at === 'behind') await write(execution.manager, key, 'order');
          const charge = await execution.step('charge', () => ({ id: ++charges, at: new Date(0) }));
          if (at === 'before') await write(execution.manager, key, 'order');
          if (fails) throw new Error('out of stock');
          return charge;
        });
      await expect(order(true)).rejects.toThrow('out of stock');
      expect(await entriesOf(key)).toEqual([]);
      expect(await order(false)).toEqual({ id: 1, at: new Date(0) });
      expect([charges, await entriesOf(key)]).toEqual([1, ['order']]);
    },
  );

  it.each([
    'COMMIT',
    'ROLLBACK',
    '/* nightly */ commit',
    ...(dialect === 'mariadb' ? ['CREATE TABLE scratch (a int)', 'CREATE OR REPLACE TABLE scratch (a int)'] : []),
  ])('refuses %s of the handler, and nothing stays', async (sql) => {
    const request = to('run');
    handler = writesAround(sql);
    for (let n = 0; n < 2; n++) expect((await send(app.port, request)).status).toBe(500);
    expect([await entriesOf(request.key), await statusOf(request)]).toEqual([[], 'failed']);
  });

  // The first was held: it resets the setting by which the library knows its transaction. The last was refused.
  it.each(
    {
      postgres: ['RESET ALL', 'CREATE TEMPORARY TABLE scratch (a int) ON COMMIT DROP', 'SET CONSTRAINTS ALL IMMEDIATE'],
      mariadb: [
        'CREATE TEMPORARY TABLE scratch (a int)',
        ...(IS_MYSQL
          ? ['EXPLAIN ANALYZE SELECT 1']
          : [
              'CREATE OR REPLACE TEMPORARY TABLE scratch (a int)',
              'BEGIN NOT ATOMIC SET @a = 1; SET @b = 2; END',
              'ANALYZE FORMAT=JSON SELECT 1',
            ]),
      ],
      'better-sqlite3': ['CREATE TEMPORARY TABLE scratch (a int)'],
    }[dialect],
  )('passes %s', async (sql) => {
    const request = to('run');
    handler = writesAround(sql);
    expect((await send(app.port, request)).status).toBe(201);
    expect(isReplay(await send(app.port, request))).toBe(true);
    expect(await entriesOf(request.key)).toEqual(['credit', 'debit']);
  });

  it('passes savepoints, and what is undone to one', async () => {
    const request = to('run');
    handler = async ({ manager, key }) => {
      await write(manager, key, 'debit');
      await manager
        .transaction(async (nested) => {
          await write(nested, key, 'bonus');
          throw new ConflictException('no bonus');
        })
        .catch(() => undefined);
      await manager.transaction((nested) => write(nested, key, 'credit'));
      return { ok: true };
    };
    expect((await send(app.port, request)).status).toBe(201);
    expect(isReplay(await send(app.port, request))).toBe(true);
    expect(await entriesOf(request.key)).toEqual(['credit', 'debit']);
  });

  it.each(['COMMIT', 'ROLLBACK'])('is held where a %s went past it: what stays is unknown', async (sql) => {
    const request = to('run');
    handler = async ({ manager, key }) => {
      await write(manager, key, 'debit');
      await rawly(manager, sql);
      return { ok: true };
    };
    expect((await send(app.port, request)).status).toBe(500);
    expect([codeOf(await send(app.port, request)), await statusOf(request)]).toEqual(['outcome-unknown', 'held']);
    expect(warnings('the record is held. The transaction of this operation ended before its handler did')).not.toEqual(
      [],
    );
  });

  it('warns once for each endpoint of writes that are not part of it', async () => {
    const countWarnings = () => warnings('writes through another connection than execution.manager').length;
    const before = countWarnings();
    handler = async ({ manager, key }) => {
      await write(manager, key, 'debit');
      await app.dataSource.getRepository(Entry).findBy({ what: 'nothing' });
      return { ok: true };
    };
    await send(app.port, to('filtered'));
    expect(countWarnings()).toBe(before);
    // SQLite has no other connection to write through: the write is part of the transaction there, and in production not.
    handler = ({ key }) => app.dataSource.getRepository(Entry).insert({ id: `stray ${key}`, what: 'stray' });
    for (let n = 0; n < 2; n++) expect((await send(app.port, to('filtered'))).status).toBe(201);
    expect(countWarnings()).toBe(before + 1);
    expect(app.log.toString()).toContain('POST /tx/filtered: the handler of this transactional operation writes');
  });

  it('answers with the error of what followed its commit, in the log alone', async () => {
    const request = to('run');
    handler = ({ manager, key }) => write(manager, key, 'order').then(() => ({ ok: true }));
    const subscriber = {
      afterTransactionCommit: () => {
        throw new Error('mail server down');
      },
    };
    app.dataSource.subscribers.push(subscriber);
    try {
      expect((await send(app.port, request)).status).toBe(201);
    } finally {
      app.dataSource.subscribers.splice(app.dataSource.subscribers.indexOf(subscriber), 1);
    }
    expect(isReplay(await send(app.port, request))).toBe(true);
    expect([await entriesOf(request.key), warnings('mail server down').length]).toEqual([['order'], 1]);
  });

  it('hands the error of what preceded its commit to the filters, and nothing stays', async () => {
    const request = to('run');
    handler = ({ manager, key }) => write(manager, key, 'order').then(() => ({ ok: true }));
    const subscriber = {
      beforeTransactionCommit: () => {
        throw new ConflictException('outbox entry missing');
      },
    };
    app.dataSource.subscribers.push(subscriber);
    try {
      const answer = await send(app.port, request);
      expect([answer.status, answer.body.toString()]).toEqual([409, expect.stringContaining('outbox entry missing')]);
    } finally {
      app.dataSource.subscribers.splice(app.dataSource.subscribers.indexOf(subscriber), 1);
    }
    expect([await entriesOf(request.key), await statusOf(request)]).toEqual([[], 'failed']);
    expect((await send(app.port, request)).status).toBe(201);
  });
});

describe.each(PLATFORMS)('a database that refuses, on %s', (platform) => {
  describe('PostgreSQL', () => {
    beforeAll(async () => {
      await open('postgres', platform);
      await app.dataSource.query('CREATE TABLE account (id int PRIMARY KEY)');
      await app.dataSource.query(
        'CREATE TABLE posting (key text, account int REFERENCES account DEFERRABLE INITIALLY DEFERRED)',
      );
    });
    afterAll(() => app?.close());

    it('a COMMIT: its error reaches the filters, as without the library', async () => {
      const request = to('filtered');
      handler = async ({ manager, key }) => {
        await manager.query('INSERT INTO posting VALUES ($1, 99)', [key]);
        return { posted: true };
      };
      for (let n = 0; n < 2; n++) {
        const answer = await send(app.port, request);
        expect([answer.status, JSON.parse(answer.body.toString())]).toEqual([422, { violated: '23503' }]);
      }
      expect(await statusOf(request)).toBe('failed');
      expect(warnings('POST /tx/filtered: the transaction was rolled back, and the key is free: ').at(-1)).toContain(
        '23503',
      );
      // Without a filter of the application's, as Nest answers any error.
      const unfiltered = await send(app.port, to('run'));
      expect([unfiltered.status, codeOf(unfiltered)]).toEqual([500, undefined]);
      handler = () => ({ posted: true });
      expect((await send(app.port, request)).status).toBe(201);
    });

    it('what comes after a failed statement: logged once, with what to do', async () => {
      const request = to('run');
      handler = async ({ manager, key }) => {
        await write(manager, key, 'order');
        await write(manager, key, 'order').catch(() => undefined);
        return { ok: true };
      };
      const answer = await send(app.port, request);
      expect([answer.status, codeOf(answer)]).toEqual([500, undefined]);
      expect([await entriesOf(request.key), await statusOf(request)]).toEqual([[], 'failed']);
      expect(warnings('25P02').at(-1)).toContain('execution.manager.transaction(...)');
    });

    it('an idle transaction: logged with the setting that ended it', async () => {
      const request = to('run');
      handler = async ({ manager, key }) => {
        await manager.query(`SET LOCAL idle_in_transaction_session_timeout = '50ms'`);
        await write(manager, key, 'order');
        const [{ pid }] = (await manager.query('SELECT pg_backend_pid() AS pid')) as [{ pid: number }];
        const isThere = () =>
          app.dataSource.query('SELECT 1 FROM pg_stat_activity WHERE pid = $1', [pid]) as Promise<unknown[]>;
        await until(async () => (await isThere()).length === 0);
        return { ok: true };
      };
      const answer = await send(app.port, request);
      expect([answer.status, codeOf(answer)]).toEqual([500, undefined]);
      expect(warnings('idle_in_transaction_session_timeout').at(-1)).toContain('25P03');
      expect([await entriesOf(request.key), await statusOf(request)]).toEqual([[], 'failed']);
    });

    // The server reports why it closes the connection where a statement waits for its answer, and not by the connection's own error.
    it.each(['let through', 'caught'])('a statement of a transaction that took too long, %s', async (how) => {
      const request = to('run');
      handler = async ({ manager, key }) => {
        await manager.query(`SET LOCAL transaction_timeout = '100ms'`);
        await write(manager, key, 'order');
        const slow = manager.query('SELECT pg_sleep(60)');
        await (how === 'caught' ? slow.catch(() => undefined) : slow);
        return { ok: true };
      };
      const answer = await send(app.port, request);
      expect([answer.status, codeOf(answer)]).toEqual([500, undefined]);
      expect(warnings('longer than transaction_timeout').at(-1)).toContain('25P04');
      expect([await entriesOf(request.key), await statusOf(request)]).toEqual([[], 'failed']);
    });

    it('the response: done without it in a plain operation, rolled back in a transactional one', async () => {
      await app.dataSource.query(
        'ALTER TABLE idempotency_record ADD CONSTRAINT short CHECK (octet_length(response_body) < 100)',
      );
      let effects = 0;
      handler = async (execution) => {
        effects++;
        if (execution.openTransaction) await write(execution.manager, execution.key, 'order');
        return { long: 'x'.repeat(200) };
      };
      try {
        const plain = to('plain');
        expect((await send(app.port, plain)).status).toBe(201);
        expect([codeOf(await send(app.port, plain)), effects]).toEqual(['replay-unavailable', 1]);
        expect(warnings('POST /tx/plain').at(-1)).toContain('short');

        const inTransaction = to('filtered');
        const answer = await send(app.port, inTransaction);
        // The statement is the library's: no filter for errors of the application's statements takes it for one of those.
        expect([answer.status, codeOf(answer)]).toEqual([500, undefined]);
        expect(warnings('POST /tx/filtered').at(-1)).toContain('23514');
        expect([await entriesOf(inTransaction.key), await statusOf(inTransaction)]).toEqual([[], 'failed']);
      } finally {
        await app.dataSource.query('ALTER TABLE idempotency_record DROP CONSTRAINT short');
      }
    });
  });

  it('a transaction host that throws: its own error, and not an outage', async () => {
    const run = () => Promise.reject(new TypeError('Cannot read properties of undefined'));
    await open('better-sqlite3', platform, { options: { transactionHost: { run } } });
    try {
      handler = () => ({ ok: true });
      const answer = await send(app.port, to('run'));
      expect([answer.status, codeOf(answer)]).toEqual([500, undefined]);
      expect(warnings('Cannot read properties of undefined')).not.toEqual([]);
    } finally {
      await app.close();
    }
  });
});

describe('a transaction host that tries again', () => {
  const run: TransactionHost['run'] = async (dataSource, work) => {
    try {
      return await dataSource.transaction(work);
    } catch (error) {
      if ((error as { code?: unknown }).code !== '40001') throw error;
      return dataSource.transaction(work);
    }
  };
  beforeAll(() => open('postgres', 'fastify', { options: { transactionHost: { run } } }));
  afterAll(() => app?.close());

  // The handler ran once more, its end was taken for that of the first run, and its transaction stayed open: no answer ever came.
  it('after a COMMIT that conflicts does not run the handler again: its client does', async () => {
    await app.dataSource.query(`CREATE SEQUENCE commits;
      CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('commits') = 1 THEN RAISE EXCEPTION 'could not serialize' USING ERRCODE = '40001'; END IF;
        RETURN NULL;
      END $$;
      CREATE CONSTRAINT TRIGGER conflict AFTER INSERT ON ledger DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION conflict()`);
    let runs = 0;
    handler = async (execution) => {
      runs++;
      await write(execution.manager, execution.key, 'debit');
      return { ok: true };
    };
    const request = to('run');
    expect((await send(app.port, request)).status).toBe(500);
    expect([runs, await entriesOf(request.key), await statusOf(request)]).toEqual([1, [], 'failed']);
    expect(warnings('transactionHost').at(-1)).toMatch(/run\(\) has run its work twice/);
    expect((await send(app.port, request)).status).toBe(201);
    expect([runs, await entriesOf(request.key)]).toEqual([2, ['debit']]);
    expect(isReplay(await send(app.port, request))).toBe(true);
  });
});

describe.each(['postgres', 'mariadb'] as const)('a deadlock that the handler catches, on %s', (dialect) => {
  beforeAll(() => open(dialect));
  afterAll(() => app?.close());

  it('ends the operation: nothing stays, and the key is free', async () => {
    const { dataSource } = app;
    const rows = ['p', 'q', ...Array.from({ length: 40 }, (_, i) => `x${i}`)];
    await dataSource.getRepository(Entry).insert(rows.map((id) => ({ id, what: '' })));
    // It has changed more rows, so that the other one is the victim.
    const rival = dataSource.createQueryRunner();
    const reason: unknown[] = [];
    const request = to('run');
    handler = async ({ manager, key }) => {
      if (dialect === 'postgres') await manager.query(`SET LOCAL deadlock_timeout = '10ms'`);
      await write(manager, key, 'debit');
      await manager.update(Entry, { id: 'p' }, { what: 'mine' });
      const blocked = rival.manager.update(Entry, { id: 'p' }, { what: 'rival' });
      await until(() => waitsForLock(dataSource));
      await manager.update(Entry, { id: 'q' }, { what: 'mine' }).catch((error: unknown) => reason.push(error));
      await blocked;
      await rival.commitTransaction();
      await manager.update(Entry, { id: 'q' }, { what: 'mine' });
      await write(manager, key, 'credit');
      return { transferred: true };
    };
    await rival.startTransaction();
    // PostgreSQL picks the one that has waited for this long.
    if (dialect === 'postgres') await rival.query(`SET LOCAL deadlock_timeout = '1min'`);
    for (const id of rows.slice(2)) await rival.manager.update(Entry, { id }, { what: 'rival' });
    await rival.manager.update(Entry, { id: 'q' }, { what: 'rival' });
    const answer = await send(app.port, request);
    await rival.release();
    expect(reason).toEqual([expect.any(QueryFailedError)]);
    // PostgreSQL says of each statement after it that the transaction is aborted, and that is what the handler throws.
    expect(answer.status).toBe(dialect === 'mariadb' ? 503 : 500);
    expect([await entriesOf(request.key), await statusOf(request)]).toEqual([[], 'failed']);
    handler = ({ manager, key }) => write(manager, key, 'credit').then(() => ({ transferred: true }));
    expect((await send(app.port, request)).status).toBe(201);
  });
});

// With TypeORM 0.3, what the handler wrote next was committed by itself, and the key was free: the retry wrote it again.
it('MariaDB that rolls back at a lock timeout: what a handler writes next is refused at once', async () => {
  const server = await startMariadb({
    settings: ['--innodb-rollback-on-timeout=ON', '--innodb-lock-wait-timeout=1'],
  });
  const options = {
    type: 'mariadb',
    host: '127.0.0.1',
    port: server.port,
    username: 'root',
    database: 'test',
  } as const;
  try {
    await open('mariadb', 'express', { database: { dialect: 'mariadb', options, drop: async () => undefined } });
    const request = to('run');
    handler = ({ manager, key }) => write(manager, key, 'debit').then(() => ({ ok: true }));
    expect((await send(app.port, request)).status).toBe(201);
    for (const subscriber of app.dataSource.subscribers) {
      // TypeORM before 1.0 does not wait for it.
      const afterQuery = subscriber.afterQuery?.bind(subscriber);
      if (afterQuery) subscriber.afterQuery = (event) => void afterQuery(event);
    }
    const locking = app.dataSource.createQueryRunner();
    await locking.startTransaction();
    await locking.manager.update(Entry, { id: `debit ${request.key}` }, { what: 'locked' });
    const passing = to('run');
    handler = async ({ manager, key }) => {
      await write(manager, key, 'debit');
      const row = await manager
        .query('SELECT what FROM ledger WHERE id = ? FOR UPDATE NOWAIT', [`debit ${request.key}`])
        .catch(() => 'locked');
      expect(row).toBe('locked');
      await write(manager, key, 'credit');
      return { ok: true };
    };
    // MariaDB reports a time-out. MySQL has an error of its own, which undoes the statement alone.
    const passed = await send(app.port, passing);
    expect([passed.status, await entriesOf(passing.key)]).toEqual(IS_MYSQL ? [201, ['credit', 'debit']] : [503, []]);
    const refused = to('run');
    handler = async ({ manager, key }) => {
      await write(manager, key, 'debit');
      await manager.update(Entry, { id: `debit ${request.key}` }, { what: 'credited' }).catch(() => undefined);
      await write(manager, key, 'credit');
      return { ok: true };
    };
    expect((await send(app.port, refused)).status).toBe(503);
    await locking.rollbackTransaction();
    await locking.release();
    expect([await entriesOf(refused.key), await statusOf(refused)]).toEqual([[], 'failed']);
    expect((await send(app.port, refused)).status).toBe(201);
    expect(await entriesOf(refused.key)).toEqual(['credit', 'debit']);
  } finally {
    await app?.close();
    await server.dispose();
  }
});

describe('a transactional operation, on MySQL and MariaDB', () => {
  beforeAll(() => open('mariadb'));
  afterAll(() => app?.close());

  it.each(['idempotency_record', 'ledger'])('while %s is altered: 503, and its retry succeeds', async (table) => {
    const request = to('run');
    handler = async ({ manager, key }) => {
      // Its snapshot.
      await manager.query('SELECT COUNT(*) FROM idempotency_step');
      await app.dataSource.query(`ALTER TABLE ${table} ENGINE = InnoDB`);
      await write(manager, key, 'order');
      await manager.findOneBy(Entry, { id: `order ${key}` });
      return { ok: true };
    };
    const answer = await send(app.port, request);
    expect([answer.status, codeOf(answer)]).toEqual([503, 'store-unavailable']);
    expect([await entriesOf(request.key), await statusOf(request)]).toEqual([[], 'failed']);
    handler = ({ manager, key }) => write(manager, key, 'order').then(() => ({ ok: true }));
    expect((await send(app.port, request)).status).toBe(201);
    expect(await entriesOf(request.key)).toEqual(['order']);
  });

  // The effect is there once for each attempt, and nothing else says so.
  it('that writes to a table without transactions: its first ROLLBACK is an error in the log', async () => {
    await app.dataSource.query('CREATE TABLE audit_trail (what varchar(40)) ENGINE = MyISAM');
    handler = async ({ manager, key }) => {
      await write(manager, key, 'order');
      await manager.query('INSERT INTO audit_trail VALUES (?)', [key]);
      throw new Error('failed');
    };
    for (const request of [to('run'), to('run')]) {
      expect((await send(app.port, request)).status).toBe(500);
      expect(await entriesOf(request.key)).toEqual([]);
    }
    expect(warnings('ROLLBACK has not undone')).toEqual([
      expect.stringMatching(/^ERROR POST \/tx\/run: a ROLLBACK has not undone all .*ENGINE = InnoDB/),
    ]);
  });

  it('whose session the server ends for idleness: 503, and its retry succeeds', async () => {
    const request = to('run');
    handler = async ({ manager, key }) => {
      await write(manager, key, 'order');
      const [{ id }] = (await manager.query('SELECT CONNECTION_ID() AS id')) as [{ id: number }];
      await manager.query('SET SESSION wait_timeout = 1');
      const isThere = () =>
        app.dataSource.query('SELECT 1 FROM information_schema.processlist WHERE id = ?', [id]) as Promise<unknown[]>;
      await until(async () => (await isThere()).length === 0);
      return { ok: true };
    };
    const answer = await send(app.port, request);
    expect([answer.status, codeOf(answer)]).toEqual([503, 'store-unavailable']);
    // MariaDB closes it without a word.
    if (IS_MYSQL) expect(warnings('4031').at(-1)).toContain('wait_timeout');
    expect([await entriesOf(request.key), await statusOf(request)]).toEqual([[], 'failed']);
    handler = ({ manager, key }) => write(manager, key, 'order').then(() => ({ ok: true }));
    expect((await send(app.port, request)).status).toBe(201);
  });

  it.each(['CHECK TABLE ledger', 'LOAD INDEX INTO CACHE ledger', "SET PASSWORD FOR another = 'x'"])(
    '%s: refused before it commits',
    async (sql) => {
      const request = to('run');
      handler = writesAround(sql);
      expect((await send(app.port, request)).status).toBe(500);
      expect([await entriesOf(request.key), await statusOf(request)]).toEqual([[], 'failed']);
    },
  );
});

if (!IS_MYSQL) {
  it('MariaDB with snapshot isolation, as from 11.6 on: a heartbeat does not fail the completion', async () => {
    await open('mariadb', 'express', { options: { lease: '600ms' } });
    try {
      const request = to('run');
      const leaseOf = async () => (await service.find({ key: request.key, operation: 'POST /tx/run' }))!.leaseUntil;
      handler = async ({ manager, key }) => {
        await manager.query('SET SESSION innodb_snapshot_isolation = ON');
        await manager.count(Entry);
        await write(manager, key, 'order');
        const lease = await leaseOf();
        await until(async () => (await leaseOf()) > lease);
        return { ok: true };
      };
      const answer = await send(app.port, request);
      expect(answer.status).toBe(201);
      expect([isReplay(await send(app.port, request)), await entriesOf(request.key)]).toEqual([true, ['order']]);
    } finally {
      await app.close();
    }
  });
}

describe('a step', () => {
  beforeAll(() => open('better-sqlite3'));
  afterAll(() => app?.close());

  const charged = (verify: () => unknown) => {
    let charges = 0;
    const key = randomUUID();
    const run = (fails: boolean) =>
      service.run({ key, operation: 'charge' }, (execution) =>
        execution.step(
          'charge',
          () => {
            if (fails) throw new Error('connection refused');
            return { charge: ++charges };
          },
          { verify: verify as never },
        ),
      );
    return { run, charges: () => charges };
  };

  it.each([null, undefined])('did not happen where verify returns %s', async (nothing) => {
    const { run, charges } = charged(() => nothing);
    await expect(run(true)).rejects.toThrow('connection refused');
    expect(await run(false)).toEqual({ charge: 1 });
    expect(charges()).toBe(1);
  });

  it('did happen where verify returns a result, or a null that is one', async () => {
    for (const result of [{ charge: 7 }, new StepResult(null)]) {
      const { run, charges } = charged(() => result);
      await expect(run(true)).rejects.toThrow('connection refused');
      expect(await run(false)).toEqual(result instanceof StepResult ? null : result);
      expect(charges()).toBe(0);
    }
  });

  it('that threw may be called again by the same handler, and one that is done may not', async () => {
    let tries = 0;
    const result = await service.run({ key: randomUUID(), operation: 'again' }, async (execution) => {
      const charge = () =>
        execution.step('charge', () => {
          if (++tries < 3) throw new Error('ECONNRESET');
          return 'charged';
        });
      await expect(charge()).rejects.toThrow('ECONNRESET');
      await expect(charge()).rejects.toThrow('ECONNRESET');
      const charge3 = await charge();
      await expect(charge()).rejects.toThrow('named twice');
      return charge3;
    });
    expect([result, tries]).toEqual(['charged', 3]);
  });

  it('returns on later attempts what it returned on the first: dates, bigints and bytes', async () => {
    const key = randomUUID();
    const value = { at: new Date(5), cents: 12n, bytes: Buffer.from('x'), none: undefined };
    const run = (fails: boolean) =>
      service.run({ key, operation: 'typed' }, async (execution) => {
        const result = await execution.step('price', () => value);
        if (fails) throw new Error('later');
        return result;
      });
    await expect(run(true)).rejects.toThrow('later');
    expect(await run(false)).toEqual(value);
  });

  it('whose result cannot be kept is done all the same: it is found by verify, or held', async () => {
    for (const verify of [undefined, () => 'found']) {
      const key = randomUUID();
      let charges = 0;
      const run = (fails: boolean) =>
        service.run({ key, operation: 'cyclic' }, async (execution) => {
          const cycle = new Map<string, unknown>();
          cycle.set('self', cycle);
          const result = await execution.step('charge', () => (charges++, cycle), {
            verify: verify as never,
          });
          if (fails) throw new Error('later');
          return result as unknown;
        });
      await expect(run(true)).rejects.toThrow('later');
      if (verify) expect(await run(false)).toBe('found');
      else await expect(run(false)).rejects.toMatchObject({ code: 'outcome-unknown' });
      expect(charges).toBe(1);
    }
    expect(warnings('the result of step "charge" of record').length).toBeGreaterThan(0);
  });

  it('has any name that JSON can carry, and different names are different steps', async () => {
    const names = ['a\0b', 'a\ud800b', 'a', 'a ', 'A', 'ä', 'a\\u{0}b'];
    const key = randomUUID();
    const calls: string[] = [];
    const run = (fails: boolean) =>
      service.run({ key, operation: 'names' }, async (execution) => {
        for (const name of names) await execution.step(name, () => calls.push(name));
        if (fails) throw new Error('later');
      });
    await expect(run(true)).rejects.toThrow('later');
    await run(false);
    expect(calls).toEqual(names);
    await expect(
      service.run({ key: randomUUID(), operation: 'long' }, (execution) =>
        execution.step('n'.repeat(192), () => calls.push('ran')),
      ),
    ).rejects.toThrow(RangeError);
    expect(calls).toEqual(names);
  });
});

describe('an execution', () => {
  beforeAll(() => open('better-sqlite3'));
  afterAll(() => app?.close());

  it('that runs for longer than it may is logged, and its key is free once its lease has run out', async () => {
    const key = randomUUID();
    let end!: (value: string) => void;
    const hanging = new Promise<string>((resolve) => (end = resolve));
    let signal: AbortSignal | undefined;
    const run = (work: () => unknown) =>
      service.run({ key, operation: 'hang', lease: '300ms', maxDuration: '100ms' }, (execution) => {
        signal = execution.signal;
        return work();
      });
    const first = run(() => hanging);
    await until(() => signal?.aborted === true);
    expect((signal!.reason as Error).name).toBe('MaxDurationError');
    let second: unknown;
    await until(async () => {
      second = await run(() => 'second').catch(() => undefined);
      return second !== undefined;
    });
    end('first');
    expect([second, await first]).toEqual(['second', 'second']);
    // By the record, an operator finds the request whose effect may be there twice.
    const [{ id }] = await service.list({ operation: 'hang' });
    expect(warnings('maxDuration').join()).toContain(id);
    expect(warnings('has lost its record').join()).toContain(id);
  });

  it('whose value cannot be kept is done, and its key is not free', async () => {
    const key = randomUUID();
    let effects = 0;
    const run = () =>
      service.run({ key, operation: 'cyclic value' }, () => {
        const cycle = new Map<string, unknown>();
        cycle.set('self', cycle);
        return { effect: ++effects, cycle };
      });
    expect((await run()).effect).toBe(1);
    await expect(run()).rejects.toMatchObject({ code: 'replay-unavailable' });
    expect(effects).toBe(1);
  });

  it.each(['run', 'plain'])('that throws an error which is its own cause answers, over POST /tx/%s', async (path) => {
    handler = () => {
      const error = new Error('upstream failed');
      error.cause = new Error('reset', { cause: error });
      throw error;
    };
    expect((await send(app.port, to(path))).status).toBe(500);
  });
});
