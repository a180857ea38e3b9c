import { setTimeout as sleep } from 'node:timers/promises';

import { TcpProxy } from '../../support/proxy.js';
import { type Server, startRedis } from '../../support/servers.mjs';
import type { RedlockRecordLock } from '../../../lib/lock/redlock-record-lock.js';
import { until } from '../../support/until.js';
import { anId, LockFixture, type Client, take, takeAndRenew, median, nameOf, timed, VERSIONS } from './support.js';

/** What an attempt may last at most, and what a busy machine may add to it, in milliseconds. */
const LIMIT = 100;
const SLACK = 1_000;

/** For attempts whose answer matters, and not when it comes: nodes answer within this on a busy machine, too. */
const PATIENT = { attemptTimeout: 1_000 };

const OUT_OF_FIVE = /^no quorum: 3 of 5 Redis nodes out \((no answer|not connected)(, not connected)?\)$/;

// jest fails a test during which a rejection goes unhandled.

describe.each(VERSIONS)('an outage, seen with default clients of $version', (version) => {
  let servers: Server[];
  let fixture: LockFixture;
  let clients: Client[];
  let lock: RedlockRecordLock;
  /** Connections that see what is on the nodes whatever happens to the clients. */
  let witnesses: Client[];
  const proxies: TcpProxy[] = [];
  const extras: Server[] = [];

  beforeAll(async () => {
    servers = await Promise.all(Array.from({ length: 5 }, () => startRedis()));
  });

  beforeEach(async () => {
    fixture = new LockFixture();
    const ports = servers.map((server) => server.port);
    witnesses = await fixture.connect(version, ports);
    clients = await fixture.connect(version, ports);
    lock = fixture.lock(clients);
    (await take(lock, anId(), 10_000)).release();
  });

  afterEach(async () => {
    for (const server of servers) server.resume();
    await Promise.all(servers.filter((server) => server.pid === undefined).map((server) => server.start()));
    await fixture.close();
    await Promise.all(proxies.splice(0).map((proxy) => proxy.close()));
    await Promise.all(extras.splice(0).map((server) => server.dispose()));
  });

  afterAll(async () => {
    await Promise.all(servers.map((server) => server.dispose()));
  });

  const outages = [
    {
      outage: 'stopped',
      begin: async (server: Server) => server.pause(),
      end: async (server: Server) => server.resume(),
    },
    {
      outage: 'killed',
      begin: async (server: Server) => await server.kill(),
      end: async (server: Server) => void (await server.start()),
    },
  ];

  async function lastingOf(count: number, attempt: () => Promise<unknown>): Promise<number[]> {
    const durations: number[] = [];
    for (let i = 0; i < count; i++) durations.push((await timed(attempt)).ms);
    return durations;
  }

  async function acquireAndRelease(): Promise<boolean> {
    const attempt = await lock.acquire(anId(), 10_000);
    if (attempt.kind === 'acquired') attempt.lock.release();
    return attempt.kind === 'acquired';
  }

  /** The first attempt that ends in contention; the others are a busy machine's. */
  async function contended(rival: RedlockRecordLock, id: string): Promise<{ ms: number }> {
    for (let i = 0; i < 5; i++) {
      const { result, ms } = await timed(() => rival.acquire(id, 10_000));
      if (result.kind === 'contended') return { ms };
      expect(result.kind).toBe('unavailable');
    }
    throw new Error('the contention was never reported');
  }

  async function holders(id: string): Promise<(string | null)[]> {
    return await Promise.all(witnesses.map((witness) => witness.get(nameOf(id))));
  }

  async function untilGone(id: string): Promise<void> {
    await until(async () => (await holders(id)).every((holder) => holder === null));
  }

  /** How often a node has been asked to run a script. */
  async function scriptsRun(node: number): Promise<number> {
    const info = (await witnesses[node]?.info('commandstats')) ?? '';
    return Number(/cmdstat_evalsha:calls=(\d+)/.exec(info)?.[1] ?? 0);
  }

  async function throughProxies(count: number): Promise<Client[]> {
    const opened = await Promise.all(servers.slice(0, count).map((server) => TcpProxy.listen(server.port)));
    proxies.push(...opened);
    return await fixture.connect(
      version,
      opened.map((proxy) => proxy.port),
    );
  }

  describe.each(outages)('nodes $outage', ({ outage, begin, end }) => {
    it('two of five: the lock works, and costs at most a time limit more', async () => {
      const healthy = await lastingOf(50, acquireAndRelease);
      await Promise.all(servers.slice(0, 2).map(begin));
      const times: number[] = [];
      // On a busy machine, a third node may be late once, and is then taken for one that is out for a while.
      await until(async () => {
        let acquired = 0;
        const round = await lastingOf(50, async () => {
          if (await acquireAndRelease()) acquired++;
        });
        times.push(...round);
        return acquired >= 45;
      });
      const [first = 0, ...next] = times;
      const id = anId();
      const lockOfId = await take(lock, id, 10_000);
      const refused = await contended(lock, id);
      console.log(
        `${version.version}, 2 of 5 ${outage}: acquire ${median(healthy).toFixed(2)} ms before, ` +
          `first ${first.toFixed(2)} ms, then ${median(next).toFixed(2)} ms (median); ` +
          `contended in ${refused.ms.toFixed(2)} ms`,
      );
      expect(refused.ms).toBeLessThan(LIMIT + SLACK);
      expect(median(next) - median(healthy)).toBeLessThan(LIMIT);
      expect(Math.max(first, ...next)).toBeLessThan(LIMIT + SLACK);
      lockOfId.release();
    });

    it('two of five: contention is still distinguished from outage', async () => {
      const id = anId();
      const lockOfId = await take(lock, id, 10_000);
      const other = fixture.lock(clients);
      await Promise.all(servers.slice(0, 2).map(begin));
      const { ms } = await contended(other, id);
      expect(ms).toBeLessThan(LIMIT + SLACK);
      lockOfId.release();
    });

    it('three of five: unavailable within the time limit, then at once, and back when they are', async () => {
      await Promise.all(servers.slice(0, 3).map(begin));
      const first = await timed(() => lock.acquire(anId(), 10_000));
      expect(first.result).toEqual({ kind: 'unavailable', reason: expect.stringMatching(OUT_OF_FIVE) });
      expect(first.ms).toBeLessThan(LIMIT + SLACK);
      const scripts = await scriptsRun(4);
      const next = await lastingOf(200, async () => {
        expect((await lock.acquire(anId(), 10_000)).kind).toBe('unavailable');
      });
      // Those that are left are not bothered in vain. One more where a release was still on its way.
      expect(await scriptsRun(4)).toBeLessThanOrEqual(scripts + 1);
      // Longer than the first pause of the circuit breaker, so that its probes are sent.
      const later: number[] = [];
      for (let i = 0; i < 15; i++) {
        await sleep(100);
        later.push((await timed(() => lock.acquire(anId(), 10_000))).ms);
      }
      expect(median(next)).toBeLessThan(10);
      expect(median(later)).toBeLessThan(10);

      await Promise.all(servers.slice(0, 3).map(end));
      const recovery = await timed(() =>
        until(async () => {
          const attempt = await lock.acquire(anId(), 10_000);
          if (attempt.kind === 'acquired') attempt.lock.release();
          return attempt.kind === 'acquired';
        }),
      );
      console.log(
        `${version.version}, 3 of 5 ${outage}: first ${first.ms.toFixed(1)} ms, then ${median(next).toFixed(3)} ms ` +
          `(median), worst later one ${Math.max(...later).toFixed(2)} ms; back after ${recovery.ms.toFixed(0)} ms`,
      );
    });

    it('the only one: unavailable within the time limit, and back when it is', async () => {
      const single = fixture.lock(clients.slice(0, 1));
      await begin(servers[0] as Server);
      const { result, ms } = await timed(() => single.acquire(anId(), 10_000));
      expect(result).toMatchObject({ kind: 'unavailable', reason: expect.stringContaining('1 of 1') });
      expect(ms).toBeLessThan(LIMIT + SLACK);
      await end(servers[0] as Server);
      await until(async () => (await single.acquire(anId(), 10_000)).kind === 'acquired');
    });

    it('a release delays no request, and reaches the nodes when they are back', async () => {
      const ids = Array.from({ length: 20 }, anId);
      const locks = await Promise.all(ids.map((id) => take(lock, id, 60_000)));
      await sleep(20);
      await Promise.all(servers.slice(0, 3).map(begin));
      const { ms } = await timed(async () => {
        for (const each of locks) each.release();
      });
      expect(ms).toBeLessThan(SLACK);
      await sleep(2 * LIMIT);
      await Promise.all(servers.slice(0, 3).map(end));
      for (const id of ids) await untilGone(id);
    });
  });

  it('nodes that are out do not count as a lock of another', async () => {
    const id = anId();
    const left = [witnesses[0], witnesses[4]];
    for (const witness of left) await witness?.set(nameOf(id), 'theirs', 'PX', 60_000);
    for (const server of servers.slice(1, 4)) server.pause();
    expect(await fixture.lock(clients, PATIENT).acquire(id, 60_000)).toEqual({
      kind: 'unavailable',
      reason: 'no quorum: 3 of 5 Redis nodes out (no answer)',
    });
    for (const witness of left) await witness?.del(nameOf(id));
  });

  it('a lost race costs one command, for there is nothing to release', async () => {
    const [ours, theirs] = [0, 1].map(() => fixture.lock(clients.slice(0, 1), { attemptTimeout: 5_000 })) as [
      RedlockRecordLock,
      RedlockRecordLock,
    ];
    const id = anId();
    await take(ours, id, 60_000);
    await sleep(200); // what earlier tests released is still under way
    const scripts = await scriptsRun(0);
    for (let i = 0; i < 10; i++) expect(await theirs.acquire(id, 60_000)).toEqual({ kind: 'contended' });
    expect(await scriptsRun(0)).toBe(scripts + 10);
  });

  it('a lock that got no quorum is left on no node', async () => {
    for (const server of servers.slice(0, 3)) server.pause();
    const id = anId();
    expect((await lock.acquire(id, 60_000)).kind).toBe('unavailable');
    for (const server of servers.slice(0, 3)) server.resume();
    await untilGone(id);
    (await take(lock, id, 60_000)).release();
  });

  it('a lock that came late is given back', async () => {
    const slow = await throughProxies(3);
    const late = fixture.lock(slow);
    (await take(late, anId(), 60_000)).release();
    for (const proxy of proxies) proxy.delay(1_000);
    const id = anId();
    const { result, ms } = await timed(() => late.acquire(id, 60_000));
    expect(result.kind).toBe('unavailable');
    expect(ms).toBeLessThan(LIMIT + SLACK);
    await until(async () => (await holders(id)).some((holder) => holder !== null));
    await untilGone(id);
    for (const proxy of proxies) proxy.delay(0);
    await until(async () => (await late.acquire(id, 60_000)).kind === 'acquired');
  });

  it('a lock granted by a node that was cut off meanwhile is given back', async () => {
    const slow = await throughProxies(3);
    const late = fixture.lock(slow);
    (await take(late, anId(), 60_000)).release();
    for (const proxy of proxies) proxy.blackhole(true);
    const id = anId();
    expect((await late.acquire(id, 60_000)).kind).toBe('unavailable');
    // The client sends the command again over its next connection.
    for (const proxy of proxies) proxy.cut();
    for (const proxy of proxies) proxy.blackhole(false);
    await until(() => slow.every((client) => client.status === 'ready'));
    await sleep(100);
    await untilGone(id);
    await until(async () => (await late.acquire(id, 60_000)).kind === 'acquired');
  });

  it('a lock granted long after its release could not be sent is given back', async () => {
    const opened = await TcpProxy.listen(servers[0]?.port ?? 0);
    proxies.push(opened);
    const [client] = (await fixture.connect(version, [opened.port], { enableOfflineQueue: false })) as [Client];
    const single = fixture.lock([client]);
    (await take(single, anId(), 60_000)).release();
    await sleep(20);
    opened.blackhole(true);
    const id = anId();
    const attempt = single.acquire(id, 60_000);
    await sleep(5); // it is sent at the end of this turn
    await opened.refuse(true);
    opened.cut();
    expect((await attempt).kind).toBe('unavailable');
    opened.blackhole(false);
    const scripts = await scriptsRun(0);
    await opened.refuse(false);
    // Taken and given back.
    await until(async () => (await scriptsRun(0)) >= scripts + 2);
    await untilGone(id);
  });

  it('a split vote is not repeated where the next one might end too late, and leaves nothing behind', async () => {
    const [first, second, third] = (await throughProxies(3)) as [Client, Client, Client];
    const [, slow] = proxies as [TcpProxy, TcpProxy];
    const late = fixture.lock([first, second, third], { attemptTimeout: 2_000 });
    (await take(late, anId(), 60_000)).release();
    const id = anId();
    await witnesses[0]?.set(nameOf(id), 'theirs', 'PX', 60_000);
    third.disconnect();
    // The vote ends after more than the fifth of the time that is left for another one.
    slow.delay(400);
    const { result, ms } = await timed(() => late.acquire(id, 60_000));
    expect(result).toEqual({
      kind: 'unavailable',
      reason: 'no quorum: 1 of 3 Redis nodes out (not connected)',
    });
    expect(ms).toBeLessThan(2_000);
    await witnesses[0]?.del(nameOf(id));
    await untilGone(id);
  });

  it('a lock whose answer was lost with the connection is recognised as ours', async () => {
    const single = fixture.lock(await throughProxies(1), { attemptTimeout: 5_000 });
    (await take(single, anId(), 60_000)).release();
    await sleep(20);
    proxies[0]?.cutAfterRequest();
    const id = anId();
    const taken = await take(single, id, 60_000);
    taken.release();
    await untilGone(id);
  });

  it('a silent node gets no commands piled up', async () => {
    servers[0]?.pause();
    const pending = (): number => (Reflect.get(clients[0] as Client, 'commandQueue') as { length: number }).length;
    await lastingOf(100, acquireAndRelease);
    await sleep(2 * LIMIT);
    const before = pending();
    expect(before).toBeGreaterThan(0);
    for (let i = 0; i < 5; i++) {
      await lastingOf(100, acquireAndRelease);
      await sleep(300);
    }
    expect(pending() - before).toBeLessThan(5);
  });

  it('a lock is renewed on the nodes that are left', async () => {
    const id = anId();
    await takeAndRenew(lock, id, 1_500);
    await until(async () => (await holders(id)).every((holder) => holder !== null));
    for (const server of servers.slice(0, 2)) server.pause();
    const alive = witnesses.slice(2);
    for (const end = performance.now() + 4_500; performance.now() < end; await sleep(50))
      for (const witness of alive) expect(await witness.exists(nameOf(id))).toBe(1);
  });

  it('a lock that could not be renewed in time is given up', async () => {
    const id = anId();
    const lost = await takeAndRenew(lock, id, 3_000);
    for (const server of servers.slice(0, 3)) server.pause();
    // The nodes that are left renew it until it has expired without a quorum, and then give it up.
    await sleep(2_400);
    for (const witness of witnesses.slice(3)) expect(await witness.pttl(nameOf(id))).toBeGreaterThan(600);
    await until(
      async () => (await Promise.all(witnesses.slice(3).map((w) => w.exists(nameOf(id))))).every((e) => !e),
      2_000,
    );
    for (const server of servers.slice(0, 3)) server.resume();
    await until(async () => (await fixture.lock(witnesses).acquire(id, 10_000)).kind === 'acquired');
    const values = await holders(id);
    lost.release();
    await sleep(300);
    expect(await holders(id)).toEqual(values);
  });

  it('a stall of our own process is not taken for an outage', async () => {
    const patient = fixture.lock(clients, PATIENT);
    (await take(patient, anId(), 10_000)).release();
    const attempt = patient.acquire(anId(), 10_000);
    for (const end = performance.now() + 1.5 * PATIENT.attemptTimeout; performance.now() < end;);
    expect((await attempt).kind).toBe('acquired');
    expect((await patient.acquire(anId(), 10_000)).kind).toBe('acquired');
  });

  it('a node that was never there is unavailable', async () => {
    const gone = await startRedis();
    const [client] = await fixture.connect(version, [gone.port], { lazyConnect: true });
    await gone.dispose();
    const lonely = fixture.lock([client as Client]);
    for (const ms of await lastingOf(10, async () =>
      expect((await lonely.acquire(anId(), 10_000)).kind).toBe('unavailable'),
    ))
      expect(ms).toBeLessThan(LIMIT + SLACK);
  });

  it.each([
    ['a command timeout of their own', { commandTimeout: 30 }],
    ['no offline queue', { enableOfflineQueue: false }],
    ['commands that wait forever', { maxRetriesPerRequest: null }],
    ['no resending', { autoResendUnfulfilledCommands: false }],
    ['automatic pipelines', { enableAutoPipelining: true }],
  ])('clients made with %s fare the same', async (_name, options) => {
    const ports = servers.map((server) => server.port);
    const other = fixture.lock(await fixture.connect(version, ports, options));
    (await take(other, anId(), 10_000)).release();
    for (const server of servers.slice(0, 2)) server.pause();
    await servers[2]?.kill();
    for (let i = 0; i < 3; i++) {
      const { result, ms } = await timed(() => other.acquire(anId(), 10_000));
      expect(result.kind).toBe('unavailable');
      expect(ms).toBeLessThan(LIMIT + SLACK);
    }
    for (const server of servers.slice(0, 2)) server.resume();
    await servers[2]?.start();
    await until(async () => (await other.acquire(anId(), 10_000)).kind === 'acquired');
  });

  it('a node that never makes up for its silence is found again by a probe', async () => {
    // With a command timeout, an answer that comes too late is lost in the client.
    const [client] = (await fixture.connect(version, [servers[0]?.port ?? 0], { commandTimeout: 30 })) as [Client];
    const single = fixture.lock([client], { retryAfter: 100 });
    (await take(single, anId(), 10_000)).release();
    servers[0]?.pause();
    const durations: number[] = [];
    for (let i = 0; i < 50; i++) {
      const { result, ms } = await timed(() => single.acquire(anId(), 10_000));
      expect(result.kind).toBe('unavailable');
      durations.push(ms);
      await sleep(10);
    }
    expect(Math.max(...durations)).toBeLessThan(LIMIT + SLACK);
    expect(median(durations)).toBeLessThan(20);
    servers[0]?.resume();
    await until(async () => (await single.acquire(anId(), 10_000)).kind === 'acquired');
  });

  it('a client that its owner has closed is unavailable', async () => {
    const single = fixture.lock(clients.slice(0, 1));
    clients[0]?.disconnect();
    await until(() => clients[0]?.status === 'end');
    expect(await single.acquire(anId(), 10_000)).toEqual({
      kind: 'unavailable',
      reason: 'no quorum: 1 of 1 Redis nodes out (not connected)',
    });
  });

  it('a node that refuses is an outage, and is named by its code alone', async () => {
    const replica = await startRedis();
    extras.push(replica);
    const [client] = (await fixture.connect(version, [replica.port])) as [Client];
    const single = fixture.lock([client], PATIENT);
    (await take(single, anId(), 10_000)).release();
    await client.call('REPLICAOF', '127.0.0.1', String(servers[0]?.port));
    expect(await single.acquire(anId(), 10_000)).toEqual({
      kind: 'unavailable',
      reason: 'no quorum: 1 of 1 Redis nodes out (refused: READONLY)',
    });
    await client.call('REPLICAOF', 'NO', 'ONE');
    (await take(single, anId(), 10_000)).release();
  });
});
