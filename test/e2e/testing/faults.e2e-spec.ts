import { randomBytes, randomUUID } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Controller, Headers, Module, Post } from '@nestjs/common';
import type { INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { InjectDataSource, TypeOrmModule } from '@nestjs/typeorm';
import { Column, DataSource, Entity, PrimaryColumn } from 'typeorm';
import {
  type Execution,
  Idempotent,
  IdempotencyModule,
  IdempotencyService,
  IdempotentExecution,
} from '../../../lib/index.js';
import { IdempotencyEngine } from '../../../lib/engine/engine.js';
import { IdempotencyFaults, IdempotencyFaultsModule, SimulatedCrashError } from '../../../lib/testing/index.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { until } from '../../support/until.js';

@Entity('payment')
class Payment {
  @PrimaryColumn({ type: 'varchar', length: 36 }) id!: string;
  @Column({ type: 'varchar', length: 36 }) key!: string;
}

let charges: string[] = [];
let faults: IdempotencyFaults;

@Controller()
class PaymentsController {
  constructor(@InjectDataSource() private readonly dataSource: DataSource) {}

  @Post('plain')
  @Idempotent()
  async plain(@Headers('idempotency-key') key: string, @IdempotentExecution() execution: Execution) {
    charges.push(key);
    await faults.reach('after charge');
    return { attempt: execution.attempt };
  }

  @Post('transactional')
  @Idempotent({ transactional: true })
  async transactional(@Headers('idempotency-key') key: string, @IdempotentExecution() execution: Execution) {
    await execution.manager.insert(Payment, { id: randomUUID(), key });
    return { attempt: execution.attempt };
  }

  /** Ends when a renewal, after a third of the lease, finds the lease lost. */
  @Post('until-aborted')
  @Idempotent({ lease: '2s' })
  async untilAborted(@IdempotentExecution() { signal }: Execution) {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    return { aborted: signal.aborted };
  }

  @Post('payments-of')
  payments(@Headers('idempotency-key') key: string) {
    return this.dataSource.manager.countBy(Payment, { key });
  }
}

describe.each(['postgres', 'better-sqlite3'] as const)('nestjs-idempotency/testing on %s', (dialect) => {
  let database: TestDatabase;
  let app: INestApplication;
  let url: string;

  beforeAll(async () => {
    database = await createDatabase(dialect);
    @Module({
      imports: [
        TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, entities: [Payment], synchronize: true }),
        IdempotencyModule.forRoot({ audit: 'off' }),
      ],
      controllers: [PaymentsController],
    })
    class App {}
    const module = await Test.createTestingModule({ imports: [App, IdempotencyFaultsModule] }).compile();
    app = module.createNestApplication({ logger: false });
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
    faults = app.get(IdempotencyFaults);
  });

  beforeEach(() => {
    faults.reset();
    charges = [];
  });

  afterAll(async () => {
    await app?.close();
    await database?.drop();
  });

  const post = (route: string, key: string) => call(`${url}/${route}`, { key });
  const bodyOf = async (answer: ReturnType<typeof call>) => JSON.parse((await answer).body) as Record<string, unknown>;

  /** Lets all leases end: those of 30 seconds do not end by themselves on a busy machine. */
  const endLeases = () => app.get(DataSource).query('UPDATE idempotency_record SET lease_until = created_at');

  /** On SQLite, leases end only once the dead process's transaction is rolled back, as there is one connection. */
  async function retried(route: string, key: string) {
    let answer!: Awaited<ReturnType<typeof post>>;
    await until(async () => {
      await endLeases();
      answer = await post(route, key);
      return answer.status !== 409;
    });
    return answer;
  }

  test.each(['after claim', 'before handler', 'after charge', 'after handler', 'before complete'])(
    'a crash %s: the next request takes over, once the lease has ended',
    async (point) => {
      const key = randomUUID();
      faults.crashAt(point);
      await expect(post('plain', key)).rejects.toThrow();
      expect((await post('plain', key)).status).toBe(409);
      expect(JSON.parse((await retried('plain', key)).body)).toEqual({ attempt: 2 });
      expect(faults.fired).toMatchObject([{ point }]);
    },
  );

  test.each(['after complete', 'before send', 'after send'] as const)('a crash %s: replayed', async (point) => {
    const key = randomUUID();
    faults.crashAt(point);
    const first = await post('plain', key).catch(() => 'lost');
    if (point !== 'after send') expect(first).toBe('lost');
    const answer = await post('plain', key);
    expect(answer.headers['idempotent-replayed']).toBe('true');
    expect(charges).toEqual([key]);
  });

  test.each(['before complete', 'before commit', 'after commit'] as const)(
    'transactional, a crash %s: one effect',
    async (point) => {
      const key = randomUUID();
      faults.crashAt(point);
      await expect(post('transactional', key)).rejects.toThrow();
      expect((await retried('transactional', key)).status).toBe(201);
      expect((await post('payments-of', key)).body).toBe('1');
    },
  );

  test('a lost response is replayed', async () => {
    const key = randomUUID();
    faults.loseResponse();
    await expect(post('plain', key)).rejects.toThrow();
    expect(await post('plain', key)).toMatchObject({ status: 201, headers: { 'idempotent-replayed': 'true' } });
    expect(charges).toEqual([key]);
  });

  test('a lost lease: what the execution made is neither recorded nor sent', async () => {
    const key = randomUUID();
    faults.loseLease();
    expect((await post('plain', key)).status).toBe(409);
    expect(await bodyOf(post('plain', key))).toEqual({ attempt: 3 });
  });

  test('a lost lease aborts the signal', async () => {
    faults.loseLease();
    expect((await post('until-aborted', randomUUID())).status).toBe(409);
    expect(faults.fired).toMatchObject([{ point: 'after claim' }]);
  });

  test('a lost primary: nothing runs', async () => {
    const key = randomUUID();
    faults.losePrimary();
    expect((await post('plain', key)).status).toBe(503);
    expect(charges).toEqual([]);
    faults.restorePrimary();
    expect((await post('plain', key)).status).toBe(201);
  });

  test.each(['claim', 'complete'] as const)('a lost answer to %s is asked for again', async (of) => {
    const key = randomUUID();
    faults.loseAnswer(of);
    expect((await post('plain', key)).status).toBe(201);
    expect(charges).toEqual([key]);
    expect(faults.fired).toHaveLength(1);
  });

  test('a lost answer to COMMIT is looked up', async () => {
    const key = randomUUID();
    faults.loseAnswer('commit');
    expect((await post('transactional', key)).status).toBe(201);
    expect((await post('payments-of', key)).body).toBe('1');
  });

  test('a fault can be restricted to some records', async () => {
    const key = randomUUID();
    let asked = 0;
    faults.crashAt('after handler', { when: () => ++asked === 2 });
    expect((await post('plain', randomUUID())).status).toBe(201);
    await expect(post('plain', key)).rejects.toThrow();
  });

  test('callers of run() get the error', async () => {
    const service = app.get(IdempotencyService);
    const run = () => service.run({ key: 'job', operation: 'job', onConflict: 'wait' }, () => 'done');
    faults.crashAt('after handler');
    await expect(run()).rejects.toThrow(SimulatedCrashError);
    await endLeases();
    expect(await run()).toBe('done');
  });
});

