import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { type INestApplicationContext, Module } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { TypeOrmModule } from '@nestjs/typeorm';
import { DelayedError, type Job, Queue, QueueEvents, Worker, type WorkerOptions } from 'bullmq';
import { Column, DataSource, Entity, PrimaryColumn } from 'typeorm';
import { type Execution, IdempotencyModule, IdempotencyService } from '../../../lib/index.js';
import { AppProcess } from '../../support/app-process.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';

@Entity('invoice')
class Invoice {
  @PrimaryColumn({ type: 'varchar', length: 36 }) id!: string;
  @Column({ type: 'varchar', length: 100 }) customer!: string;
}

interface InvoiceJob {
  readonly customer: string;
  readonly failures?: number;
  readonly invoiced?: boolean;
  /** Of the operation that has added the job. */
  readonly key?: string;
}

describe('BullMQ jobs through IdempotencyService.run()', () => {
  let database: TestDatabase;
  let app: INestApplicationContext;
  let queue: Queue<InvoiceJob>;
  let events: QueueEvents;
  const workers: Worker[] = [];

  const connection = () => ({
    host: '127.0.0.1',
    port: Number(process.env.TEST_REDIS_PORTS!.split(',')[0]),
    maxRetriesPerRequest: null,
  });

  beforeAll(async () => {
    database = await createDatabase('postgres');
    @Module({
      imports: [
        TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, entities: [Invoice], synchronize: true }),
        IdempotencyModule.forRoot({ sweep: false }),
      ],
    })
    class App {}
    app = await (await Test.createTestingModule({ imports: [App] }).compile()).init();
  });

  beforeEach(() => {
    const name = `invoices-${randomUUID()}`;
    queue = new Queue(name, { connection: connection() });
    events = new QueueEvents(name, { connection: connection() });
  });

  afterEach(async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.close(true)));
    await events.close();
    await queue.obliterate({ force: true });
    await queue.close();
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  const invoices = (customer: string) => app.get(DataSource).getRepository(Invoice).findBy({ customer });

  function work(
    handler: (job: Job<InvoiceJob>, execution: Execution, token: string) => Promise<unknown>,
    options: Partial<WorkerOptions> = {},
    transactional = false,
  ): Worker {
    const service = app.get(IdempotencyService);
    const worker = new Worker<InvoiceJob>(
      queue.name,
      (job, token) =>
        service.run(
          {
            key: job.data.key ?? `${job.id}-${job.timestamp}`,
            operation: queue.name,
            onConflict: 'wait',
            waitTimeout: '20s',
            transactional,
          },
          (execution) => handler(job, execution, token!),
        ),
      { connection: connection(), ...options },
    );
    worker.on('error', () => undefined);
    workers.push(worker);
    return worker;
  }

  test('a job that is tried again after its effect has that effect once: in a transaction', async () => {
    let runs = 0;
    work(
      async ({ data }, { manager, attempt }) => {
        runs++;
        await manager.insert(Invoice, { id: randomUUID(), customer: data.customer });
        if (attempt <= data.failures!) throw new Error('the mail server is away');
        return { attempt };
      },
      {},
      true,
    );
    const job = await queue.add('invoice', { customer: 'ann', failures: 2 }, { attempts: 3 });
    expect(await job.waitUntilFinished(events)).toEqual({ attempt: 3 });
    expect(runs).toBe(3);
    expect(await invoices('ann')).toHaveLength(1);
  });

  test('and in steps', async () => {
    const repository = app.get(DataSource).getRepository(Invoice);
    work(async ({ data }, execution) => {
      await execution.step('invoice', async () => {
        await repository.insert({ id: randomUUID(), customer: data.customer });
      });
      if (execution.attempt <= data.failures!) throw new Error('the mail server is away');
      return { attempt: execution.attempt };
    });
    const job = await queue.add('invoice', { customer: 'ben', failures: 1 }, { attempts: 2 });
    expect(await job.waitUntilFinished(events)).toEqual({ attempt: 2 });
    expect(await invoices('ben')).toHaveLength(1);
  });

  test('a job that writes its progress into its data, and comes back later, goes on where it was', async () => {
    const repository = app.get(DataSource).getRepository(Invoice);
    work(async (job, execution, token) => {
      const { customer, invoiced } = job.data;
      await execution.step('invoice', async () => {
        await repository.insert({ id: randomUUID(), customer });
      });
      if (invoiced) return { attempt: execution.attempt };
      await job.updateData({ customer, invoiced: true });
      await job.moveToDelayed(Date.now(), token);
      throw new DelayedError();
    });
    const job = await queue.add('invoice', { customer: 'emil' });
    expect(await job.waitUntilFinished(events)).toEqual({ attempt: 2 });
    expect(await invoices('emil')).toHaveLength(1);
  });

  test('a stalled job, given to another worker while the first still runs, has its effect once', async () => {
    let begin!: () => void;
    const began = new Promise<void>((resolve) => (begin = resolve));
    let finish!: () => void;
    const finished = new Promise<void>((resolve) => (finish = resolve));
    const repository = app.get(DataSource).getRepository(Invoice);
    let runs = 0;
    const handler = async ({ data }: Job<InvoiceJob>) => {
      runs++;
      begin();
      await finished;
      await repository.insert({ id: randomUUID(), customer: data.customer });
      return { run: runs };
    };
    // As a worker whose event loop is blocked: it does not renew its lock.
    const stalling = work(handler, { lockDuration: 300, skipLockRenewal: true, skipStalledCheck: true });
    const job = await queue.add('invoice', { customer: 'cleo' });
    await began;
    const taker = work(handler, { stalledInterval: 200, lockDuration: 10_000 });
    const taken = once(taker, 'active');
    try {
      expect(((await taken) as [Job])[0].id).toBe(job.id);
    } finally {
      finish();
    }
    expect(await job.waitUntilFinished(events)).toEqual({ run: 1 });
    expect(runs).toBe(1);
    expect(await invoices('cleo')).toHaveLength(1);
    await stalling.close(true);
  });

  test('a job that is done and removed when a retry of its operation adds it again has its effect once', async () => {
    const repository = app.get(DataSource).getRepository(Invoice);
    const worker = work(async ({ data }) => {
      await repository.insert({ id: randomUUID(), customer: data.customer });
    });
    const place = () =>
      app.get(IdempotencyService).run({ key: queue.name, operation: 'place', input: {} }, async (execution) => {
        const key = execution.deriveKey('invoice');
        const done = once(worker, 'completed');
        await queue.add('invoice', { customer: 'dora', key }, { jobId: key, removeOnComplete: true });
        await done;
        if (execution.attempt === 1) throw new Error('the process is out of memory');
        return { attempt: execution.attempt };
      });
    await expect(place()).rejects.toThrow('out of memory');
    expect(await place()).toEqual({ attempt: 2 });
    expect(await invoices('dora')).toHaveLength(1);
  });
});

