import { randomUUID } from 'node:crypto';
import { Controller, Post } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import {
  Column,
  Entity,
  type EntityManager,
  type EntitySubscriberInterface,
  type Logger,
  PrimaryColumn,
  type QueryRunner,
} from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution, IdempotencyService } from '../../lib/index.js';
import { createDatabase, type TestDatabase, type TestDialect } from '../support/database.js';
import { PLATFORMS, type Platform, type RunningApp, startApp } from './support/app.js';
import { codeOf, isReplay } from './support/cases.js';
import { send } from './support/raw-http.js';

@Entity('transfer')
class Transfer {
  @PrimaryColumn({ type: 'varchar', length: 80 }) id!: string;
  @Column({ type: 'varchar', length: 80 }) what!: string;
}

let handler: (execution: Execution) => unknown;

@Controller('transfers')
class TransfersController {
  @Idempotent({ transactional: true })
  @Post()
  transfer(@IdempotentExecution() execution: Execution) {
    return handler(execution);
  }
}

interface PgClient {
  query(...args: unknown[]): unknown;
}

let app: RunningApp;
let database: TestDatabase;

async function open(dialect: TestDialect, platform: Platform = 'fastify', options: object = {}): Promise<void> {
  const made = (database = await createDatabase(dialect));
  app = await startApp(platform, {
    database: { ...made, options: { ...made.options, ...options } as never },
    controllers: [TransfersController],
    imports: [TypeOrmModule.forFeature([Transfer])],
  });
}

async function close(): Promise<void> {
  await app?.close();
  await database?.drop();
}

const request = () => ({ path: '/transfers', key: randomUUID(), body: {} });
const write = ({ manager, key }: Execution, what: string, within: EntityManager = manager) =>
  within.insert(Transfer, { id: `${what} ${key}`, what });
const writesOf = async (key: string) =>
  (await app.dataSource.getRepository(Transfer).find())
    .filter(({ id }) => id.endsWith(key))
    .map(({ what }) => what)
    .sort();
const depthOf = (runner: QueryRunner) => (runner as unknown as { transactionDepth: number }).transactionDepth;
const statusOf = async (key: string) =>
  (await app.app.get(IdempotencyService).find({ key, operation: 'POST /transfers' }))?.status;

describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)('on %s', (dialect) => {
  beforeAll(() => open(dialect));
  afterAll(close);

  it('commits what a handler wrote, though it left a nested transaction open', async () => {
    handler = async (execution) => {
      await write(execution, 'debit');
      await execution.manager.queryRunner!.startTransaction();
      await write(execution, 'credit');
      return { ok: true };
    };
    for (let n = 0; n < 3; n++) {
      const asked = request();
      expect((await send(app.port, asked)).status).toBe(201);
      expect(await writesOf(asked.key)).toEqual(['credit', 'debit']);
      expect(isReplay(await send(app.port, asked))).toBe(true);
    }
  });

  it('undoes all of it, where the handler then fails', async () => {
    handler = async (execution) => {
      await write(execution, 'debit');
      await execution.manager.queryRunner!.startTransaction();
      await write(execution, 'credit');
      throw new Error('declined');
    };
    const asked = request();
    expect((await send(app.port, asked)).status).toBe(500);
    expect([await writesOf(asked.key), await statusOf(asked.key)]).toEqual([[], 'failed']);
    handler = (execution) => write(execution, 'debit').then(() => ({ ok: true }));
    expect((await send(app.port, asked)).status).toBe(201);
    expect(await writesOf(asked.key)).toEqual(['debit']);
  });

  // MariaDB and SQLite committed the writes of all three, of which each was reported as failed.
  it('commits nothing where transactions within it have overlapped', async () => {
    const items = [1, 2, 3];
    const settled: string[] = [];
    handler = async (execution) => {
      const nested = items.map((item) =>
        execution.manager.transaction(async (manager) => {
          await write(execution, `item ${item}`, manager);
          if (item === 2) throw new Error('sold out');
        }),
      );
      settled.push(...(await Promise.allSettled(nested)).map(({ status }) => status));
      return settled;
    };
    const asked = request();
    expect((await send(app.port, asked)).status).toBe(500);
    expect(settled).toContain('rejected');
    expect([await writesOf(asked.key), await statusOf(asked.key)]).toEqual([[], 'failed']);
    handler = async (execution) => {
      for (const item of items)
        await execution.manager.transaction((manager) => write(execution, `item ${item}`, manager));
      return 'one after the other';
    };
    expect((await send(app.port, asked)).status).toBe(201);
    expect(await writesOf(asked.key)).toEqual(['item 1', 'item 2', 'item 3']);
  });

  // PostgreSQL refuses RELEASE SAVEPOINT after an error that was caught within, and takes the ROLLBACK TO SAVEPOINT that follows.
  it('commits the rest, where the handler catches what a nested transaction has rejected with', async () => {
    handler = async (execution) => {
      await write(execution, 'debit');
      await execution.manager
        .transaction(async (manager) => {
          await write(execution, 'fee', manager);
          await write(execution, 'fee', manager).catch(() => undefined);
          if (dialect !== 'postgres') throw new Error('charged twice');
        })
        .catch(() => undefined);
      await write(execution, 'credit');
      return 'done';
    };
    const asked = request();
    expect((await send(app.port, asked)).status).toBe(201);
    expect([await writesOf(asked.key), await statusOf(asked.key)]).toEqual([['credit', 'debit'], 'done']);
  });

  // TypeORM took the whole transaction for ended, and its connection returned to the pool without COMMIT or ROLLBACK.
  it('ends, though a subscriber has refused a nested transaction', async () => {
    const subscriber: EntitySubscriberInterface = {
      beforeTransactionStart: ({ queryRunner }) => {
        if (queryRunner.isTransactionActive && depthOf(queryRunner) > 0) throw new Error('no savepoints');
      },
    };
    const { subscribers } = app.dataSource;
    subscribers.push(subscriber);
    try {
      let isCaught = false;
      handler = async (execution) => {
        await write(execution, 'debit');
        const nested = execution.manager.transaction((manager) => write(execution, 'bonus', manager));
        await nested.catch((error: unknown) => {
          if (!isCaught) throw error;
        });
        return { ok: true };
      };
      const [failed, caught] = [request(), request()];
      expect((await send(app.port, failed)).status).toBe(500);
      isCaught = true;
      expect((await send(app.port, caught)).status).toBe(201);
      expect([await writesOf(failed.key), await writesOf(caught.key)]).toEqual([[], ['debit']]);
      expect(isReplay(await send(app.port, caught))).toBe(true);
    } finally {
      subscribers.splice(subscribers.indexOf(subscriber), 1);
    }
  });

  // COMMIT found no transaction, which is no error: the client got a success of which nothing was kept.
  it.each([
    ['rollbackTransaction()', (runner: QueryRunner) => runner.rollbackTransaction()],
    ['a statement', (runner: QueryRunner) => runner.query('ROLLBACK')],
  ])('has failed where a subscriber rolls back before COMMIT, by %s', async (_how, rollBack) => {
    let isRefused = true;
    const subscriber: EntitySubscriberInterface = {
      beforeTransactionCommit: async ({ queryRunner }) => {
        if (isRefused) await rollBack(queryRunner);
      },
    };
    const { subscribers } = app.dataSource;
    subscribers.push(subscriber);
    try {
      handler = (execution) => write(execution, 'debit').then(() => ({ ok: true }));
      const asked = request();
      expect((await send(app.port, asked)).status).toBe(500);
      expect([await writesOf(asked.key), await statusOf(asked.key)]).toEqual([[], 'failed']);
      isRefused = false;
      expect((await send(app.port, asked)).status).toBe(201);
      expect(await writesOf(asked.key)).toEqual(['debit']);
      expect(isReplay(await send(app.port, asked))).toBe(true);
    } finally {
      subscribers.splice(subscribers.indexOf(subscriber), 1);
    }
  });

  // The connection returned to the pool in the open transaction, and the next request committed what had failed.
  it('keeps its connection, though a handler releases it as one of its own', async () => {
    let failure: Error | undefined = new Error('declined');
    handler = async (execution) => {
      const runner = execution.manager.queryRunner!;
      await runner.connect();
      await runner.startTransaction();
      try {
        await write(execution, 'debit');
        await runner.commitTransaction();
      } finally {
        await runner.release();
      }
      if (failure) throw failure;
      return { ok: true };
    };
    const [failed, other] = [request(), request()];
    expect((await send(app.port, failed)).status).toBe(500);
    failure = undefined;
    expect((await send(app.port, other)).status).toBe(201);
    expect([await writesOf(failed.key), await writesOf(other.key)]).toEqual([[], ['debit']]);
    expect(isReplay(await send(app.port, other))).toBe(true);
    expect((await send(app.port, failed)).status).toBe(201);
    expect(await writesOf(failed.key)).toEqual(['debit']);
  });

  it('calls a subscriber for each transaction and statement, in their order', async () => {
    const heard: string[] = [];
    const note = (what: string) => () => void heard.push(what);
    const subscriber: EntitySubscriberInterface = {
      beforeTransactionStart: note('before start'),
      afterTransactionStart: note('after start'),
      beforeTransactionCommit: note('before commit'),
      afterTransactionCommit: note('after commit'),
      beforeTransactionRollback: note('before rollback'),
      afterTransactionRollback: note('after rollback'),
      beforeQuery: ({ query }) => void heard.push(query.split(' ').slice(0, 2).join(' ')),
    };
    const { subscribers } = app.dataSource;
    subscribers.push(subscriber);
    try {
      handler = (execution) => write(execution, 'debit').then(() => ({ ok: true }));
      expect((await send(app.port, request())).status).toBe(201);
      const begin = dialect === 'better-sqlite3' ? 'BEGIN TRANSACTION' : 'START TRANSACTION';
      expect(heard.filter((what) => what !== 'PRAGMA read_uncommitted')).toEqual([
        'before start',
        begin,
        'after start',
        'INSERT INTO',
        'before commit',
        'COMMIT',
        'after commit',
      ]);
      handler = () => Promise.reject(new Error('declined'));
      heard.length = 0;
      await send(app.port, request());
      expect(heard.slice(-3)).toEqual(['before rollback', 'ROLLBACK', 'after rollback']);
    } finally {
      subscribers.splice(subscribers.indexOf(subscriber), 1);
    }
  });
});

