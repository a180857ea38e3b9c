import { randomUUID } from 'node:crypto';
import { began, Cluster, eventsOf, messageFrom } from '../../support/cluster.js';
import { type Answer, call } from '../../support/http-client.js';
import { until } from '../../support/until.js';

describe('shutting down', () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start('postgres', 2, {}, { SHUTDOWN_HOOKS: 'on' });
  });

  afterAll(() => cluster?.stop());

  test('what runs is finished and recorded, and nothing new is claimed', async () => {
    const [leaving, staying] = cluster.apps;
    const running = { key: randomUUID(), body: { name: 'running', before: 1_000 } };
    const done = { key: randomUUID(), body: { name: 'done' } };
    const url = `${leaving.url}/plain`;
    const known = await call(url, done);
    const first = call(url, running);
    await began(leaving, 'running');

    const stopped = leaving.stop('SIGTERM');
    const early = () => call(url, { key: randomUUID(), body: { name: 'early' } });
    await until(async () => (await early()).status === 503);
    const fresh = await call(url, { key: randomUUID(), body: { name: 'too-late' } });
    expect(fresh.status).toBe(503);
    expect(JSON.parse(fresh.body)).toMatchObject({ code: 'store-unavailable', retryable: true });
    // A replay begins nothing.
    expect((await call(url, done)).body).toBe(known.body);

    const answer = await first;
    expect(answer.status).toBe(201);
    await stopped;
    const replay = await call(`${staying.url}/plain`, running);
    expect(replay.body).toBe(answer.body);
    expect(replay.headers['idempotent-replayed']).toBe('true');
    expect(await cluster.effects('too-late')).toHaveLength(0);
  });

  test.each(['express', 'fastify'])(
    'a client that is refused asks again over another connection: %s',
    async (platform) => {
      const leaving = await cluster.add({ SYNCHRONIZE: 'off', PLATFORM: platform });
      const name = `keeps-${platform}`;
      const first = call(`${leaving.url}/plain`, { key: randomUUID(), body: { name, gated: true } });
      await began(leaving, name);
      const stopped = leaving.stop('SIGTERM');
      let answer: Answer | undefined;
      await until(async () => {
        answer = await call(`${leaving.url}/plain`, { key: randomUUID(), body: { name: 'early' } });
        return answer.status === 503;
      });
      expect(answer?.headers).toMatchObject({ connection: 'close', 'retry-after': '1' });

      await call(`${leaving.url}/let/${name}`, { method: 'GET' });
      expect((await first).status).toBe(201);
      await stopped;
    },
  );

  test('a request that waits for another process does not keep the one that shuts down', async () => {
    const staying = cluster.apps[1];
    const leaving = await cluster.add({ SYNCHRONIZE: 'off' });
    const task = { key: randomUUID(), body: { name: 'elsewhere', gated: true } };
    const first = call(`${staying.url}/waiting`, task);
    await began(staying, 'elsewhere');
    const { length } = eventsOf(leaving, 'waited');
    const waiting = call(`${leaving.url}/waiting`, task);
    await until(async () => (await call(`${staying.url}/awaited`, { method: 'GET' })).body === '1');

    await leaving.stop('SIGTERM');
    const { status, body } = await waiting;
    expect({ status, ...(JSON.parse(body) as object) }).toMatchObject({
      status: 409,
      code: 'in-progress',
      retryable: true,
    });
    const again = call(`${staying.url}/waiting`, task);
    await call(`${staying.url}/let/elsewhere`, { method: 'GET' });
    expect((await again).body).toBe((await first).body);
    expect(await cluster.effects('elsewhere')).toHaveLength(1);
    expect(eventsOf(leaving, 'waited')).toHaveLength(length + 1);
    // Sooner than the waiting request's `waitTimeout`.
  }, 15_000);

  test('a data source that is destroyed early waits for the transaction of a handler', async () => {
    const [staying] = cluster.apps.filter((app) => app.running);
    const leaving = await cluster.add({ SYNCHRONIZE: 'off', DESTROY_EARLY: 'on' });
    const task = { key: randomUUID(), body: { name: 'in-transaction', gated: true } };
    const first = call(`${leaving.url}/transactional`, task);
    await began(leaving, 'in-transaction');
    const stopped = leaving.stop('SIGTERM');
    await messageFrom(leaving, ({ destroys }) => Boolean(destroys));
    await call(`${leaving.url}/let/in-transaction`, { method: 'GET' });
    const { status, body } = await first;
    expect(status).toBe(201);
    await stopped;
    const replay = await call(`${staying.url}/transactional`, task);
    expect({ body: replay.body, replayed: replay.headers['idempotent-replayed'] }).toEqual({ body, replayed: 'true' });
    expect(await cluster.effects('in-transaction')).toHaveLength(1);
  });
});
