import { randomUUID } from 'node:crypto';
import {
  Column,
  DataSource,
  Entity,
  type EntityManager,
  type EntitySubscriberInterface,
  EventSubscriber,
  PrimaryColumn,
} from 'typeorm';
import { TypeOrmModule } from '@nestjs/typeorm';
import {
  type Execution,
  IdempotencyInProgressException,
  IdempotencyService,
  IdempotencyStoreUnavailableException,
  type TransactionHost,
} from '../../lib/index.js';
import { until } from '../support/until.js';
import { type AppSettings, type RunningApp, startApp } from './support/app.js';

@Entity('booking')
class Booking {
  @PrimaryColumn({ type: 'varchar' }) id!: string;
  @Column({ type: 'integer' }) seats!: number;
}

const imports = [TypeOrmModule.forFeature([Booking])];

let app: RunningApp;
let service: IdempotencyService;
/** What another process sees, or would find after a crash of this one. */
let other: DataSource;

async function open(settings: AppSettings = {}) {
  app = await startApp('express', { imports, ...settings });
  service = app.app.get(IdempotencyService);
  const { database } = app.dataSource.options as { database: string };
  other = await new DataSource({ type: 'better-sqlite3', database }).initialize();
}
afterEach(async () => {
  await other?.destroy();
  await app?.close();
});

const stepsOnDisk = () => other.query<object[]>('SELECT name, status FROM idempotency_step ORDER BY name');
const bookingsOnDisk = () => other.query<object[]>('SELECT id FROM booking');
const warnings = () => app.log.lines.filter((line) => line.startsWith('WARN'));

type Work = (execution: Execution, manager: EntityManager) => unknown;

function book(work: Work, options: { key?: string; lease?: '2s' } = {}) {
  const operation = { key: randomUUID(), operation: 'booking', transactional: true, ...options } as const;
  return service.run(operation, (execution) => work(execution, execution.manager));
}
const save = (manager: EntityManager) => manager.insert(Booking, { id: randomUUID(), seats: 1 });

it('a step before the first write is on record before COMMIT', async () => {
  await open();
  const steps: unknown[] = [];
  await book(async (execution, manager) => {
    await execution.step('first', () => 1, { verify: () => void steps.push('verified') });
    await manager.find(Booking);
    await manager.query('WITH seats AS (SELECT 1 AS n) SELECT n FROM seats');
    await execution.step('second', async () => void steps.push(...(await stepsOnDisk())));
    await save(manager);
    steps.push(...(await stepsOnDisk()), ...(await bookingsOnDisk()));
  });
  const [first, second] = ['first', 'second'].map((name) => ({ name, status: 'done' }));
  expect(steps).toEqual([first, first, second]);
  expect(await bookingsOnDisk()).toHaveLength(1);
  expect(warnings()).toEqual([]);
});

it('a rollback leaves such a step, and undoes the writes', async () => {
  await open();
  const key = randomUUID();
  const attempt = (fails: boolean) =>
    book(
      async (execution, manager) => {
        const charge = await execution.step('charge', () => execution.attempt);
        await save(manager);
        if (fails) throw new Error('no seats');
        return charge;
      },
      { key },
    );
  await expect(attempt(true)).rejects.toThrow('no seats');
  expect(await bookingsOnDisk()).toEqual([]);
  expect(await attempt(false)).toBe(1);
});

interface DriverWithConnection {
  readonly databaseConnection: { exec(sql: string): void };
}

const WRITES: Record<string, (manager: EntityManager) => Promise<unknown>> = {
  'an INSERT': save,
  'a transaction within this one': (manager) => manager.transaction((inner) => inner.find(Booking)),
  'an INSERT on the driver’s connection': async () =>
    (app.dataSource.driver as unknown as DriverWithConnection).databaseConnection.exec(
      `INSERT INTO booking VALUES ('raw', 1)`,
    ),
  'a PRAGMA': (manager) => manager.query('PRAGMA defer_foreign_keys = ON'),
};

it.each(Object.entries(WRITES))('a step after %s commits nothing early, and is warned of once', async (_, write) => {
  await open();
  const seen: unknown[] = [];
  const key = randomUUID();
  const attempt = () =>
    book(
      async (execution, manager) => {
        await write(manager);
        const charge = await execution.step('charge', () => execution.attempt);
        seen.push(...(await stepsOnDisk()), ...(await bookingsOnDisk()));
        if (execution.attempt === 1) throw new Error('no seats');
        return charge;
      },
      { key },
    );
  await expect(attempt()).rejects.toThrow('no seats');
  // The rollback has undone the step as well, and it was recorded again.
  expect(await stepsOnDisk()).toEqual([{ name: 'charge', status: 'done' }]);
  expect(await attempt()).toBe(1);
  expect(seen).toEqual([{ name: 'charge', status: 'done' }]);
  expect(warnings()).toEqual([
    expect.stringContaining('booking: step "charge" comes after a write on the only connection'),
  ]);
});

