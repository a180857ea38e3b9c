import { randomUUID } from 'node:crypto';
import { Controller, Post, Req, UseInterceptors } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import {
  Column,
  Entity,
  type EntityManager,
  type EntitySubscriberInterface,
  PrimaryColumn,
  type QueryRunner,
} from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution, IdempotencyService } from '../../lib/index.js';
import type { TestDialect } from '../support/database.js';
import { waitsForLock } from '../support/lock-waits.js';
import { until } from '../support/until.js';
import { type RunningApp, startApp } from './support/app.js';
import { codeOf, isReplay } from './support/cases.js';
import { send } from './support/raw-http.js';
import { TransactionInterceptor, type TransactionRequest } from './support/transaction.interceptor.js';

@Entity('ledger')
class Entry {
  @PrimaryColumn({ type: 'varchar', length: 80 }) id!: string;
  @Column({ type: 'varchar', length: 80 }) what!: string;
}

type Handler = (manager: EntityManager, key: string) => unknown;

const order: Handler = async (manager, key) => {
  await manager.insert(Entry, { id: `order ${key}`, what: 'order' });
  return { ordered: true };
};

/** What the handler of the next requests does. */
let handler = order;

@Controller('orders')
class OrdersController {
  @Post('transactional')
  @Idempotent({ transactional: true })
  transactional(@IdempotentExecution() { manager, key }: Execution) {
    return handler(manager, key);
  }

  @Post('interceptor-inside')
  @Idempotent()
  @UseInterceptors(TransactionInterceptor)
  inside(@Req() { manager, headers }: TransactionRequest) {
    return handler(manager!, headers['idempotency-key']);
  }

  @Post('interceptor-outside')
  @UseInterceptors(TransactionInterceptor)
  @Idempotent()
  outside(@Req() { manager, headers }: TransactionRequest) {
    return handler(manager!, headers['idempotency-key']);
  }
}

let app: RunningApp;

async function open(dialect: TestDialect): Promise<void> {
  app = await startApp('express', {
    dialect,
    controllers: [OrdersController],
    imports: [TypeOrmModule.forFeature([Entry])],
  });
}

const to = (path: string) => ({ path: `/orders/${path}`, key: randomUUID(), body: {} });

/** What is known of a request: whether its order is there, and its record. */
async function stateOf({ path, key }: ReturnType<typeof to>) {
  const record = await app.app.get(IdempotencyService).find({ key, operation: `POST ${path}` });
  return { orders: await app.dataSource.manager.countBy(Entry, { id: `order ${key}` }), status: record?.status };
}

async function during<T>(subscriber: EntitySubscriberInterface, work: () => Promise<T>): Promise<T> {
  const { subscribers } = app.dataSource;
  subscribers.push(subscriber);
  try {
    return await work();
  } finally {
    subscribers.splice(subscribers.indexOf(subscriber), 1);
  }
}

afterEach(async () => {
  handler = order;
  await app?.close();
});

// The server rolls back at COMMIT without an error. The client got 201, and there was neither an order nor an outcome.
it('PostgreSQL: a subscriber that catches what fails before COMMIT', async () => {
  await open('postgres');
  await app.dataSource.manager.insert(Entry, { id: 'sent', what: 'outbox' });
  const subscriber: EntitySubscriberInterface = {
    beforeTransactionCommit: ({ manager }) =>
      manager.insert(Entry, { id: 'sent', what: 'outbox' }).catch(() => undefined),
  };
  const request = to('transactional');
  const answer = await during(subscriber, () => send(app.port, request));
  expect([answer.status, await stateOf(request)]).toEqual([500, { orders: 0, status: 'failed' }]);
  expect(app.log.toString()).toContain('the transaction was rolled back, and the key is free: duplicate key value');
  expect((await send(app.port, request)).status).toBe(201);
  expect([isReplay(await send(app.port, request)), await stateOf(request)]).toEqual([
    true,
    { orders: 1, status: 'done' },
  ]);
});

it('MariaDB: a subscriber that catches a deadlock before COMMIT', async () => {
  await open('mariadb');
  const { dataSource } = app;
  const rows = ['p', 'q', ...Array.from({ length: 40 }, (_, i) => `x${i}`)];
  await dataSource.manager.insert(
    Entry,
    rows.map((id) => ({ id, what: '' })),
  );
  const rival = dataSource.createQueryRunner();
  const reasons: unknown[] = [];
  const deadlock = async ({ queryRunner, manager }: { queryRunner: QueryRunner; manager: EntityManager }) => {
    if (queryRunner === rival) return;
    await manager.update(Entry, { id: 'p' }, { what: 'mine' });
    const blocked = rival.manager.update(Entry, { id: 'p' }, { what: 'rival' });
    await until(() => waitsForLock(dataSource));
    await manager.update(Entry, { id: 'q' }, { what: 'mine' }).catch((error: unknown) => reasons.push(error));
    await blocked;
    await rival.commitTransaction();
  };
  await rival.startTransaction();
  // It has changed more rows, so that the operation is the victim.
  for (const id of rows.slice(1)) await rival.manager.update(Entry, { id }, { what: 'rival' });
  const request = to('transactional');
  const answer = await during({ beforeTransactionCommit: deadlock }, () => send(app.port, request));
  await rival.release();
  expect(reasons).toHaveLength(1);
  expect([answer.status, codeOf(answer), await stateOf(request)]).toEqual([
    503,
    'store-unavailable',
    { orders: 0, status: 'failed' },
  ]);
  expect((await send(app.port, request)).status).toBe(201);
  expect(await stateOf(request)).toEqual({ orders: 1, status: 'done' });
});

