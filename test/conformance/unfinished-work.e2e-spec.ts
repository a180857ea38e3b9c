import { randomUUID } from 'node:crypto';
import { ConflictException, Controller, Post } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Column, Entity, type EntityManager, PrimaryColumn } from 'typeorm';
import { type Execution, Idempotent, IdempotentExecution, IdempotencyService } from '../../lib/index.js';
import { until } from '../support/until.js';
import { PLATFORMS, type Platform, type RunningApp, startApp } from './support/app.js';
import { codeOf, isReplay } from './support/cases.js';
import { send } from './support/raw-http.js';

@Entity('ledger')
class Entry {
  @PrimaryColumn({ type: 'varchar', length: 80 }) id!: string;
  @Column({ type: 'varchar', length: 80 }) what!: string;
}

type Handler = (execution: Execution) => unknown;

/** What the handler of the next requests does. */
let handler: Handler = () => undefined;

@Controller('orders')
class OrdersController {
  @Idempotent()
  @Post('plain')
  plain(@IdempotentExecution() execution: Execution) {
    return handler(execution);
  }

  @Idempotent({ transactional: true })
  @Post('transactional')
  transactional(@IdempotentExecution() execution: Execution) {
    return handler(execution);
  }
}

let app: RunningApp;
let service: IdempotencyService;

async function open(platform: Platform, dialect: 'postgres' | 'mariadb') {
  app = await startApp(platform, {
    dialect,
    controllers: [OrdersController],
    imports: [TypeOrmModule.forFeature([Entry])],
  });
  service = app.app.get(IdempotencyService);
}

const write = (manager: EntityManager, key: string, what: string) =>
  manager.insert(Entry, { id: `${what} ${key}`, what });
/** What is in the ledger for a key. */
const entriesOf = async (key: string) =>
  (await app.dataSource.getRepository(Entry).find())
    .filter(({ id }) => id.endsWith(key))
    .map(({ what }) => what)
    .sort();
const statusOf = async (key: string, operation: string) => (await service.find({ key, operation }))?.status;

/** A promise that the test resolves. */
function gate() {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { open, opened };
}

describe.each(PLATFORMS)('a handler that fails beside its steps, on %s', (platform) => {
  beforeAll(() => open(platform, 'postgres'));
  afterAll(() => app?.close());

  it.each(['plain', 'transactional'])('keeps its key until they have ended (%s)', async (route) => {
    const request = { path: `/orders/${route}`, key: randomUUID(), body: {} };
    const done: string[] = [];
    const bank = gate();
    let isOutOfStock = true;
    let hasFailed = false;
    handler = async (execution) => {
      const [charge] = await Promise.all([
        execution.step('charge', async () => {
          await bank.opened;
          done.push('charge');
          return { id: 7 };
        }),
        execution.step('reserve', () => {
          hasFailed = true;
          if (isOutOfStock) throw new Error('out of stock');
        }),
      ]);
      return charge;
    };
    const first = send(app.port, request);
    await until(() => hasFailed);
    isOutOfStock = false;
    const retry = await send(app.port, request);
    expect([retry.status, codeOf(retry)]).toEqual([409, 'in-progress']);
    bank.open();
    expect((await first).status).toBe(500);
    const paid = await send(app.port, request);
    expect([paid.status, paid.body.toString()]).toEqual([201, '{"id":7}']);
    expect(done).toEqual(['charge']);
    expect(isReplay(await send(app.port, request))).toBe(true);
  });

  it('keeps its key for the steps that follow them, and refuses those that come later', async () => {
    const request = { path: '/orders/plain', key: randomUUID(), body: {} };
    const done: string[] = [];
    const bank = gate();
    const later = gate();
    let late: Promise<unknown> | undefined;
    handler = async (execution) => {
      const ship = async () => {
        await execution.step('charge', () => bank.opened);
        await execution.step('ship', () => done.push('ship'));
      };
      late = later.opened.then(() => execution.step('mail', () => done.push('mail')));
      late.catch(() => undefined);
      await Promise.all([ship(), Promise.reject(new ConflictException('limit reached'))]);
    };
    const first = send(app.port, request);
    await until(() => late !== undefined);
    bank.open();
    expect((await first).status).toBe(409);
    expect(done).toEqual(['ship']);
    later.open();
    await expect(late).rejects.toThrow('Step "mail" is called after its operation has ended');
    expect(done).toEqual(['ship']);
  });
});

