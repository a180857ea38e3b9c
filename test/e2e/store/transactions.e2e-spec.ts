import { setTimeout as sleep } from 'node:timers/promises';
import { Column, Entity, type EntityManager, PrimaryColumn } from 'typeorm';
import { CommitUnknownError, StoreUnavailableError } from '../../../lib/engine/errors.js';
import type { StoreTransaction } from '../../../lib/engine/ports/record-store.js';
import { IDEMPOTENCY_ENTITIES } from '../../../lib/store/entities/index.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import type { TransactionHost } from '../../../lib/store/transactions/transaction-host.js';
import { TcpProxy } from '../../support/proxy.js';
import { aClaim, BACKENDS, StoreFixture, COMPLETION, HELD, LOST, OUTCOME, ownership } from './support.js';
import { until } from '../../support/until.js';

@Entity()
class Payment {
  @PrimaryColumn({ type: 'integer' })
  id!: number;

  @Column({ type: 'integer' })
  amount!: number;
}

const entities = [...IDEMPOTENCY_ENTITIES, Payment];
const managerOf = (transaction: StoreTransaction) => transaction.manager as EntityManager;

describe.each(BACKENDS)('A transaction on $name', (backend) => {
  let fixture: StoreFixture;
  let store: SqlRecordStore;
  let lastId = 0;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backend, { entities });
    store = fixture.store();
  });
  afterAll(() => fixture?.close());

  const claimed = async () => ownership(await store.claim(aClaim()));
  const payment = (id: number) => fixture.dataSource.getRepository(Payment).findOneBy({ id });
  const pay = (transaction: StoreTransaction, id: number) =>
    managerOf(transaction)
      .insert(Payment, { id, amount: 1 })
      .then(() => undefined);

  it('commits the handler’s writes together with the completion', async () => {
    const owner = await claimed();
    const id = ++lastId;
    const answer = await store.transaction(async (transaction) => {
      await pay(transaction, id);
      return transaction.complete(owner, COMPLETION);
    });
    expect(answer).toEqual(HELD);
    expect(await payment(id)).not.toBeNull();
    expect((await store.read(owner.recordId))!.outcome).toEqual(OUTCOME);
  });

  it('is not undone with a transaction of the application that was under way', async () => {
    const owner = await claimed();
    const [theirs, ours] = [++lastId, ++lastId];
    let begun!: () => void;
    const underWay = new Promise<void>((resolve) => (begun = resolve));
    const undone = fixture.dataSource.transaction(async (manager) => {
      await manager.insert(Payment, { id: theirs, amount: 1 });
      begun();
      await sleep(100);
      throw new Error('undone');
    });
    const ended = Promise.allSettled([undone]);
    await underWay;
    const answer = store.transaction(async (transaction) => {
      await pay(transaction, ours);
      await sleep(200);
      return transaction.complete(owner, COMPLETION);
    });
    expect(await ended).toMatchObject([{ reason: new Error('undone') }]);
    expect(await answer).toEqual(HELD);
    expect([await payment(theirs), (await payment(ours))?.id]).toEqual([null, ours]);
  });

  it('reports whether a request waits', async () => {
    const owner = await claimed();
    await store.markAwaited(owner.recordId);
    expect(await store.transaction((transaction) => transaction.complete(owner, COMPLETION))).toEqual({
      held: true,
      awaited: true,
    });
  });

  it('rolls both back with what the work threw', async () => {
    const owner = await claimed();
    const id = ++lastId;
    const error = new Error('declined');
    const work = store.transaction(async (transaction) => {
      await pay(transaction, id);
      await transaction.complete(owner, COMPLETION);
      throw error;
    });
    await expect(work).rejects.toBe(error);
    expect(await payment(id)).toBeNull();
    expect(await store.read(owner.recordId)).toMatchObject({ status: 'processing', owner: owner.owner });
  });

  it('completes nothing for an owner that lost its record', async () => {
    const owner = await claimed();
    const fenced = { ...owner, token: owner.token + 1 };
    expect(await store.transaction((transaction) => transaction.complete(fenced, COMPLETION))).toEqual(LOST);
    expect(await store.read(owner.recordId)).toMatchObject({ status: 'processing' });
  });

  it('runs beside others', async () => {
    const ids = Array.from({ length: 10 }, () => ++lastId);
    await Promise.all(
      ids.map(async (id) => {
        const owner = await claimed();
        await store.transaction(async (transaction) => {
          await pay(transaction, id);
          await sleep(5);
          await transaction.complete(owner, COMPLETION);
        });
      }),
    );
    for (const id of ids) expect(await payment(id)).not.toBeNull();
  });

  it('keeps steps', async () => {
    const owner = await claimed();
    const work = store.transaction(async (transaction) => {
      expect(await store.steps.begin(owner, 'charge', transaction)).toEqual(HELD);
      const end = { status: 'done', result: '1' } as const;
      expect(await store.steps.end(owner, 'charge', end, transaction)).toEqual(HELD);
      expect(await store.steps.load(owner.recordId, transaction)).toHaveLength(1);
      throw new Error('declined');
    });
    await expect(work).rejects.toThrow('declined');
    expect(await store.steps.load(owner.recordId)).toHaveLength(1);
  });

  it('of the application does not carry our statements with it when it is rolled back', async () => {
    let rollBack!: () => void;
    let begun!: () => void;
    const underWay = new Promise<void>((resolve) => (begun = resolve));
    const open = fixture.dataSource.transaction(async (manager) => {
      await manager.insert(Payment, { id: ++lastId, amount: 1 });
      const undone = new Promise((_, reject) => (rollBack = () => reject(new Error('rolled back'))));
      begun();
      await undone;
    });
    await underWay;
    const claiming = claimed();
    await sleep(20);
    rollBack();
    await expect(open).rejects.toThrow('rolled back');
    const owner = await claiming;
    expect(await store.read(owner.recordId)).toMatchObject({ owner: owner.owner });
  });

  it('says so where it does not know whether it was committed', async () => {
    const cause = new Error('connection lost');
    const own = fixture.store();
    const losesCommit: TransactionHost = {
      run: (dataSource, work) =>
        dataSource.transaction(async (manager) => {
          await work(manager);
          throw cause;
        }),
    };
    const owner = await claimed();
    const work = fixture
      .store({ transactionHost: losesCommit })
      .transaction((transaction) => transaction.complete(owner, COMPLETION));
    await expect(work).rejects.toMatchObject({ name: 'CommitUnknownError', cause });
    await expect(work).rejects.toBeInstanceOf(CommitUnknownError);
    expect(await own.read(owner.recordId)).toMatchObject({ status: 'processing' });
  });
});

