import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import type { Claim } from '../../../lib/engine/ports/record-store.js';
import type { SqlRecordStore } from '../../../lib/store/sql-record-store.js';
import { aClaim, again, BACKENDS, StoreFixture, COMPLETION, OUTCOME, ownership } from './support.js';

const CLAIMERS = 50;
const POOLS = 4;

const KEYS_EACH = 50;

/** Stores with a pool each, as in processes of their own. */
function storesOn(fixture: StoreFixture, options?: (index: number) => object): Promise<SqlRecordStore[]> {
  return Promise.all(
    Array.from({ length: POOLS }, async (_, i) =>
      fixture.store({ dataSource: await fixture.connect({ poolSize: 8, ...options?.(i) }), timeoutMs: 25_000 }),
    ),
  );
}

/** Everybody claims every key, all in the same order, as fast as they can. How often each key was won. */
async function race(stores: readonly SqlRecordStore[], claims: readonly Claim[], claimers = CLAIMERS) {
  const wins = new Map<string, number>();
  const statuses = new Set<string>();
  await Promise.all(
    Array.from({ length: claimers }, async (_, i) => {
      for (const template of claims) {
        const claim = again(template);
        const answer = await stores[i % stores.length].claim(claim);
        expect(answer.recordId).toBe(claim.recordId);
        if (answer.owner === claim.owner) wins.set(claim.recordId, (wins.get(claim.recordId) ?? 0) + 1);
        else statuses.add(answer.status);
      }
    }),
  );
  return { wins, statuses: [...statuses] };
}

describe.each(BACKENDS)(`${CLAIMERS} claimers on each key on $name`, (backend) => {
  let fixture: StoreFixture;
  let stores: SqlRecordStore[];

  beforeAll(async () => {
    fixture = await StoreFixture.open(backend);
    stores = await storesOn(fixture);
  });
  afterAll(() => fixture?.close());

  const freshKeys = (count: number) => Array.from({ length: count }, () => aClaim());
  async function silentKeys(count: number): Promise<Claim[]> {
    const claims = freshKeys(count);
    await Promise.all(claims.map((claim) => stores[0].claim(claim)));
    for (const { recordId } of claims) await fixture.expireLease(recordId);
    return claims;
  }
  async function completedKeys(count: number): Promise<Claim[]> {
    const claims = freshKeys(count);
    const [store] = stores;
    await Promise.all(claims.map(async (claim) => store.complete(ownership(await store.claim(claim)), COMPLETION)));
    return claims;
  }
  async function expiredKeys(count: number): Promise<Claim[]> {
    const claims = await completedKeys(count);
    for (const { recordId } of claims) await fixture.expireRecord(recordId);
    return claims;
  }

  it('have one winner where the key is free, and none where it has an outcome', async () => {
    const fresh = freshKeys(KEYS_EACH);
    const silent = await silentKeys(KEYS_EACH);
    const expired = await expiredKeys(KEYS_EACH);
    const completed = await completedKeys(KEYS_EACH);
    // Side by side, so that the batches of a store have all of them.
    const claims = fresh.flatMap((claim, i) => [claim, silent[i], expired[i], completed[i]]);
    const { wins } = await race(stores, claims);

    const expectEach = async (keys: Claim[], won: number | undefined, recordState: object) => {
      for (const { recordId } of keys) {
        expect(wins.get(recordId)).toBe(won);
        expect(await stores[0].read(recordId)).toMatchObject(recordState);
      }
    };
    await expectEach(fresh, 1, { status: 'processing', token: 1, attempt: 1 });
    await expectEach(silent, 1, { status: 'processing', token: 2, attempt: 2 });
    await expectEach(expired, 1, { status: 'processing', token: 2, attempt: 1 });
    await expectEach(completed, undefined, { status: 'done', token: 1, attempt: 1 });
  });

  it('have an outcome each, whatever else goes on', async () => {
    const claims = freshKeys(40);
    const outcomes = new Map<string, Set<number>>(claims.map(({ recordId }) => [recordId, new Set()]));
    let running = true;
    const others = (async () => {
      while (running) {
        await Promise.all([
          stores[1].sweep(10),
          stores[2].markAwaited(claims[Math.floor(Math.random() * claims.length)].recordId),
        ]);
        // SQLite answers without a turn of the event loop, and would leave none to the others.
        await setImmediate();
      }
    })();
    await Promise.all(
      Array.from({ length: CLAIMERS }, async (_, i) => {
        const store = stores[i % stores.length];
        for (const template of claims) {
          const claim = again(template);
          const answer = await store.claim(claim);
          if (answer.owner !== claim.owner) continue;
          const owner = ownership(answer);
          const chance = Math.random();
          if (chance < 0.3) await fixture.expireLease(claim.recordId);
          else if (chance < 0.5) await store.release(owner, 86_400_000);
          else if (chance < 0.6) await store.discard(owner);
          if (chance > 0.6 || chance < 0.3) {
            await store.steps.begin(owner, 'charge');
            await store.renew(owner, claim.leaseMs);
            const outcome = { ...OUTCOME, code: 200 + i };
            const { held } = await store.complete(owner, { outcome, retentionMs: claim.retentionMs });
            if (held) outcomes.get(claim.recordId)!.add(outcome.code);
          }
        }
      }),
    );
    running = false;
    await others;
    for (const [recordId, codes] of outcomes) {
      expect(codes.size).toBeLessThanOrEqual(1);
      if (codes.size) expect(await stores[0].read(recordId)).toMatchObject({ outcome: { code: [...codes][0] } });
    }
  });
});

describe.each(BACKENDS.filter(({ dialect }) => dialect !== 'better-sqlite3'))('Claimers on $name', (backend) => {
  let fixture: StoreFixture;

  beforeAll(async () => {
    fixture = await StoreFixture.open(backend);
  });
  afterAll(() => fixture?.close());

  it.each(['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'])('have one winner under %s', async (level) => {
    const stores = await storesOn(fixture, () =>
      backend.dialect === 'postgres'
        ? { extra: { options: `-c default_transaction_isolation=${level.replace(' ', '\\ ').toLowerCase()}` } }
        : {},
    );
    if (backend.dialect === 'mariadb') for (const store of stores) isolate(store, level);
    if (backend.dialect === 'postgres') {
      const { dataSource } = stores[0] as unknown as { dataSource: DataSource };
      expect(await dataSource.query('SHOW transaction_isolation')).toEqual([
        { transaction_isolation: level.toLowerCase() },
      ]);
    }
    const claims = Array.from({ length: 40 }, () => aClaim());
    const { wins } = await race(stores, claims);
    for (const { recordId } of claims) expect(wins.get(recordId)).toBe(1);
    await Promise.all(
      claims.map(async (template, i) => {
        await fixture.expireLease(template.recordId);
        const claim = again(template, { owner: randomUUID() });
        const owner = ownership(await stores[i % POOLS].claim(claim));
        expect(await stores[(i + 1) % POOLS].complete(owner, COMPLETION)).toMatchObject({ held: true });
      }),
    );
    expect((await race(stores, claims, 10)).statuses).toEqual(['done']);
  });
});

/** MySQL's clients have no option for it. */
function isolate(store: SqlRecordStore, level: string): void {
  const { driver } = (store as unknown as { dataSource: DataSource }).dataSource;
  const { pool } = driver as unknown as {
    pool: { on(event: 'connection', listener: (connection: { query(sql: string): void }) => void): void };
  };
  pool.on('connection', (connection) => connection.query(`SET SESSION TRANSACTION ISOLATION LEVEL ${level}`));
}
