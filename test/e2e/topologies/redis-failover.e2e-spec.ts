import { Redis } from 'ioredis';
import { Cluster, sleep } from '../../support/cluster.js';
import { eventsOf } from '../../support/cluster.js';
import { type Server, startRedis, startTogether } from '../../support/servers.mjs';
import { until } from '../../support/until.js';
import { answersTo, expectOnce, expectReplays, operations } from './support.js';

const SLOTS = 16_384;
const PRIMARIES = 3;
const SLOW = 40_000;

const command = async (port: number, ...words: (string | number)[]): Promise<unknown> => {
  const client = new Redis({ port, lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await client.call(String(words[0]), ...words.slice(1));
  } finally {
    client.disconnect();
  }
};

interface Topology {
  readonly servers: Server[];
  readonly env: Record<string, string>;
  /** Kills what holds locks now, and waits until something else has taken its place. */
  failOver(): Promise<void>;
}

async function redisCluster(): Promise<Topology> {
  const settings = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '1500'];
  const servers = await startTogether(Array.from({ length: 2 * PRIMARIES }, () => startRedis({ settings })));
  const ports = servers.map(({ port }) => port);
  const primaries = ports.slice(0, PRIMARIES);
  const infoHas =
    (port: number, ...lines: string[]) =>
    async () => {
      const info = String(await command(port, 'CLUSTER', 'INFO'));
      return lines.every((line) => info.includes(line));
    };
  for (const [i, port] of primaries.entries()) {
    const from = Math.ceil((SLOTS / PRIMARIES) * i);
    await command(port, 'CLUSTER', 'ADDSLOTSRANGE', from, Math.ceil((SLOTS / PRIMARIES) * (i + 1)) - 1);
  }
  for (const port of ports.slice(1)) await command(ports[0], 'CLUSTER', 'MEET', '127.0.0.1', port);
  for (const port of ports) await until(infoHas(port, `cluster_known_nodes:${ports.length}`), 20_000);
  for (const [i, port] of ports.slice(PRIMARIES).entries()) {
    const primary = String(await command(primaries[i], 'CLUSTER', 'MYID'));
    await until(async () => (await command(port, 'CLUSTER', 'REPLICATE', primary).catch(() => '')) === 'OK');
  }
  for (const port of ports) await until(infoHas(port, 'cluster_state:ok'), 20_000);
  const inSync = async (port: number) => String(await command(port, 'INFO', 'replication')).includes('state=online');
  for (const port of primaries) await until(() => inSync(port), 20_000);
  return {
    servers,
    env: { REDIS_CLUSTER_PORTS: ports.join(',') },
    async failOver() {
      await servers[0].kill();
      const replica = ports[PRIMARIES];
      await until(async () => String(await command(replica, 'INFO', 'replication')).includes('role:master'), SLOW);
      await until(infoHas(ports[1], 'cluster_state:ok'), SLOW);
    },
  };
}

async function redisSentinel(): Promise<Topology> {
  const primary = await startRedis();
  const replicaOf = ['--replicaof', '127.0.0.1', String(primary.port)];
  const sentinel = [
    `sentinel monitor main 127.0.0.1 ${primary.port} 2`,
    'sentinel down-after-milliseconds main 1000',
    'sentinel failover-timeout main 4000',
  ].join('\n');
  const others = await startTogether([
    startRedis({ settings: replicaOf }),
    startRedis({ settings: replicaOf }),
    ...Array.from({ length: 3 }, () => startRedis({ sentinel })),
  ]);
  const sentinels = others.slice(2).map(({ port }) => port);
  const state = async (port: number) => {
    const flat = (await command(port, 'SENTINEL', 'MASTER', 'main')) as string[];
    return (name: string) => flat[flat.indexOf(name) + 1];
  };
  for (const port of sentinels) {
    await until(async () => {
      const of = await state(port);
      return of('num-slaves') === '2' && of('num-other-sentinels') === '2';
    }, 25_000);
  }
  return {
    servers: [primary, ...others],
    env: { REDIS_SENTINEL_PORTS: sentinels.join(',') },
    async failOver() {
      await primary.kill();
      for (const port of sentinels) {
        await until(async () => {
          const of = await state(port);
          return of('port') !== String(primary.port) && of('flags') === 'master';
        }, SLOW);
      }
    },
  };
}

describe.each([
  ['Redis Cluster, three primaries with a replica each', redisCluster],
  ['Redis behind Sentinel, one primary with two replicas', redisSentinel],
])('%s', (_, start) => {
  let topology: Topology;
  let cluster: Cluster;

  beforeAll(async () => {
    topology = await start();
    // No process dies here, and a busy machine may stand still for seconds.
    cluster = await Cluster.start('postgres', 2, { lease: '30s' }, topology.env);
  }, 60_000);

  afterAll(async () => {
    await cluster?.stop();
    await Promise.all((topology?.servers ?? []).map((server) => server.dispose()));
  });

  /** Executions that went on without the lock. */
  const degraded = () => cluster.apps.reduce((sum, app) => sum + eventsOf(app, 'lockDegraded').length, 0);

  test('a primary is lost, and its replica takes over: one execution of each operation', async () => {
    await until(async () => {
      const before = degraded();
      await expectOnce(cluster, await answersTo(cluster, operations('plain', 5)));
      return degraded() === before;
    }, SLOW);

    let over = false;
    const failedOver = topology.failOver().finally(() => (over = true));
    const batches: Awaited<ReturnType<typeof answersTo>>[] = [];
    for (let enough = 0; enough < 2; enough += over ? 1 : 0) {
      // Some are under way with a lock when its node dies, some begin after that.
      batches.push(await answersTo(cluster, operations('plain', 20, { before: 200 })));
    }
    await failedOver;
    expect(degraded()).toBeGreaterThan(0);
    for (const answers of batches) await expectOnce(cluster, answers);
    for (const answers of batches) await expectReplays(cluster, answers);

    // The lock is in use again.
    await until(async () => {
      const before = degraded();
      await expectOnce(cluster, await answersTo(cluster, operations('plain', 20)));
      await sleep(50);
      return degraded() === before;
    }, SLOW);
  }, 110_000);
});