describe.each(BACKENDS.filter(({ dialect }) => dialect !== 'better-sqlite3'))('A connection to $name', (backend) => {
  const TIMEOUT = 1_000;
  let fixture: StoreFixture;
  let proxy: TcpProxy;
  let store: SqlRecordStore;

  beforeEach(async () => {
    fixture = await StoreFixture.open(backend, { entities });
    proxy = await TcpProxy.listen(fixture.port);
    const dataSource = await fixture.connect({ port: proxy.port, poolSize: 4, entities });
    store = fixture.store({ dataSource, timeoutMs: TIMEOUT });
  });
  afterEach(async () => {
    await proxy?.close();
    await fixture?.close();
  });

  it('that is cut in the middle of COMMIT leaves it unknown, and the pool as it was', async () => {
    for (let i = 0; i < 8; i++) {
      const owner = ownership(await store.claim(aClaim()));
      const work = store.transaction(async (transaction) => {
        const answer = await transaction.complete(owner, COMPLETION);
        proxy.cutAfterRequest();
        return answer;
      });
      await expect(work).rejects.toBeInstanceOf(CommitUnknownError);
      expect(await store.read(owner.recordId)).toMatchObject({ status: 'done' });
    }
  });

  it('that is cut in the middle of a handler’s statement rolls back, and the pool is as it was', async () => {
    for (let i = 0; i < 8; i++) {
      const owner = ownership(await store.claim(aClaim()));
      const work = store.transaction(async (transaction) => {
        proxy.cut();
        await managerOf(transaction).insert(Payment, { id: i, amount: 1 });
        return transaction.complete(owner, COMPLETION);
      });
      const error: unknown = await work.catch((e: unknown) => e);
      expect(error).not.toBeInstanceOf(CommitUnknownError);
      expect(store.isRetryable(error)).toBe(true);
      expect(await store.read(owner.recordId)).toMatchObject({ status: 'processing' });
    }
  });

  it('that hangs in COMMIT is not waited for', async () => {
    const owner = ownership(await store.claim(aClaim()));
    const startedAt = performance.now();
    const work = store.transaction(async (transaction) => {
      const answer = await transaction.complete(owner, COMPLETION);
      proxy.blackhole(true);
      return answer;
    });
    await expect(work).rejects.toBeInstanceOf(CommitUnknownError);
    expect(performance.now() - startedAt).toBeLessThan(6 * TIMEOUT);
    proxy.blackhole(false);
    await until(async () => (await store.read(owner.recordId))?.status === 'done');
  });

  it('that hangs in the completion is not waited for', async () => {
    const owner = ownership(await store.claim(aClaim()));
    const startedAt = performance.now();
    const work = store.transaction(async (transaction) => {
      proxy.blackhole(true);
      return transaction.complete(owner, COMPLETION);
    });
    await expect(work).rejects.toBeInstanceOf(StoreUnavailableError);
    expect(performance.now() - startedAt).toBeLessThan(6 * TIMEOUT);
    proxy.blackhole(false);
    await sleep(100);
    expect(await store.read(owner.recordId)).toMatchObject({ status: 'processing' });
  });

  it('that comes too late goes back to the pool', async () => {
    const hold = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const runner = (store as unknown as { dataSource: typeof fixture.dataSource }).dataSource.createQueryRunner();
        await runner.connect();
        return runner;
      }),
    );
    await expect(store.transaction(() => Promise.resolve())).rejects.toBeInstanceOf(StoreUnavailableError);
    await Promise.all(hold.map((runner) => runner.release()));
    for (let i = 0; i < 5; i++) await store.transaction(() => Promise.resolve());
    await Promise.all(Array.from({ length: 4 }, () => store.transaction(() => sleep(20))));
  });
});