it('a step within a nested transaction leaves that as it is', async () => {
  await open();
  await book((execution, manager) =>
    manager.transaction(async (inner) => {
      await execution.step('charge', () => 1);
      await save(inner);
    }),
  );
  expect(await bookingsOnDisk()).toHaveLength(1);
});

it('what another process writes behind a read of the handler is a conflict, and the step stays', async () => {
  await open();
  const key = randomUUID();
  const errors: unknown[] = [];
  const attempt = () =>
    book(
      async (execution, manager) => {
        const before = await manager.count(Booking);
        const charged = await execution.step('charge', async () => {
          await other.query('INSERT INTO booking (id, seats) VALUES (?, 1)', [randomUUID()]);
          return execution.attempt;
        });
        await save(manager).catch((error: unknown) => errors.push(error));
        return { before, charged };
      },
      { key },
    );
  await expect(attempt()).rejects.toBeInstanceOf(IdempotencyStoreUnavailableException);
  expect(errors).toMatchObject([{ name: 'TransactionUndoneError' }]);
  expect(await attempt()).toEqual({ before: 1, charged: 1 });
  expect(await bookingsOnDisk()).toHaveLength(2);
});

it('a step in a transaction that has met such a conflict is on record before the rollback', async () => {
  await open();
  const steps: unknown[] = [];
  const conflicting = book(async (execution, manager) => {
    await manager.count(Booking);
    await other.query('INSERT INTO booking (id, seats) VALUES (?, 1)', [randomUUID()]);
    await execution.step('first', () => 1);
    await execution.step('second', () => 2);
    steps.push(...(await stepsOnDisk()));
  });
  await expect(conflicting).rejects.toBeInstanceOf(IdempotencyStoreUnavailableException);
  expect(steps).toEqual(['first', 'second'].map((name) => ({ name, status: 'done' })));
});

describe('while the transaction of an operation is open', () => {
  const READ_LEASE = 'SELECT lease_until AS lease FROM idempotency_record';
  const leaseInTransaction = async (manager: Pick<EntityManager, 'query'>) =>
    (await manager.query<[{ lease: number }]>(READ_LEASE))[0].lease;
  const leaseOnDisk = () => leaseInTransaction(other);

  it.each([
    ['has read', (manager: EntityManager) => manager.find(Booking), leaseOnDisk],
    ['has written', save, leaseInTransaction],
  ])('a handler that %s keeps its lease', async (_, begin, leaseOf) => {
    await open();
    await book(
      async (__, manager) => {
        await begin(manager);
        const claimed = await leaseOf(manager);
        await until(async () => (await leaseOf(manager)) > claimed);
      },
      { lease: '2s' },
    );
  });

  it('an execution that another process has taken over begins no step', async () => {
    await open();
    let charges = 0;
    const lost = book(
      async (execution, manager) => {
        await manager.find(Booking);
        await other.query('UPDATE idempotency_record SET token = token + 1, owner = ?', [randomUUID()]);
        await until(() => execution.signal.aborted);
        await execution.step('charge', () => charges++);
      },
      { lease: '2s' },
    );
    await expect(lost).rejects.toBeInstanceOf(IdempotencyInProgressException);
    expect(charges).toBe(0);
  });
});

/** A booking was written before the handler: a step that left the transaction would commit it. */
async function expectStepWithinTransaction() {
  const failing = book(async (execution) => {
    await execution.step('charge', () => 1);
    throw new Error('no seats');
  });
  await expect(failing).rejects.toThrow('no seats');
  expect(await bookingsOnDisk()).toEqual([]);
  expect(warnings()).toHaveLength(1);
}

it('where a transaction host begins the transaction, a step is part of it', async () => {
  const transactionHost: TransactionHost = {
    run: (dataSource, work) =>
      dataSource.transaction(async (manager) => {
        await save(manager);
        return work(manager);
      }),
  };
  await open({ options: { transactionHost } });
  await expectStepWithinTransaction();
});

it('where a subscriber writes as the transaction begins, a step is part of it', async () => {
  @EventSubscriber()
  class Audit implements EntitySubscriberInterface {
    afterTransactionStart = async ({ manager }: { manager: EntityManager }) => void (await save(manager));
  }
  await open();
  app.dataSource.subscribers.push(new Audit());
  await expectStepWithinTransaction();
});

it('in memory, where nothing outlives the process, there is no warning', async () => {
  const database = { dialect: 'better-sqlite3', options: { type: 'better-sqlite3', database: ':memory:' } } as const;
  await open({ database: { ...database, drop: async () => undefined } });
  const charged = book(async (execution, manager) => {
    await save(manager);
    return execution.step('charge', () => 1);
  });
  expect(await charged).toBe(1);
  expect(warnings()).toEqual([]);
});
