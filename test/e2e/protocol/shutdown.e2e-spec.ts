import { randomUUID } from 'node:crypto';
import { began, Cluster } from '../../support/cluster.js';
import { call } from '../../support/http-client.js';

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
    await new Promise((resolve) => setTimeout(resolve, 200));
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
});
