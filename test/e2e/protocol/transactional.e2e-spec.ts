import { randomUUID } from 'node:crypto';
import { began, Cluster, eventsOf } from '../../support/cluster.js';
import { type Answer, call, callUntilDefinitive } from '../../support/http-client.js';
import { stopwatch } from '../../support/stopwatch.js';

describe.each(['postgres', 'mariadb'] as const)('transactions on %s', (dialect) => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start(dialect, 2, { lease: '5s' });
  });

  afterAll(() => cluster?.stop());

  test('a deadlock answers 503 with Retry-After and frees the key', async () => {
    const rows = [randomUUID(), randomUUID()];
    for (const id of rows) await call(cluster.urls(`rows/${id}`)[0]);
    const tasks = [rows, rows.toReversed()].map((order, i) => ({
      key: randomUUID(),
      body: { name: `deadlock-${i}`, rows: order, before: 1_500 },
    }));
    const answers = await Promise.all(tasks.map((task, i) => call(cluster.urls('rows')[i], task)));
    expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([201, 503]));
    const victim = answers.findIndex((answer) => answer.status === 503);
    expectStoreUnavailable(answers[victim]);
    const again = await callUntilDefinitive(cluster.urls('rows'), tasks[victim]);
    expect(again.status).toBe(201);
    expect(again.headers['idempotent-replayed']).toBeUndefined();
  });

  test('an exhausted pool answers 503 within a bounded time, and nothing is left behind', async () => {
    const name = 'crowd';
    // The pool has 10 connections; each handler keeps one for longer than the store may take.
    const small = await cluster.add({ SYNCHRONIZE: 'off', OPTIONS: JSON.stringify({ storeTimeout: 400 }) });
    const took = stopwatch();
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        call(`${small.url}/transactional`, { key: randomUUID(), body: { name, after: 1_500 } }),
      ),
    );
    const refused = answers.filter(({ status }) => status === 503);
    refused.forEach(expectStoreUnavailable);
    expect(refused.length).toBeGreaterThan(0);
    expect(took()).toBeLessThan(6_000);
    expect(await cluster.effects(name)).toHaveLength(answers.length - refused.length);
    const later = await callUntilDefinitive([`${small.url}/transactional`], {
      key: randomUUID(),
      body: { name: 'later' },
    });
    expect(later.status).toBe(201);
  });
});

test('on PostgreSQL, handlers that hold every connection hold up neither replays nor heartbeats', async () => {
  const cluster = await Cluster.start('postgres', 1, { lease: '2s', storeTimeout: 1_500 });
  try {
    const [url] = cluster.urls('');
    const early = { key: randomUUID(), body: { name: 'early' } };
    expect((await call(`${url}plain`, early)).status).toBe(201);
    const post = (path: string, body: object) => call(`${url}${path}`, { key: randomUUID(), body });
    const waiting = post('waiting', { name: 'beating', before: 6_000 });
    // All ten of the pool, for many heartbeats.
    const crowd = Array.from({ length: 10 }, (_, i) => `crowd ${i}`);
    const holding = crowd.map((name) => post('transactional', { name, after: 5_000 }));
    for (const name of crowd) await began(cluster.apps[0], name);
    const replay = await call(`${url}plain`, early);
    expect(replay.headers['idempotent-replayed']).toBe('true');
    for (const answer of await Promise.all(holding)) expect(answer.status).toBe(201);
    expect((await waiting).status).toBe(201);
    expect(await cluster.effects('beating')).toHaveLength(1);
    expect(eventsOf(cluster.apps[0], 'leaseLost')).toEqual([]);
  } finally {
    await cluster.stop();
  }
});

function expectStoreUnavailable(answer: Answer): void {
  expect(JSON.parse(answer.body)).toMatchObject({ status: 503, code: 'store-unavailable', retryable: true });
  expect(answer.headers['retry-after']).toBeDefined();
}