// A retry got the first answer again, and the order was never there.
it.each(['interceptor-inside', 'interceptor-outside'])(
  'PostgreSQL, %s: a handler that catches what fails, and a COMMIT that rolls back',
  async (path) => {
    await open('postgres');
    await app.dataSource.manager.insert(Entry, { id: 'sent', what: 'outbox' });
    handler = async (manager, key) => {
      const answer = await order(manager, key);
      await manager.insert(Entry, { id: 'sent', what: 'outbox' }).catch(() => undefined);
      return answer;
    };
    const request = to(path);
    const answer = await send(app.port, request);
    expect([answer.status, await stateOf(request)]).toEqual([500, { orders: 0, status: 'failed' }]);
    handler = order;
    expect((await send(app.port, request)).status).toBe(201);
    expect(await stateOf(request)).toEqual({ orders: 1, status: 'done' });
  },
);

describe('SQLite: a statement that rolls back, and whose error is caught', () => {
  const takeAgain = (manager: EntityManager) =>
    manager.query("INSERT OR ROLLBACK INTO ledger (id, what) VALUES ('taken', 'order')").catch(() => undefined);

  it.each<[string, Handler]>([
    [
      'by a handler that then writes',
      async (manager, key) => {
        await manager.insert(Entry, { id: `shipment ${key}`, what: 'shipment' });
        await takeAgain(manager);
        return order(manager, key);
      },
    ],
    ['by a handler, at its end', async (manager, key) => (await order(manager, key), await takeAgain(manager), {})],
  ])('%s: nothing stays, and the key is free', async (_, work) => {
    await open('better-sqlite3');
    await app.dataSource.manager.insert(Entry, { id: 'taken', what: 'order' });
    const request = to('transactional');
    handler = work;
    expect((await send(app.port, request)).status).toBe(500);
    expect(await stateOf(request)).toEqual({ orders: 0, status: 'failed' });
    expect(await app.dataSource.manager.count(Entry)).toBe(1);
    handler = order;
    expect((await send(app.port, request)).status).toBe(201);
    expect(await stateOf(request)).toEqual({ orders: 1, status: 'done' });
  });

  it('by a subscriber before COMMIT: nothing stays, and the key is free', async () => {
    await open('better-sqlite3');
    await app.dataSource.manager.insert(Entry, { id: 'taken', what: 'order' });
    const request = to('transactional');
    const answer = await during({ beforeTransactionCommit: ({ manager }) => takeAgain(manager) }, () =>
      send(app.port, request),
    );
    expect([answer.status, await stateOf(request)]).toEqual([500, { orders: 0, status: 'failed' }]);
    expect((await send(app.port, request)).status).toBe(201);
  });
});

it.each(['postgres', 'mariadb', 'better-sqlite3'] as const)(
  '%s: what a subscriber writes before COMMIT commits with it',
  async (dialect) => {
    await open(dialect);
    const subscriber: EntitySubscriberInterface = {
      beforeTransactionCommit: async ({ manager }) => {
        await manager.insert(Entry, { id: 'sent', what: 'outbox' });
        // An error of a statement that the subscriber expects, in a savepoint of its own.
        await manager.transaction((inner) => inner.query('SELECT * FROM no_such_table')).catch(() => undefined);
        await manager.update(Entry, { id: 'sent' }, { what: 'sent' });
      },
    };
    const request = to('transactional');
    const answer = await during(subscriber, () => send(app.port, request));
    expect([answer.status, await stateOf(request)]).toEqual([201, { orders: 1, status: 'done' }]);
    expect(await app.dataSource.manager.countBy(Entry, { what: 'sent' })).toBe(1);
    expect([isReplay(await send(app.port, request)), await stateOf(request)]).toEqual([
      true,
      { orders: 1, status: 'done' },
    ]);
  },
);

// The connection returned to its pool in the transaction, and what was written next on it was lost. SQLite has no other one.
it.each(['postgres', 'mariadb', 'better-sqlite3'] as const)(
  '%s: a subscriber that throws before ROLLBACK leaves no transaction open',
  async (dialect) => {
    await open(dialect);
    handler = async (manager, key) => {
      await order(manager, key);
      throw new Error('out of stock');
    };
    const subscriber: EntitySubscriberInterface = {
      beforeTransactionRollback: () => {
        throw new Error('no such span');
      },
    };
    const request = to('transactional');
    const answer = await during(subscriber, () => send(app.port, request));
    expect([answer.status, await stateOf(request)]).toEqual([500, { orders: 0, status: 'failed' }]);
    // Locked for as long as the transaction is open.
    await app.dataSource.manager.insert(Entry, { id: `order ${request.key}`, what: 'another' });
    expect(await stateOf(request)).toEqual({ orders: 1, status: 'failed' });
  },
);

// It threw while `pg` read its socket, which ended the process.
it('PostgreSQL: a logger that throws at the error of COMMIT', async () => {
  await open('postgres');
  await app.dataSource.query('ALTER TABLE ledger ADD UNIQUE (what) DEFERRABLE INITIALLY DEFERRED');
  await app.dataSource.manager.insert(Entry, { id: 'first', what: 'order' });
  const { logger } = app.dataSource;
  const logQueryError = (_error: unknown, _query: string, parameters?: unknown[]) => parameters!.map(String);
  app.dataSource.logger = Object.assign(Object.create(logger) as typeof logger, { logQueryError });
  const request = to('transactional');
  const answer = await send(app.port, request);
  expect([answer.status, await stateOf(request)]).toEqual([500, { orders: 0, status: 'failed' }]);
  expect(app.log.toString()).toContain('the transaction was rolled back, and the key is free: duplicate key value');
});
