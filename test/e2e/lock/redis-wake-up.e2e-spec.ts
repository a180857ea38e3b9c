import { setTimeout as sleep } from 'node:timers/promises';

import { TcpProxy } from '../../support/proxy.js';
import { type Server, startRedis } from '../../support/servers.mjs';
import { RedisWakeUp, type RedisWakeUpSettings } from '../../../lib/lock/redis-wake-up.js';
import { until } from '../../support/until.js';
import { anId, LockFixture, type Client, median, timed, VERSIONS } from './support.js';

/** The time limit of 250 ms, and what a busy machine may add to it. */
const BOUND = 1_500;

describe.each(VERSIONS)('waking up over $version', (version) => {
  let servers: Server[];
  let fixture: LockFixture;
  /** Two processes' worth of clients. */
  let here: Client[];
  let there: Client[];
  const opened: RedisWakeUp[] = [];
  const proxies: TcpProxy[] = [];

  beforeAll(async () => {
    servers = await Promise.all(Array.from({ length: 3 }, () => startRedis()));
  });

  beforeEach(async () => {
    fixture = new LockFixture();
    const ports = servers.map((server) => server.port);
    here = await fixture.connect(version, ports);
    there = await fixture.connect(version, ports);
  });

  afterEach(async () => {
    for (const server of servers) server.resume();
    await Promise.all(servers.filter((server) => server.pid === undefined).map((server) => server.start()));
    await Promise.all(opened.splice(0).map((wakeUp) => wakeUp.close()));
    await fixture.close();
    await Promise.all(proxies.splice(0).map((proxy) => proxy.close()));
  });

  afterAll(async () => {
    await Promise.all(servers.map((server) => server.dispose()));
  });

  function wakeUp(clients: readonly Client[], settings?: RedisWakeUpSettings): RedisWakeUp {
    const made = new RedisWakeUp(clients, settings);
    opened.push(made);
    return made;
  }

  /** How many of our own connections a node has. */
  async function subscribers(node = 0): Promise<number> {
    const list = (await there[node]?.client('LIST')) as string;
    return list.split('\n').filter((line) => line.includes('name=nestjs-idempotency:wake')).length;
  }

  async function channels(node = 0): Promise<number> {
    const names = (await there[node]?.call('PUBSUB', 'CHANNELS', 'nestjs-idempotency:*')) as string[];
    return names.length;
  }

  it.each([1, 3])('an announcement over %d nodes wakes each waiter for that record once', async (count) => {
    const waiting = wakeUp(here.slice(0, count));
    const announcing = wakeUp(there.slice(0, count));
    const [id, other] = [anId(), anId()];
    const woken: string[] = [];
    const subscriptions = await Promise.all([
      waiting.subscribe(id, () => woken.push('first')),
      waiting.subscribe(id, () => woken.push('second')),
      waiting.subscribe(other, () => woken.push('other')),
    ]);
    await announcing.announce(id);
    await until(() => woken.length >= 2);
    await sleep(50);
    expect(woken.toSorted()).toEqual(['first', 'second']);

    subscriptions[0]?.close();
    subscriptions[0]?.close();
    await announcing.announce(id);
    await until(() => woken.length >= 3);
    await sleep(50);
    expect(woken.slice(2)).toEqual(['second']);

    subscriptions[1]?.close();
    await announcing.announce(id);
    await sleep(50);
    expect(woken.length).toBe(3);
  });

  it('a record can be waited for again', async () => {
    const waiting = wakeUp(here);
    const id = anId();
    for (let round = 0; round < 20; round++) {
      let woken = 0;
      const subscription = await waiting.subscribe(id, () => woken++);
      await wakeUp(there).announce(id);
      await until(() => woken > 0);
      subscription.close();
    }
    await until(async () => (await subscribers()) === 1);
  });

  it('the first announcement after subscribe() is heard, and soon', async () => {
    const waiting = wakeUp(here);
    const announcing = wakeUp(there);
    const durations: number[] = [];
    for (let i = 0; i < 100; i++) {
      const id = anId();
      let hear = (): void => undefined;
      const heard = new Promise<void>((resolve) => (hear = resolve));
      const subscription = await waiting.subscribe(id, () => hear());
      const { ms } = await timed(async () => await Promise.all([heard, announcing.announce(id)]));
      durations.push(ms);
      subscription.close();
    }
    console.log(`${version.version}: from announcement to wake-up ${median(durations).toFixed(2)} ms (median)`);
    expect(median(durations)).toBeLessThan(20);
  });

  it('there is one connection to a node for all waiters, made for the first and closed when idle', async () => {
    const waiting = wakeUp(here, { idleTimeout: 1_000 });
    await until(async () => (await subscribers()) === 0);
    const subscriptions = await Promise.all(
      Array.from({ length: 50 }, () => waiting.subscribe(anId(), () => undefined)),
    );
    await until(async () => (await channels()) === 50);
    expect(await subscribers()).toBe(1);
    for (const subscription of subscriptions) subscription.close();
    await until(async () => (await channels()) === 0);
    expect(await subscribers()).toBe(1);
    // A waiter within the time keeps it open.
    const another = await waiting.subscribe(anId(), () => undefined);
    await sleep(1_500);
    expect(await subscribers()).toBe(1);
    another.close();
    await until(async () => (await subscribers()) === 0);
    await waiting.subscribe(anId(), () => undefined);
    await until(async () => (await subscribers()) === 1);
  });

  it('closing it closes the connections that it made and no others', async () => {
    const waiting = wakeUp(here);
    await waiting.subscribe(anId(), () => undefined);
    await waiting.close();
    await waiting.close();
    await until(async () => (await subscribers()) === 0);
    expect(here.map((client) => client.status)).toEqual(['ready', 'ready', 'ready']);
    await expect(waiting.subscribe(anId(), () => undefined)).rejects.toThrow('closed');
    await waiting.announce(anId());
  });

  it.each([
    ['by default', {}],
    ['with neither queue nor resubscription of its own', { enableOfflineQueue: false, autoResubscribe: false }],
    ['lazily', { lazyConnect: true }],
  ])('a lost connection of a client made %s is subscribed again, and its waiters look again', async (_how, options) => {
    const ports = servers.map((server) => server.port);
    const waiting = wakeUp(await fixture.connect(version, ports, options));
    const id = anId();
    let woken = 0;
    await waiting.subscribe(id, () => woken++);
    for (const client of there) await client.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await until(() => woken > 0);
    await until(async () => (await Promise.all([0, 1, 2].map(channels))).every((count) => count === 1));
    await sleep(50);
    woken = 0;
    await wakeUp(there).announce(id);
    await until(() => woken > 0);
    await sleep(50);
    expect(woken).toBe(1);
  });

  it('a client made not to reconnect gets a new connection for the next waiter', async () => {
    const [client] = await fixture.connect(version, [servers[0]?.port ?? 0], { retryStrategy: () => null });
    const waiting = wakeUp([client as Client]);
    let woken = 0;
    const id = anId();
    await waiting.subscribe(id, () => woken++);
    await there[0]?.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await until(async () => (await subscribers()) === 0);
    await waiting.subscribe(anId(), () => undefined);
    await until(() => woken > 0);
    await wakeUp(there.slice(0, 1)).announce(id);
    await until(() => woken > 1);
  });

  it('goes on over the nodes that are left, in bounded time', async () => {
    const waiting = wakeUp(here);
    const announcing = wakeUp(there);
    let woken = 0;
    const id = anId();
    await waiting.subscribe(id, () => woken++);
    // A majority is enough to be subscribed; here the node that will be left has to be among them.
    await until(async () => (await channels(2)) === 1);
    servers[0]?.pause();
    await servers[1]?.kill();
    expect((await timed(() => announcing.announce(id))).ms).toBeLessThan(BOUND);
    await until(() => woken === 1);
    // The nodes that did not answer are left alone.
    const next: number[] = [];
    for (let i = 0; i < 5; i++) next.push((await timed(() => announcing.announce(id))).ms);
    expect(median(next)).toBeLessThan(200);
    await until(() => woken === 6);
    const late = await timed(() => waiting.subscribe(anId(), () => undefined));
    expect(late.ms).toBeLessThan(BOUND);
  });

  it('with no node left, subscribing is refused and announcing does nothing, in bounded time', async () => {
    const waiting = wakeUp(here);
    const announcing = wakeUp(there);
    for (const server of servers) server.pause();
    const { ms } = await timed(() =>
      expect(waiting.subscribe(anId(), () => undefined)).rejects.toThrow('no Redis node'),
    );
    expect(ms).toBeLessThan(BOUND);
    expect((await timed(() => announcing.announce(anId()))).ms).toBeLessThan(BOUND);
    for (const server of servers) server.resume();
    await until(() => waiting.subscribe(anId(), () => undefined).then(Boolean, () => false));
  });

  it('subscribing that takes too long leaves nothing behind', async () => {
    const proxy = await TcpProxy.listen(servers[0]?.port ?? 0);
    proxies.push(proxy);
    const waiting = wakeUp(await fixture.connect(version, [proxy.port]), { timeout: 50 });
    const first = await waiting.subscribe(anId(), () => undefined).catch(() => undefined);
    proxy.blackhole(true);
    await expect(waiting.subscribe(anId(), () => undefined)).rejects.toThrow('no Redis node');
    proxy.blackhole(false);
    first?.close();
    await until(async () => (await channels()) === 0);
  });

  it('one waiter’s failure is not the next one’s', async () => {
    const waiting = wakeUp(here);
    const id = anId();
    let woken = 0;
    await waiting.subscribe(id, () => {
      throw new Error('mine');
    });
    await waiting.subscribe(id, () => woken++);
    await wakeUp(there).announce(id);
    await until(() => woken === 1);
  });
});
