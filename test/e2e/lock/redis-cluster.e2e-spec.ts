import { need, REDIS } from '../../support/binaries.mjs';
import { makeFolder, Server } from '../../support/servers.mjs';
import { RedisWakeUp } from '../../../lib/lock/redis-wake-up.js';
import { until } from '../../support/until.js';
import { anId, LockFixture, type Client, type ClusterClient, take, timed, VERSIONS } from './support.js';

const SLOTS = 16_384;

async function startNode(): Promise<Server> {
  const folder = makeFolder('cluster');
  return await new Server({
    name: 'redis-server',
    folder,
    command: need(REDIS),
    args: (port: number) =>
      `--bind 127.0.0.1 --port ${port} --dir ${folder} --appendonly no --cluster-enabled yes`.split(' '),
    ready: 'Ready to accept connections',
    stopSignal: 'SIGKILL',
  }).start();
}

/** Two masters with half of the slots each. */
async function formCluster(nodes: readonly Client[], ports: readonly number[]): Promise<void> {
  for (const [index, node] of nodes.entries()) {
    const from = (SLOTS / nodes.length) * index;
    const slots = Array.from({ length: SLOTS / nodes.length }, (_, slot) => from + slot);
    await node.call('CLUSTER', 'ADDSLOTS', ...slots);
  }
  await nodes[0]?.call('CLUSTER', 'MEET', '127.0.0.1', String(ports[1]));
  for (const node of nodes)
    await until(async () => {
      const info = (await node.call('CLUSTER', 'INFO')) as string;
      return info.includes('cluster_state:ok') && info.includes(`cluster_slots_ok:${SLOTS}`);
    });
}

describe.each(VERSIONS)('a Cluster of $version', (version) => {
  const fixture = new LockFixture();
  let servers: Server[];
  let cluster: ClusterClient;
  let other: ClusterClient;

  beforeAll(async () => {
    servers = await Promise.all([startNode(), startNode()]);
    const ports = servers.map((server) => server.port);
    await formCluster(await fixture.connect(version, ports), ports);
    cluster = fixture.open(version.cluster(ports[0] as number));
    other = fixture.open(version.cluster(ports[0] as number));
    await until(() => cluster.status === 'ready' && other.status === 'ready');
  });

  afterEach(() => {
    for (const server of servers) server.resume();
  });

  afterAll(async () => {
    await fixture.close();
    await Promise.all(servers.map((server) => server.dispose()));
  });

  it('holds locks on all of its nodes', async () => {
    const [ours, theirs] = [
      fixture.lock([cluster], { attemptTimeout: 5_000 }),
      fixture.lock([other], { attemptTimeout: 5_000 }),
    ];
    const ids = Array.from({ length: 50 }, anId);
    const locks = await Promise.all(ids.map((id) => take(ours, id, 10_000)));
    for (const id of ids) expect(await theirs.acquire(id, 10_000)).toEqual({ kind: 'contended' });
    for (const lock of locks) lock.release();
    for (const id of ids) await until(async () => (await theirs.acquire(id, 10_000)).kind === 'acquired');
  });

  it('carries wake-ups between its nodes', async () => {
    const waiting = new RedisWakeUp([cluster]);
    const announcing = new RedisWakeUp([other]);
    try {
      const ids = Array.from({ length: 20 }, anId);
      const woken: string[] = [];
      for (const id of ids) await waiting.subscribe(id, () => woken.push(id));
      for (const id of ids) await announcing.announce(id);
      await until(() => woken.length >= ids.length);
      expect(woken.toSorted()).toEqual(ids.toSorted());
    } finally {
      await waiting.close();
      await announcing.close();
    }
    expect(cluster.status).toBe('ready');
  });

  it('that does not answer is unavailable in bounded time, and back when it is', async () => {
    const lock = fixture.lock([cluster]);
    (await take(lock, anId(), 10_000)).release();
    for (const server of servers) server.pause();
    for (let i = 0; i < 20; i++) {
      const { result, ms } = await timed(() => lock.acquire(anId(), 10_000));
      expect(result.kind).toBe('unavailable');
      expect(ms).toBeLessThan(400);
    }
    for (const server of servers) server.resume();
    await until(async () => (await lock.acquire(anId(), 10_000)).kind === 'acquired');
  });
});
