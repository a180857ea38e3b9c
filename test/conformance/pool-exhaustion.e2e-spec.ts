import { AsyncLocalStorage } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { Controller, Inject, Post } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import {
  type Execution,
  Idempotent,
  IdempotentExecution,
  type IdempotencyModuleOptions,
  IdempotencyService,
} from '../../lib/index.js';
import type { Dialect } from '../../lib/store/dialects/dialect.js';
import { SqlRecordStore } from '../../lib/store/sql-record-store.js';
import { createDatabase, type TestDatabase, type TestDialect } from '../support/database.js';
import { PLATFORMS, type Platform, type RunningApp, startApp } from './support/app.js';
import { codeOf } from './support/cases.js';
import { send } from './support/raw-http.js';

type Handler = (execution: Execution, service: IdempotencyService) => unknown;
let handler: Handler = () => undefined;

@Controller('orders')
class OrdersController {
  constructor(@Inject(IdempotencyService) private readonly service: IdempotencyService) {}

  @Idempotent({ transactional: true })
  @Post()
  order(@IdempotentExecution() execution: Execution) {
    return handler(execution, this.service);
  }
}

/** Lets no handler go on before all have come. */
function barrier(count: number): () => Promise<void> {
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return () => {
    if (--count === 0) open();
    return opened;
  };
}