describe.each(['postgres', 'mariadb'] as const)(
  'work that a transactional handler leaves running, on %s',
  (dialect) => {
    const SLEEP = { postgres: 'SELECT pg_sleep(0.2)', mariadb: 'SELECT SLEEP(0.2)' }[dialect];

    beforeAll(() => open('express', dialect));
    afterAll(() => app?.close());

    it('writes nothing once the handler has failed, also in a transaction of its own', async () => {
      const request = { path: '/orders/transactional', key: randomUUID(), body: {} };
      const errors: string[] = [];
      const ended: Promise<void>[] = [];
      const isFraud = { first: true };
      handler = async ({ manager }) => {
        const post = async (what: string, work: () => Promise<unknown>) => {
          try {
            // The statement is under way when the handler fails: what follows comes behind the ROLLBACK.
            await manager.query(SLEEP);
            await work();
          } catch (error) {
            errors.push(`${what}: ${(error as Error).name}`);
          }
        };
        const debit = post('debit', () => write(manager, request.key, 'debit'));
        const credit = post('credit', () => manager.transaction((inner) => write(inner, request.key, 'credit')));
        ended.push(debit, credit);
        const check = isFraud.first ? Promise.reject(new Error('the fraud service is down')) : undefined;
        await Promise.all([debit, credit, check]);
        return 'posted';
      };
      expect((await send(app.port, request)).status).toBe(500);
      await Promise.all(ended);
      expect(await entriesOf(request.key)).toEqual([]);
      expect(errors.sort()).toEqual(['credit: TransactionOverError', 'debit: TransactionOverError']);
      isFraud.first = false;
      expect((await send(app.port, request)).status).toBe(201);
      expect(await entriesOf(request.key)).toEqual(['credit', 'debit']);
    });

    it('does not write in the transaction by an inner operation, whose record would outlive a rollback', async () => {
      const key = randomUUID();
      const reserve = (work: () => Promise<unknown>) =>
        service.run({ key, operation: 'reserve' }, async () => void (await work()));
      const order = (work: (manager: EntityManager) => Promise<unknown>) =>
        service.run({ key, operation: 'order', transactional: true }, async ({ manager }) => {
          await reserve(() => work(manager));
          throw new Error('declined');
        });
      await expect(order((manager) => write(manager, key, 'stock'))).rejects.toThrow(
        'reserve writes in the transaction of order',
      );
      expect(await statusOf(key, 'reserve')).toBe('failed');
      // It may read there, and write by itself: that stays, as its record does.
      const work = async (manager: EntityManager) => {
        expect(await manager.countBy(Entry, { what: key })).toBe(0);
        await write(app.dataSource.manager, key, 'stock');
      };
      for (let n = 0; n < 2; n++) await expect(order(work)).rejects.toThrow('declined');
      expect(await statusOf(key, 'reserve')).toBe('done');
      expect(await entriesOf(key)).toEqual(['stock']);
    });
  },
);

describe('work that a transactional handler leaves running, when PostgreSQL refuses its COMMIT', () => {
  beforeAll(async () => {
    await open('express', 'postgres');
    await app.dataSource.query('CREATE TABLE account (id int PRIMARY KEY)');
    await app.dataSource.query('CREATE TABLE posting (account int REFERENCES account DEFERRABLE INITIALLY DEFERRED)');
  });
  afterAll(() => app?.close());

  it('writes nothing behind the COMMIT, as the second statement of a listener', async () => {
    const request = { path: '/orders/transactional', key: randomUUID(), body: {} };
    let listener: Promise<unknown> | undefined;
    handler = async ({ manager }) => {
      await manager.query('INSERT INTO posting VALUES (99)');
      // As an event whose listener writes. Its first statement is under way when the handler ends, and COMMIT is sent behind it.
      listener = (async () => {
        await manager.query('SELECT pg_sleep(0.2)');
        await write(manager, request.key, 'bonus');
      })();
      listener.catch(() => undefined);
      return 'posted';
    };
    expect((await send(app.port, request)).status).toBe(500);
    await expect(listener).rejects.toMatchObject({ name: 'TransactionOverError' });
    expect(await entriesOf(request.key)).toEqual([]);
    handler = ({ manager }) => write(manager, request.key, 'bonus').then(() => 'posted');
    expect((await send(app.port, request)).status).toBe(201);
    expect(await entriesOf(request.key)).toEqual(['bonus']);
  });
});

describe('an application that is closed while an operation runs', () => {
  beforeAll(() => open('express', 'postgres'));
  afterAll(() => app?.close());

  it('lets its handler begin operations within, and waits for it, however often it is closed', async () => {
    const key = randomUUID();
    const closing: Promise<void>[] = [];
    handler = () => undefined;
    let isClosed = false;
    const answer = service.run({ key, operation: 'order' }, async () => {
      for (let n = 0; n < 2; n++) closing.push(app.app.close().then(() => void (isClosed = true)));
      await until(
        async () => (await send(app.port, { path: '/orders/plain', key: randomUUID(), body: {} })).status === 503,
      );
      return service.run({ key, operation: 'reserve' }, () => (isClosed ? 'too late' : 'reserved'));
    });
    await expect(answer).resolves.toBe('reserved');
    await Promise.all(closing);
  });
});

describe.each(PLATFORMS)('an inner operation that is held, on %s', (platform) => {
  beforeAll(() => open(platform, 'postgres'));
  afterAll(() => app?.close());

  it('is no outcome of the outer one: once it is resolved, a retry goes on', async () => {
    const key = randomUUID();
    const request = { path: '/orders/plain', key, body: {} };
    const inner = { key, operation: 'charge' };
    let charges = 0;
    handler = async () => ({
      charge: await service.run({ ...inner, afterCrash: 'hold' }, async (execution) => {
        // Done, but its result is no JSON: no later attempt knows what the bank has answered.
        await execution.step('charge', () => new Response(`charge ${++charges}`));
        throw new Error('the database of receipts does not answer');
      }),
    });
    expect((await send(app.port, request)).status).toBe(500);
    for (let n = 0; n < 2; n++) {
      const refused = await send(app.port, request);
      expect([refused.status, codeOf(refused), isReplay(refused)]).toEqual([409, 'outcome-unknown', false]);
    }
    const record = (await service.find(inner))!;
    expect(await service.resolve(record.id, { value: 'charge 1' })).toBe(true);
    const retry = await send(app.port, request);
    expect([retry.status, retry.body.toString()]).toEqual([201, '{"charge":"charge 1"}']);
    expect(charges).toBe(1);
  });
});
