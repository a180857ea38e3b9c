import { need, REDIS } from '../../support/binaries.mjs';
import { makeFolder, Server, startRedis } from '../../support/servers.mjs';
import { until } from '../../support/until.js';
import { anId, LockFixture, type Client, nameOf, take, takeAndRenew, VERSIONS } from './support.js';

describe.each(VERSIONS)('locks that $version asks for in one command', (version) => {
  const fixture = new LockFixture({ attemptTimeout: 5_000 });
  let server: Server;
  let client: Client;

  beforeAll(async () => {
    server = await startRedis();
    [client] = (await fixture.connect(version, [server.port])) as [Client];
  });

  afterAll(async () => {
    await fixture.close();
    await server.dispose();
  });

  it('are each taken, refused or released for itself', async () => {
    const ours = fixture.lock([client]);
    const [free, foreign, strange, again] = Array.from({ length: 4 }, anId) as [string, string, string, string];
    await client.set(nameOf(foreign), 'theirs', 'PX', 60_000);
    await client.lpush(nameOf(strange), 'not a lock at all');
    (await take(ours, again, 60_000)).release(); // goes with the others
    const attempts = await Promise.all([free, foreign, strange, again].map((id) => ours.acquire(id, 60_000)));
    expect(attempts.map(({ kind }) => kind)).toEqual(['acquired', 'contended', 'contended', 'acquired']);
    expect(await client.get(nameOf(foreign))).toBe('theirs');
    expect(await client.llen(nameOf(strange))).toBe(1);
  });

  it('are each released once, however often they are given back', async () => {
    const ours = fixture.lock([client]);
    const ids = [anId(), anId()] as const;
    const [first, second] = await Promise.all(ids.map((id) => take(ours, id, 60_000)));
    for (let times = 0; times < 3; times++) first!.release();
    await until(async () => (await client.exists(nameOf(ids[0]))) === 0);
    expect(await client.exists(nameOf(ids[1]))).toBe(1);
    second!.release();
    await until(async () => (await client.exists(nameOf(ids[1]))) === 0);
  });

  it('are released together, without the one that another owner has by now', async () => {
    const ours = fixture.lock([client]);
    const ids = [anId(), anId(), anId()] as const;
    const held = await Promise.all(ids.map((id) => take(ours, id, 60_000)));
    await client.set(nameOf(ids[0]), 'theirs', 'PX', 60_000);
    for (const lock of held) lock.release();
    await until(async () => (await client.exists(nameOf(ids[1]), nameOf(ids[2]))) === 0);
    expect(await client.get(nameOf(ids[0]))).toBe('theirs');
  });

  it('are renewed while their holders run, whatever times to live they have', async () => {
    const ours = fixture.lock([client]);
    const times = [600, 60_000, 900];
    const ids = times.map(anId);
    const [first] = await Promise.all(ids.map((id, i) => takeAndRenew(ours, id, times[i]!)));
    first!.release();
    await until(async () => (await client.exists(nameOf(ids[0]!))) === 0);
    for (const end = performance.now() + 2_000; performance.now() < end;) {
      expect(await client.exists(nameOf(ids[1]!), nameOf(ids[2]!))).toBe(2);
    }
    expect(await client.pttl(nameOf(ids[1]!))).toBeLessThan(59_000); // not before its time
  });

  it('are taken on a node that is a Cluster by itself, though its client is none', async () => {
    const folder = makeFolder('cluster');
    const shard = await new Server({
      name: 'redis-server',
      folder,
      command: need(REDIS),
      args: (port: number) =>
        `--bind 127.0.0.1 --port ${port} --dir ${folder} --appendonly no --cluster-enabled yes`.split(' '),
      ready: 'Ready to accept connections',
      stopSignal: 'SIGKILL',
    }).start();
    try {
      const [plain] = (await fixture.connect(version, [shard.port])) as [Client];
      await plain.call('CLUSTER', 'ADDSLOTS', ...Array.from({ length: 16_384 }, (_, slot) => slot));
      await until(async () => String(await plain.call('CLUSTER', 'INFO')).includes('cluster_state:ok'));
      const ours = fixture.lock([plain]);
      const ids = Array.from({ length: 20 }, anId);
      for (let round = 0; round < 2; round++) {
        const attempts = await Promise.all(ids.map((id) => ours.acquire(id, 60_000)));
        expect(attempts.map(({ kind }) => kind)).toEqual(ids.map(() => 'acquired'));
        expect(await ours.acquire(ids[3]!, 60_000)).toEqual({ kind: 'contended' });
        for (const attempt of attempts) if (attempt.kind === 'acquired') attempt.lock.release();
        await until(async () => Number(await plain.call('DBSIZE')) === 0);
      }
    } finally {
      await shard.dispose();
    }
  });
});