describe.each(PLATFORMS)('on PostgreSQL, and %s', (platform) => {
  afterEach(close);

  it('takes two messages besides those of the handler, and TypeORM knows of the transaction', async () => {
    await open('postgres', platform, { poolSize: 1 });
    const sent: string[] = [];
    const only = app.dataSource.createQueryRunner();
    const client = (await only.connect()) as PgClient;
    const query = client.query.bind(client);
    client.query = (...args) => {
      const [statement] = args as [string | { text: string }];
      sent.push(typeof statement === 'string' ? statement : statement.text.trim());
      return query(...args);
    };
    await only.release();
    const states: unknown[] = [];
    handler = async (execution) => {
      const { queryRunner } = execution.manager;
      await write(execution, 'debit');
      await execution.manager
        .transaction((nested) => write(execution, 'bonus', nested).then(() => Promise.reject(new Error('no bonus'))))
        .catch(() => undefined);
      states.push([queryRunner!.isTransactionActive, queryRunner]);
      return { ok: true };
    };
    const asked = request();
    expect((await send(app.port, asked)).status).toBe(201);
    const ours = sent
      .slice(sent.findIndex((text) => text.startsWith('START')))
      .filter((text) => !/SAVEPOINT/.test(text));
    expect(ours.map((text) => text.split(/[\s;]/)[0])).toEqual(['START', 'INSERT', 'INSERT', 'WITH']);
    expect(await writesOf(asked.key)).toEqual(['debit']);
    expect(states).toEqual([[true, expect.objectContaining({ isTransactionActive: false, isReleased: true })]]);
  });

  it.each(['COMMIT; BEGIN', 'ROLLBACK; BEGIN', 'COMMIT AND CHAIN'])('is held where %s went past it', async (sql) => {
    await open('postgres', platform);
    handler = async (execution) => {
      await write(execution, 'debit');
      const client = (await execution.manager.queryRunner!.connect()) as PgClient;
      await client.query(sql);
      await write(execution, 'credit');
      return { ok: true };
    };
    const asked = request();
    expect((await send(app.port, asked)).status).toBe(500);
    expect(await writesOf(asked.key)).toEqual(sql.startsWith('COMMIT') ? ['debit'] : []);
    expect([codeOf(await send(app.port, asked)), await statusOf(asked.key)]).toEqual(['outcome-unknown', 'held']);
  });

  it.each([
    ['the data source', { isolationLevel: 'SERIALIZABLE' }, () => undefined],
    ['the handler', {}, ({ manager }: Execution) => manager.query('SET TRANSACTION ISOLATION LEVEL SERIALIZABLE')],
  ])('has the isolation level of %s', async (_whose, options, first) => {
    await open('postgres', platform, options);
    handler = async (execution) => {
      await first(execution);
      const [level] = (await execution.manager.query('SHOW transaction_isolation')) as object[];
      return level;
    };
    const answer = await send(app.port, request());
    expect([answer.status, JSON.parse(String(answer.body))]).toEqual([201, { transaction_isolation: 'serializable' }]);
  });

  it('logs BEGIN and COMMIT where the application logs statements, and the error of a COMMIT', async () => {
    const logged: string[] = [];
    const note = (what: string) => void logged.push(what);
    const noop = () => undefined;
    const logger: Logger = {
      logQuery: note,
      logQueryError: (error, query) => note(`${query}: ${String(error)}`),
      logQuerySlow: noop,
      logSchemaBuild: noop,
      logMigration: noop,
      log: noop,
    };
    await open('postgres', platform, { logger });
    await app.dataSource.query(
      'ALTER TABLE transfer ADD CONSTRAINT known FOREIGN KEY (what) REFERENCES transfer (id) DEFERRABLE INITIALLY DEFERRED',
    );
    logged.length = 0;
    handler = (execution) => write(execution, 'debit').then(() => ({ ok: true }));
    expect((await send(app.port, request())).status).toBe(500);
    const statements = logged.filter((line) => !line.startsWith('INSERT'));
    expect(statements).toEqual([
      'START TRANSACTION',
      'COMMIT',
      expect.stringMatching(/^COMMIT: .*violates foreign key constraint/),
      'ROLLBACK',
    ]);
  });
});
