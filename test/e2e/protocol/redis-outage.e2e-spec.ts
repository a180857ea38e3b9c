import { randomUUID } from 'node:crypto';
import { began, Cluster, eventsOf } from '../../support/cluster.js';
import { call, callUntilDefinitive } from '../../support/http-client.js';
import { stopwatch } from '../../support/stopwatch.js';
import { type Server, startRedis } from '../../support/servers.mjs';

/** Safe without Redis: one execution, whatever happens to Redis. */
describe('Redis is lost', () => {
  let nodes: Server[];
  let cluster: Cluster;

  beforeAll(async () => {
    nodes = await Promise.all([startRedis(), startRedis(), startRedis()]);
    const REDIS_PORTS = nodes.map((node) => node.port).join(',');
    cluster = await Cluster.start('postgres', 2, { lease: '2s' }, { REDIS_PORTS });
    const OPTIONS = JSON.stringify({ lease: '2s', onLockUnavailable: 'reject' });
    await cluster.add({ SYNCHRONIZE: 'off', OPTIONS });
  });

  afterAll(async () => {
    await cluster?.stop();
    await Promise.all((nodes ?? []).map((node) => node.dispose()));
  });

  /** Whatever a test before has left. */
  async function nodesAre(...states: ('up' | 'stopped' | 'killed')[]): Promise<void> {
    for (const [i, state] of states.entries()) {
      nodes[i].resume();
      if (state === 'killed') await nodes[i].kill();
      else if (nodes[i].pid === undefined) await nodes[i].start();
      if (state === 'stopped') nodes[i].pause();
    }
  }

  async function fifty(name: string): Promise<void> {
    const key = randomUUID();
    const urls = cluster.urls('plain').slice(0, 2);
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => callUntilDefinitive(urls, { key, body: { name, before: 50 } })),
    );
    expect(new Set(answers.map(({ status, body }) => `${status} ${body}`)).size).toBe(1);
    expect(answers[0].status).toBe(201);
    expect(await cluster.effects(name)).toHaveLength(1);
  }

  test('one node of three killed: no request notices', async () => {
    await nodesAre('killed', 'up', 'up');
    await fifty('minority-killed');
    const strict = await call(`${cluster.apps[2].url}/plain`, { key: randomUUID(), body: { name: 'strict-minority' } });
    expect(strict.status).toBe(201);
  });

  test('flushed while an operation runs', async () => {
    await nodesAre('killed', 'up', 'up');
    const key = randomUUID();
    const [here, there] = cluster.urls('plain');
    const body = { name: 'flushed', before: 1_500 };
    const first = call(here, { key, body });
    await began(cluster.apps[0], 'flushed');
    const { Redis } = await import('ioredis');
    for (const node of nodes.slice(1)) {
      const client = new Redis(node.port, '127.0.0.1');
      await client.flushall();
      client.disconnect();
    }
    expect((await call(there, { key, body })).status).toBe(409);
    expect((await call(there, { key, body })).status).toBe(409);
    expect((await first).status).toBe(201);
    expect(await cluster.effects('flushed')).toHaveLength(1);
  });

  test.each(['stopped', 'killed'] as const)(
    'the majority %s: degraded to the database alone, and logged',
    async (how) => {
      await nodesAre('killed', how, 'up');
      const took = stopwatch();
      const answer = await call(cluster.urls('plain')[0], { key: randomUUID(), body: { name: `alone-${how}` } });
      expect(answer.status).toBe(201);
      expect(took()).toBeLessThan(3_000);
      await fifty(`majority-${how}`);
      expect(eventsOf(cluster.apps[0], 'lockDegraded').length).toBeGreaterThan(0);

      const strict = await call(`${cluster.apps[2].url}/plain`, { key: randomUUID(), body: { name: `strict-${how}` } });
      expect(strict.status).toBe(503);
      expect(JSON.parse(strict.body)).toMatchObject({ code: 'store-unavailable' });
      expect(await cluster.effects(`strict-${how}`)).toHaveLength(0);
    },
  );

  test('all nodes lost', async () => {
    await nodesAre('killed', 'killed', 'killed');
    await fifty('all-killed');
  });

  test('back again: the lock is used again', async () => {
    await nodesAre('up', 'up', 'up');
    await callUntilDefinitive([`${cluster.apps[2].url}/plain`], { key: randomUUID(), body: { name: 'back' } });
    await fifty('all-back');
  });
});