describe('a cron job on two processes', () => {
  let database: TestDatabase;
  const apps: AppProcess[] = [];

  beforeAll(async () => {
    database = await createDatabase('postgres');
    for (const SYNCHRONIZE of ['on', 'off']) {
      apps.push(await AppProcess.start('schedule-app', { DATABASE: JSON.stringify(database.options), SYNCHRONIZE }));
    }
  });

  afterAll(async () => {
    await Promise.all(apps.map((app) => app.stop()));
    await database?.drop();
  });

  interface Tick {
    readonly due: string;
    readonly by: number;
  }

  test('each tick runs once', async () => {
    const ticks = (app: AppProcess) => app.messages.filter((message): message is Tick => 'due' in (message as Tick));
    const shared = () => ticks(apps[0]).filter(({ due }) => ticks(apps[1]).some((other) => other.due === due));
    const giveUpAt = Date.now() + 20_000;
    while (shared().length < 3) {
      if (Date.now() > giveUpAt) throw new Error(apps.map((app) => app.output).join('\n'));
      await sleep(50);
    }
    const digests = JSON.parse((await call(`${apps[0].url}/digests`, { method: 'GET' })).body) as {
      due: string;
      pid: number;
    }[];
    for (const { due, by } of shared()) {
      expect(digests.filter((digest) => digest.due === due)).toMatchObject([{ pid: by }]);
      expect(ticks(apps[1]).find((other) => other.due === due)!.by).toBe(by);
    }
  });
});
