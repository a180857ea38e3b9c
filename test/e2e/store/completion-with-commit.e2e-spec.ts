import { setTimeout as sleep } from 'node:timers/promises';
import { Column, Entity, type EntityManager, PrimaryColumn } from 'typeorm';
import { CommitUnknownError } from '../../../lib/engine/errors.js';
import type { Ownership, StoreTransaction } from '../../../lib/engine/ports/record-store.js';
import { IDEMPOTENCY_ENTITIES } from '../../../lib/store/entities/index.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import { TcpProxy } from '../../support/proxy.js';
import { until } from '../../support/until.js';
import { aClaim, backendOf, StoreFixture, COMPLETION, HELD, LOST, OUTCOME, ownership } from './support.js';

@Entity()
class Receipt {
  @PrimaryColumn({ type: 'integer' }) id!: number;
  @Column({ type: 'integer' }) amount!: number;
}

const entities = [...IDEMPOTENCY_ENTITIES, Receipt];
const TIMEOUT_MS = 1_000;

/** A completion that commits, on PostgreSQL. */
describe.each([
  ['as it is', {}],
  ['with a time limit for queries', { extra: { query_timeout: 60_000 } }],
  ['with two statements at a time', { extra: { pipeline: true } }],
])('The last statement of a transaction, on a client %s', (_how, options) => {
  let fixture: StoreFixture;
  let proxy: TcpProxy;
  let store: SqlRecordStore;
  let lastId = 0;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backendOf('postgres'), { entities });
    proxy = await TcpProxy.listen(fixture.port);
    const dataSource = await fixture.connect({ port: proxy.port, poolSize: 4, entities, ...options });
    store = fixture.store({ dataSource, timeoutMs: TIMEOUT_MS });
  });
  afterEach(() => proxy.blackhole(false));
  afterAll(async () => {
    await proxy?.close();
    await fixture?.close();
  });

  const claimed = async () => ownership(await store.claim(aClaim()));
  const isPaid = async (id: number) => (await fixture.dataSource.getRepository(Receipt).findOneBy({ id })) !== null;

  /** Pays, and completes last. */
  function pay(owner: Ownership, id: number, before: (transaction: StoreTransaction) => unknown = () => undefined) {
    return store.transaction(async (transaction) => {
      await (transaction.manager as EntityManager).insert(Receipt, { id, amount: 1 });
      await before(transaction);
      const answer = await transaction.completeLast!(owner, COMPLETION);
      if (!answer.held) throw new Error('lost');
      return answer;
    });
  }

  it('commits with it, again and again on the same connections', async () => {
    for (let round = 0; round < 3; round++) {
      const ids = Array.from({ length: 8 }, () => ++lastId);
      const owners = await Promise.all(ids.map(claimed));
      expect(await Promise.all(ids.map((id, i) => pay(owners[i], id)))).toEqual(ids.map(() => HELD));
      for (const [i, id] of ids.entries()) {
        expect(await isPaid(id)).toBe(true);
        expect((await store.read(owners[i].recordId))!.outcome).toEqual(OUTCOME);
      }
    }
  });

  it('reports whether a request waits', async () => {
    const owner = await claimed();
    await store.markAwaited(owner.recordId, true);
    expect(await pay(owner, ++lastId)).toEqual({ held: true, awaited: true });
  });

  it('commits nothing for an owner that lost its record', async () => {
    const owner = await claimed();
    const id = ++lastId;
    const lost = { ...owner, token: owner.token + 1 };
    await expect(pay(lost, id)).rejects.toThrow('lost');
    const answer = store.transaction((transaction) => transaction.completeLast!(lost, COMPLETION));
    expect(await answer.catch((error: unknown) => error)).toEqual(LOST);
    expect([await isPaid(id), (await store.read(owner.recordId))!.status]).toEqual([false, 'processing']);
  });

  it('commits nothing after a statement that failed, though its error was caught', async () => {
    const owner = await claimed();
    const id = ++lastId;
    const failing = ({ manager }: StoreTransaction) =>
      (manager as EntityManager).query('SELECT 1/0').catch(() => undefined);
    await expect(pay(owner, id, failing)).rejects.toMatchObject({ cause: { code: '25P02' } });
    expect([await isPaid(id), (await store.read(owner.recordId))!.status]).toEqual([false, 'processing']);
  });

  it('leaves it unknown whether it committed, where its answer is lost', async () => {
    for (let n = 0; n < 5; n++) {
      const owner = await claimed();
      const id = ++lastId;
      const work = pay(owner, id, () => proxy.cutAfterRequest(1, 'COMMIT'));
      await expect(work).rejects.toBeInstanceOf(CommitUnknownError);
      await until(async () => (await fixture.record(owner.recordId))!.status === 'done');
      expect(await isPaid(id)).toBe(true);
    }
  });

  it('is not waited for, where it hangs, and its connection goes back to the pool', async () => {
    const owner = await claimed();
    const id = ++lastId;
    const startedAt = performance.now();
    const work = pay(owner, id, () => proxy.blackhole(true));
    const error: unknown = await work.catch((thrown: unknown) => thrown);
    expect(performance.now() - startedAt).toBeLessThan(6 * TIMEOUT_MS);
    expect(store.isRetryable(error)).toBe(true);
    proxy.blackhole(false);
    // It may still be under way: a release keeps it from committing, or finds that it has.
    let isReleased: boolean | undefined;
    await until(async () => {
      isReleased = (await store.release(owner, 60_000).catch(() => undefined))?.held;
      return isReleased !== undefined;
    });
    await Promise.all(Array.from({ length: 8 }, () => store.transaction(() => sleep(20))));
    expect([await isPaid(id), (await fixture.record(owner.recordId))!.status]).toEqual(
      isReleased ? [false, 'failed'] : [true, 'done'],
    );
  });
});