test('without the module, there is nothing of it in an application', async () => {
  const database = await createDatabase('better-sqlite3');
  const imports = [
    TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, synchronize: true }),
    IdempotencyModule.forRoot(),
  ];
  const module = await Test.createTestingModule({ imports }).compile();
  expect(module.get(IdempotencyEngine, { strict: false }).constructor).toBe(IdempotencyEngine);
  await module.close();
  await database.drop();
});

test('executions that have ended are forgotten', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  // In bytes: what each operation is given, and what it returns.
  const INPUT = 50_000;
  const OUTCOME = 100_000;
  const OPERATIONS = 100;

  const database = await createDatabase('better-sqlite3');
  const imports = [
    TypeOrmModule.forRoot({ ...database.options, autoLoadEntities: true, synchronize: true }),
    IdempotencyModule.forRoot(),
    IdempotencyFaultsModule,
  ];
  const module = await Test.createTestingModule({ imports }).compile();
  await module.init();
  const service = module.get(IdempotencyService);
  const some = (bytes: number) => ({ text: randomBytes(bytes / 2).toString('hex') });
  const run = () =>
    service.run({ key: randomUUID(), operation: 'job', input: some(INPUT) }, () => Promise.resolve(some(OUTCOME)));
  const heldAfterMany = async () => {
    for (let i = 0; i < OPERATIONS; i++) await run();
    let least = Infinity;
    // What finalizers give back is free after a later collection only.
    for (let i = 0; i < 5; i++) {
      await new Promise(setImmediate);
      collectGarbage();
      const { heapUsed, external } = process.memoryUsage();
      least = Math.min(least, heapUsed + external);
    }
    return least;
  };
  await heldAfterMany(); // compiles the code, and fills what is kept for good
  const first = await heldAfterMany();
  const second = await heldAfterMany();
  await module.close();
  await database.drop();
  expect(second - first).toBeLessThan((OPERATIONS * (INPUT + OUTCOME)) / 4);
});
