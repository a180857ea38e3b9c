import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { randomUUID } from 'node:crypto';
import { ConflictException, Controller, Post, ServiceUnavailableException } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Column, type DataSource, Entity, type EntityManager, PrimaryColumn } from 'typeorm';
import {
  type Execution,
  Idempotent,
  IdempotentExecution,
  IdempotencyService,
  type TransactionHost,
} from '../../lib/index.js';
import { type RunningApp, startApp } from './support/app.js';
import { send } from './support/raw-http.js';

@Entity('ledger')
class Entry {
  @PrimaryColumn({ type: 'varchar', length: 80 }) id!: string;
  @Column({ type: 'varchar', length: 80 }) what!: string;
}

const managers = new AsyncLocalStorage<EntityManager>();
/** Joins the transaction that the caller is in, as `@nestjs-cls/transactional` and `typeorm-transactional` do. */
const transactionHost: TransactionHost = {
  run: (dataSource: DataSource, work) => {
    const joined = managers.getStore();
    return joined ? work(joined) : dataSource.transaction((manager) => managers.run(manager, () => work(manager)));
  },
};

let handler: (execution: Execution) => unknown = () => undefined;

@Controller('orders')
class OrdersController {
  @Idempotent({ transactional: true })
  @Post()
  order(@IdempotentExecution() execution: Execution) {
    return handler(execution);
  }
}

describe.each(['postgres', 'mariadb'] as const)(
  'an operation that a transaction host joins to another, on %s',
  (dialect) => {
    let app: RunningApp;
    let service: IdempotencyService;

    beforeAll(async () => {
      app = await startApp('express', {
        dialect,
        controllers: [OrdersController],
        imports: [TypeOrmModule.forFeature([Entry])],
        options: { transactionHost },
      });
      service = app.app.get(IdempotencyService);
    });
    afterAll(() => app?.close());

    const line = (key: string, onConflict: 'reject' | 'wait' = 'reject', before?: () => Promise<void>) => {
      const operation = { key, operation: 'order line', transactional: true, afterCrash: 'hold', onConflict } as const;
      return service.run(operation, async ({ manager }) => {
        await before?.();
        const id = randomUUID();
        await manager.insert(Entry, { id, what: key });
        return id;
      });
    };
    const statusOf = async (key: string) => (await service.find({ key, operation: 'order line' }))?.status;
    const idsOf = async (key: string) =>
      (await app.dataSource.getRepository(Entry).findBy({ what: key })).map(({ id }) => id);

    it('is released when the outer transaction is rolled back, and is no crash', async () => {
      const [outer, inner] = [randomUUID(), randomUUID()];
      let failures = 0;
      handler = async () => {
        const id = await line(inner);
        if (++failures < 8) throw new ServiceUnavailableException('The warehouse does not answer');
        return { id };
      };
      const request = { path: '/orders', key: outer, body: {} };
      for (let attempt = 1; attempt < 8; attempt++) {
        expect((await send(app.port, request)).body.toString()).toContain('The warehouse does not answer');
        expect(await statusOf(inner)).toBe('failed');
        expect(await idsOf(inner)).toEqual([]);
      }
      const last = await send(app.port, request);
      expect(last.status).toBe(201);
      expect(await statusOf(inner)).toBe('done');
      expect(await idsOf(inner)).toEqual([(JSON.parse(last.body.toString()) as { id: string }).id]);
    });

    it('answers no duplicate before the outer transaction has committed', async () => {
      const inner = randomUUID();
      const duplicates: Promise<string>[] = [];
      // As another request: not in the transaction of the handler.
      const outside = AsyncResource.bind((work: () => unknown) => work());
      const duplicate = async () => {
        outside(() => duplicates.push(line(inner, 'wait')));
        // By now a duplicate that does not wait has its answer.
        await outside(() => line(randomUUID()));
      };
      let undone: string | undefined;
      handler = async () => {
        // One that waits while the operation runs, and one that comes after its end.
        undone = await line(inner, 'reject', duplicate);
        await duplicate();
        throw new ServiceUnavailableException('The warehouse does not answer');
      };
      const first = await send(app.port, { path: '/orders', key: randomUUID(), body: {} });
      expect(first.body.toString()).toContain('The warehouse does not answer');
      const [id, other] = await Promise.all(duplicates);
      expect(id).not.toBe(undone);
      expect(other).toBe(id);
      expect(await idsOf(inner)).toEqual([id]);
    });

    const failing = (key: string, gate?: Promise<void>) =>
      service.run({ key, operation: 'order line', transactional: true }, async ({ manager }) => {
        await manager.insert(Entry, { id: randomUUID(), what: key });
        await gate;
        throw new ConflictException('Out of stock');
      });

    it('leaves nothing behind when it fails, and the outer handler goes on', async () => {
      const [first, bad, last] = [randomUUID(), randomUUID(), randomUUID()];
      handler = async () => {
        const id = await line(first);
        const reason = await failing(bad).catch((error: Error) => error.message);
        return { id, reason, last: await line(last) };
      };
      const answer = await send(app.port, { path: '/orders', key: randomUUID(), body: {} });
      expect([answer.status, answer.body.toString()]).toEqual([201, expect.stringContaining('Out of stock')]);
      expect([await idsOf(first), await idsOf(bad), await idsOf(last)]).toEqual([
        [expect.any(String)],
        [],
        [expect.any(String)],
      ]);
      expect([await statusOf(first), await statusOf(last)]).toEqual(['done', 'done']);
    });

    it('that fails beside another one takes the whole transaction with it', async () => {
      const [good, bad] = [randomUUID(), randomUUID()];
      handler = async () => {
        let open!: () => void;
        const gate = new Promise<void>((resolve) => (open = resolve));
        const fails = failing(bad, gate);
        const id = await line(good);
        open();
        const [result] = await Promise.allSettled([fails]);
        return { id, result: result.status };
      };
      const answer = await send(app.port, { path: '/orders', key: randomUUID(), body: {} });
      expect(answer.status).toBeGreaterThanOrEqual(500);
      expect([await idsOf(good), await idsOf(bad)]).toEqual([[], []]);
      expect(await statusOf(good)).toBe('failed');
    });

    it('is released with a transaction that the application has begun itself', async () => {
      const { dataSource } = app;
      const inner = randomUUID();
      const rolledBack = transactionHost.run(dataSource, async () => {
        await line(inner);
        throw new Error('the import is broken');
      });
      await expect(rolledBack).rejects.toThrow('the import is broken');
      expect(await statusOf(inner)).toBe('failed');
      const id = await transactionHost.run(dataSource, () => line(inner));
      expect(await statusOf(inner)).toBe('done');
      expect(await line(inner)).toBe(id);
      expect(await idsOf(inner)).toEqual([id]);
    });
  },
);