describe.each(['postgres', 'mariadb'] as const satisfies TestDialect[])('On %s', (dialect) => {
  let app: RunningApp;
  let service: IdempotencyService;
  let created: TestDatabase;
  afterEach(async () => {
    await app?.close();
    await created.drop();
  });

  /** A stall would outlast its test. */
  async function open(poolSize: number, options: IdempotencyModuleOptions = {}, platform: Platform = 'express') {
    const made = (created = await createDatabase(dialect));
    const database = { ...made, options: { ...made.options, poolSize } as never };
    const controllers = [OrdersController];
    app = await startApp(platform, { database, controllers, options: { storeTimeout: '5m', ...options } });
    service = app.app.get(IdempotencyService);
  }

  const operation = (name: string) => ({ key: randomUUID(), operation: name });
  const transactional = (name: string) => ({ ...operation(name), transactional: true });
  const errors = () => app.log.lines.filter((line) => line.includes('every connection of the data source'));

  describe('a store that shares the pool of the data source', () => {
    it.each([
      ['steps', (execution: Execution) => execution.step('charge', () => 1)],
      ['other operations', () => service.run(operation('inner'), () => 1)],
    ])('leaves connections to the %s of transactional operations', async (_, work) => {
      await open(3, { storeConnections: 0 });
      const within = barrier(2);
      const orders = Array.from({ length: 12 }, (_one, i) =>
        service.run(transactional('outer'), async (execution) => {
          await execution.manager.query('SELECT 1');
          if (i < 2) await within();
          return work(execution);
        }),
      );
      expect(await Promise.all(orders)).toEqual(Array(12).fill(1));
      expect(errors()).toEqual([]);
    });

    /** Resolves once a statement waits for a connection of the pool. */
    async function queued(): Promise<void> {
      const { master, pool } = app.dataSource.driver as unknown as {
        master?: { waitingCount: number };
        pool?: { _connectionQueue: { length: number } };
      };
      while (!(master ? master.waitingCount : pool!._connectionQueue.length)) await new Promise(setImmediate);
    }

    /** Sends steps late, unless a key is freed meanwhile. */
    function delaySteps(): void {
      const { dialect } = (app.app.get(SqlRecordStore) as unknown as { connector: { dialect: Dialect } }).connector;
      const putStep = dialect.putStep.bind(dialect);
      const endLease = dialect.endLease.bind(dialect);
      let isFreed = false;
      Object.assign(dialect, {
        putStep: async (...given: Parameters<typeof putStep>) => {
          const until = Date.now() + 300;
          while (!isFreed && Date.now() < until) await new Promise(setImmediate);
          return putStep(...given);
        },
        endLease: (...given: Parameters<typeof endLease>) => {
          isFreed = true;
          return endLease(...given);
        },
      });
    }

    // The charge was not on record: once its lease had run out, or at once where it was a step, the retry charged again.
    it.each<[string, (execution: Execution, charge: () => Promise<string>) => Promise<string>]>([
      ['a completion', (execution, charge) => service.run({ key: execution.key, operation: 'charge' }, charge)],
      ['step "charge"', (execution, charge) => execution.step('charge', charge)],
    ])('sends %s all the same, though its handler gives way', async (what, runOnce) => {
      await open(3, { storeConnections: 0 });
      delaySteps();
      const within = barrier(2);
      const charged = barrier(2);
      const order = transactional('order');
      let charges = 0;
      const charge = async () => {
        if (++charges > 1) return 'charged again';
        void charged();
        await queued();
        return 'charged';
      };
      const first = () =>
        service.run(order, async (execution) => {
          if (execution.attempt === 1) await within();
          return runOnce(execution, charge);
        });
      const second = service.run(transactional('shipment'), async () => {
        await within();
        await charged();
        return service.run(transactional('parcel'), (parcel) => parcel.step('label', () => 'printed'));
      });
      await expect(first()).rejects.toThrow();
      expect(errors()[0]).toContain(`${what} inside order`);
      expect(await second).toBe('printed');
      expect([await first(), charges]).toEqual(['charged', 1]);
    });

    it.each(PLATFORMS)('answers what needs a second of one connection with a 503, at once, on %s', async (platform) => {
      await open(1, { storeConnections: 0 }, platform);
      const attempts: [string, Handler][] = [
        ['step "charge"', (execution) => execution.step('charge', () => 1)],
        ['POST /inner', (_, given) => given.run(operation('POST /inner'), () => 1)],
      ];
      for (const [what, work] of attempts) {
        handler = work;
        const request = { path: '/orders', key: randomUUID(), body: {} };
        const refused = await send(app.port, request);
        expect([refused.status, codeOf(refused)]).toEqual([503, 'store-unavailable']);
        expect(String(refused.head)).toMatch(/retry-after/i);
        expect(errors().at(-1)).toContain(`ERROR ${what} inside POST /orders: every connection of the data source (1)`);
        handler = () => 'ordered';
        expect((await send(app.port, request)).status).toBe(201);
      }
    });
  });

  const nested: Record<string, (execution: Execution) => Promise<unknown>> = {
    'another transactional operation': () => service.run(transactional('inner'), () => 'inner'),
    'a transactional operation two levels deeper': () =>
      service.run(operation('between'), () => service.run(transactional('inner'), () => 'inner')),
    'a statement beside execution.manager': () =>
      app.dataSource.query(`SELECT 'inner' AS inner`.replace('AS inner', '')),
  };

  it.each(Object.entries(nested))('%s inside handlers that hold all connections: one gives way', async (_, work) => {
    await open(3);
    const within = barrier(3);
    const outer = (key: string) =>
      service.run({ key, operation: 'outer', transactional: true }, async (execution) => {
        if (execution.attempt === 1) await within();
        await work(execution);
        return 'outer';
      });
    const keys = Array.from({ length: 3 }, () => randomUUID());
    const ends = await Promise.allSettled(keys.map(outer));
    const failed = ends.filter((end) => end.status === 'rejected');
    expect(failed).toHaveLength(1);
    expect(failed[0].reason).toMatchObject({ code: 'store-unavailable' });
    expect(errors()).toEqual([expect.stringContaining('inside outer: every connection of the data source (3)')]);
    expect(await Promise.all(keys.map(outer))).toEqual(['outer', 'outer', 'outer']);
  });

  it('names the inner operation, however deep', async () => {
    await open(2);
    const work = service.run(transactional('first'), () =>
      service.run(transactional('second'), async (execution) => {
        expect(await execution.step('fine', () => 1)).toBe(1);
        return service.run(transactional('third'), () => 1);
      }),
    );
    await expect(work).rejects.toMatchObject({ code: 'store-unavailable' });
    expect(errors()).toEqual([expect.stringContaining('third inside second: every connection of the data source (2)')]);
  });

  it('a nested operation that a transaction host joins to the outer transaction needs no connection', async () => {
    const managers = new AsyncLocalStorage<EntityManager>();
    await open(1, {
      transactionHost: {
        run: (dataSource, work) => {
          const joined = managers.getStore();
          return joined
            ? work(joined)
            : dataSource.transaction((manager) => managers.run(manager, () => work(manager)));
        },
      },
    });
    const work = service.run(transactional('outer'), () => service.run(transactional('inner'), () => 'joined'));
    expect(await work).toBe('joined');
    expect(errors()).toEqual([]);
  });

  it('what a transaction has left running counts no more once it is over', async () => {
    await open(1);
    const left: Promise<unknown>[] = [];
    let release!: () => void;
    const released = new Promise<void>((resolve) => (release = resolve));
    await service.run(transactional('leaving'), () => {
      left.push(released.then(() => service.run(transactional('late'), () => 'late')));
    });
    release();
    expect(await Promise.all(left)).toEqual(['late']);
  });
});
