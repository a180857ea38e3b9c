import { setTimeout as sleep } from 'node:timers/promises';
import { jest } from '@jest/globals';

import { type Server, startRedis } from '../../support/servers.mjs';
import { RedlockRecordLock } from '../../../lib/lock/redlock-record-lock.js';
import { until } from '../../support/until.js';
import { anId, LockFixture, type Client, take, takeAndRenew, median, nameOf, timed, VERSIONS } from './support.js';

const fixture = new LockFixture({ attemptTimeout: 5_000 });
const own: Server[] = [];

afterAll(async () => {
  await fixture.close();
  await Promise.all(own.map((server) => server.dispose()));
});

function ports(count: number): number[] {
  return (process.env.TEST_REDIS_PORTS ?? '').split(',').map(Number).slice(0, count);
}

async function holders(clients: readonly Client[], id: string): Promise<(string | null)[]> {
  return await Promise.all(clients.map((client) => client.get(nameOf(id))));
}

describe.each(VERSIONS)('a lock on $version', (version) => {
  describe.each([1, 3, 5])('with a quorum of %d', (count) => {
    let clients: Client[];
    let ours: RedlockRecordLock;
    let theirs: RedlockRecordLock;

    beforeAll(async () => {
      clients = await fixture.connect(version, ports(count));
      ours = fixture.lock(clients);
      theirs = fixture.lock(await fixture.connect(version, ports(count)));
    });

    it('is one holder’s until it is released', async () => {
      const id = anId();
      const lock = await take(ours, id, 10_000);
      expect(await theirs.acquire(id, 10_000)).toEqual({ kind: 'contended' });
      expect(await ours.acquire(id, 10_000)).toEqual({ kind: 'contended' });
      lock.release();
      lock.release();
      await until(async () => (await theirs.acquire(id, 10_000)).kind === 'acquired');
    });

    it('is there on every node, with its time to live, and gone after its release', async () => {
      const id = anId();
      const lock = await take(ours, id, 10_000);
      await until(async () => new Set(await holders(clients, id)).size === 1);
      for (const client of clients) expect(await client.pttl(nameOf(id))).toBeGreaterThan(9_000);
      lock.release();
      await until(async () => (await holders(clients, id)).every((holder) => holder === null));
    });

    it('is asked for together with others of the same turn, in one vote', async () => {
      const commands = clients.map((client) => jest.spyOn(client, 'evalsha'));
      const ids = Array.from({ length: 20 }, anId);
      await clients[0].script('FLUSH');
      const attempts = await Promise.all(ids.map((id) => ours.acquire(id, 10_000)));
      expect(attempts.map(({ kind }) => kind)).toEqual(ids.map(() => 'acquired'));
      const owners = await Promise.all(ids.map((id) => holders(clients, id)));
      expect(new Set(owners.flat().filter(Boolean)).size).toBe(1);
      for (const command of commands) expect(command).toHaveBeenCalledTimes(1);
      for (const attempt of attempts) if (attempt.kind === 'acquired') attempt.lock.release();
      await until(async () => (await Promise.all(ids.map((id) => holders(clients, id)))).flat().every((one) => !one));
      for (const command of commands) expect(command).toHaveBeenCalledTimes(2);
      jest.restoreAllMocks();
    });

    it('does not suffer from another of the same turn that is held or has a time of its own', async () => {
      const commands = clients.map((client) => jest.spyOn(client, 'evalsha'));
      const ids = Array.from({ length: 20 }, anId);
      const held = await take(theirs, ids[7], 10_000);
      const attempts = await Promise.all(ids.map((id, i) => ours.acquire(id, i === 5 ? 20_000 : 10_000)));
      expect(attempts.map(({ kind }) => kind)).toEqual(ids.map((_, i) => (i === 7 ? 'contended' : 'acquired')));
      // The vote of all, those of each, and what nodes that answered late give back: not one for each lock.
      for (const command of commands) expect(command.mock.calls.length).toBeLessThan(10);
      for (const attempt of attempts) if (attempt.kind === 'acquired') attempt.lock.release();
      held.release();
      await until(async () => (await Promise.all(ids.map((id) => holders(clients, id)))).flat().every((one) => !one));
      jest.restoreAllMocks();
    });

    it('is won by one of two that ask in the same turn', async () => {
      const [id, other] = [anId(), anId()];
      const attempts = await Promise.all([id, other, id].map((name) => ours.acquire(name, 10_000)));
      expect(attempts.map(({ kind }) => kind)).toEqual(['acquired', 'acquired', 'contended']);
      for (const attempt of attempts) if (attempt.kind === 'acquired') attempt.lock.release();
    });

    it('takes the releases along with the next locks', async () => {
      const commands = clients.map((client) => jest.spyOn(client, 'evalsha'));
      let held = await take(ours, anId(), 10_000);
      for (let i = 0; i < 10; i++) {
        held.release();
        held = await take(ours, anId(), 10_000);
      }
      // A release goes alone where this process stands still for longer than it waits.
      const both = (command: readonly unknown[]) => command.includes('acquire') && command.includes('release');
      for (const command of commands) expect(command.mock.calls.filter(both).length).toBeGreaterThan(0);
      held.release();
      jest.restoreAllMocks();
    });

    it('does not delete what another holds by now', async () => {
      const id = anId();
      const lock = await take(ours, id, 10_000);
      await sleep(20);
      for (const client of clients) await client.set(nameOf(id), 'theirs', 'PX', 5_000);
      lock.release();
      await sleep(50);
      expect(new Set(await holders(clients, id))).toEqual(new Set(['theirs']));
    });

    it('is given to at most one of many who ask at once, and all but always to one', async () => {
      const rivals: RedlockRecordLock[] = [];
      for (let i = 0; i < 5; i++) rivals.push(fixture.lock(await fixture.connect(version, ports(count))));
      let granted = 0;
      for (let round = 0; round < 100; round++) {
        const id = anId();
        const attempts = await Promise.all(rivals.map((rival) => rival.acquire(id, 10_000)));
        const locks = attempts.flatMap((attempt) => (attempt.kind === 'acquired' ? [attempt.lock] : []));
        expect(locks.length).toBeLessThanOrEqual(1);
        expect(attempts.map(({ kind }) => kind)).not.toContain('unavailable');
        granted += locks.length;
        for (const lock of locks) lock.release();
      }
      expect(granted).toBeGreaterThanOrEqual(95);
    });

    it('is renewed past three times its time to live, and no more after its release', async () => {
      const id = anId();
      const lock = await takeAndRenew(ours, id, 1_500);
      for (const end = performance.now() + 4_500; performance.now() < end; await sleep(50))
        expect((await theirs.acquire(id, 1_500)).kind).not.toBe('acquired');
      lock.release();
      await until(async () => (await holders(clients, id)).every((holder) => holder === null));
      await sleep(700);
      expect(await holders(clients, id)).toEqual(clients.map(() => null));
    });

    it('is no longer renewed once the lock is closed, and refused', async () => {
      const closing = fixture.lock(clients);
      const id = anId();
      const lock = await takeAndRenew(closing, id, 900);
      await closing.close();
      await closing.close();
      expect(await closing.acquire(anId(), 900)).toEqual({ kind: 'unavailable', reason: 'closed' });
      await sleep(450);
      for (const client of clients) expect(await client.pttl(nameOf(id))).toBeLessThan(600);
      lock.release();
      await until(async () => (await holders(clients, id)).every((holder) => holder === null));
      expect(clients.map((client) => client.status)).toEqual(clients.map(() => 'ready'));
    });

    it('costs one round trip to take and one to be refused', async () => {
      const taken: number[] = [];
      const refused: number[] = [];
      for (let i = 0; i < 200; i++) {
        const id = anId();
        const { result, ms } = await timed(() => take(ours, id, 10_000));
        taken.push(ms);
        refused.push((await timed(() => theirs.acquire(id, 10_000))).ms);
        result.release();
      }
      console.log(
        `${version.version}, ${count} nodes: taken in ${median(taken).toFixed(2)} ms, ` +
          `refused in ${median(refused).toFixed(2)} ms (medians)`,
      );
      expect(median(taken)).toBeLessThan(20);
      expect(median(refused)).toBeLessThan(20);
    });
  });

  it('that was flushed and taken by another is neither extended nor deleted by its first holder', async () => {
    const servers = await Promise.all(Array.from({ length: 3 }, () => startRedis()));
    own.push(...servers);
    const nodes = servers.map((server) => server.port);
    const clients = await fixture.connect(version, nodes);
    const [ours, theirs] = [fixture.lock(clients), fixture.lock(await fixture.connect(version, nodes))];
    const id = anId();
    const first = await takeAndRenew(ours, id, 1_500);
    await until(async () => new Set(await holders(clients, id)).size === 1);
    for (const client of clients) await client.flushall();
    const second = await takeAndRenew(theirs, id, 1_500);
    await until(async () => new Set(await holders(clients, id)).size === 1);
    const values = await holders(clients, id);
    await sleep(3_500);
    expect(await holders(clients, id)).toEqual(values);
    first.release();
    await sleep(50);
    expect(await holders(clients, id)).toEqual(values);
    second.release();
    await until(async () => (await holders(clients, id)).every((holder) => holder === null));
  });

  it('that was flushed and not taken again does not come back', async () => {
    const [server] = [await startRedis()];
    own.push(server);
    const clients = await fixture.connect(version, [server.port]);
    const id = anId();
    const lock = await takeAndRenew(fixture.lock(clients), id, 300);
    await clients[0]?.flushall();
    await sleep(600);
    expect(await holders(clients, id)).toEqual([null]);
    lock.release();
  });

  it('survives the loss of the scripts', async () => {
    const server = await startRedis();
    own.push(server);
    const clients = await fixture.connect(version, [server.port]);
    const lock = fixture.lock(clients);
    const id = anId();
    const first = await takeAndRenew(lock, id, 1_500);
    await clients[0]?.script('FLUSH');
    await sleep(2_500);
    expect(await lock.acquire(id, 1_500)).toEqual({ kind: 'contended' });
    await clients[0]?.script('FLUSH');
    first.release();
    // Sooner than it would run out.
    await until(async () => (await lock.acquire(id, 1_500)).kind === 'acquired', 900);
  });

  it('is taken where a minifier has renamed the classes of ioredis', async () => {
    const server = await startRedis();
    own.push(server);
    const clients = await fixture.connect(version, [server.port]);
    const reply = (await clients[0].evalsha('0'.repeat(40), 0).catch((error: unknown) => error)) as Error;
    expect(reply.message).toMatch(/^NOSCRIPT /);
    const { name } = reply.constructor;
    Object.defineProperty(reply.constructor, 'name', { value: 't', configurable: true });
    try {
      await take(fixture.lock(clients), anId(), 300);
    } finally {
      Object.defineProperty(reply.constructor, 'name', { value: name, configurable: true });
    }
  });

  it('with too little time left is given back', async () => {
    const clients = await fixture.connect(version, ports(3));
    const lock = fixture.lock(clients, { attemptTimeout: 5_000, driftFactor: 0.99, minValidity: 200 });
    const id = anId();
    expect(await lock.acquire(id, 10_000)).toEqual({ kind: 'unavailable', reason: 'acquired too late' });
    await until(async () => (await holders(clients, id)).every((holder) => holder === null), 5_000);
  });

  it('carries the prefixes of its settings and of the client', async () => {
    const [client] = await fixture.connect(version, ports(1), { keyPrefix: 'shop:' });
    const [plain] = await fixture.connect(version, ports(1));
    const id = anId();
    const lock = await take(fixture.lock([client as Client], { prefix: 'mine:' }), id, 10_000);
    expect(await plain?.exists(`shop:mine:{${id}}`)).toBe(1);
    lock.release();
    await until(async () => (await plain?.exists(`shop:mine:{${id}}`)) === 0);
  });

  it.each([
    ['lazyConnect', { lazyConnect: true }],
    ['stringNumbers', { stringNumbers: true }],
    ['enableAutoPipelining', { enableAutoPipelining: true }],
  ])('works with clients made with %s', async (_name, options) => {
    const lock = fixture.lock(await fixture.connect(version, ports(3), options));
    const id = anId();
    const first = await take(lock, id, 10_000);
    expect(await lock.acquire(id, 10_000)).toEqual({ kind: 'contended' });
    first.release();
    await until(async () => (await lock.acquire(id, 10_000)).kind === 'acquired');
  });

  it('answers even where the time to live is nonsense', async () => {
    const lock = fixture.lock(await fixture.connect(version, ports(1)));
    for (const ttl of [Number.NaN, Number.POSITIVE_INFINITY, -1, 0.5])
      expect((await lock.acquire(anId(), ttl)).kind).toMatch(/unavailable|acquired/);
  });
});
