import { randomUUID } from 'node:crypto';
import type { AppProcess } from '../../support/app-process.js';
import { Cluster, sleep, messageFrom } from '../../support/cluster.js';
import { call, callUntilDefinitive } from '../../support/http-client.js';
import { stopwatch } from '../../support/stopwatch.js';
import { TcpProxy } from '../../support/proxy.js';

const LEASE = 2_500;
const STORE_TIMEOUT = 1_000;

describe.each(['postgres', 'mariadb'] as const)('lost answers on %s', (dialect) => {
  let cluster: Cluster;
  let proxy: TcpProxy;
  /** Reaches the database through the proxy; the other directly. */
  let behind: AppProcess;
  let other: AppProcess;

  beforeAll(async () => {
    cluster = await Cluster.start(dialect, 1, { lease: LEASE, storeTimeout: STORE_TIMEOUT });
    [other] = cluster.apps;
    const { port } = cluster.database.options as { port: number };
    proxy = await TcpProxy.listen(port);
    behind = await cluster.add({ SYNCHRONIZE: 'off' }, { port: proxy.port });
  });

  afterEach(async () => {
    proxy.blackhole(false);
    await proxy.refuse(false);
    // Connections that were broken may be in the pool still.
    await callUntilDefinitive([`${behind.url}/plain`], { key: randomUUID(), body: { name: 'healed' } });
  });

  afterAll(async () => {
    await cluster?.stop();
    await proxy?.close();
  });

  test('the answer to a claim is lost: it is recognised as ours, and the handler runs once', async () => {
    const body = { name: 'claim-lost' };
    proxy.cutAfterRequest(1);
    const answer = await call(`${behind.url}/plain`, { key: randomUUID(), body });
    expect(answer.status).toBe(201);
    expect(JSON.parse(answer.body)).toMatchObject({ attempt: 1 });
    expect(await cluster.effects('claim-lost')).toHaveLength(1);
  });

  test('the answer to a completion is lost: it is recognised as recorded', async () => {
    const key = randomUUID();
    const body = { name: 'completion-lost', after: 600 };
    const first = call(`${behind.url}/plain`, { key, body });
    await messageFrom(behind, (message) => message.done === 'completion-lost');
    proxy.cutAfterRequest(1);
    expect((await first).status).toBe(201);
    const replay = await call(`${other.url}/plain`, { key, body });
    expect(replay.headers['idempotent-replayed']).toBe('true');
    expect(replay.body).toBe((await first).body);
    expect(await cluster.effects('completion-lost')).toHaveLength(1);
  });

  test('the answer to a COMMIT is lost: it is looked up, not guessed', async () => {
    const key = randomUUID();
    const body = { name: 'commit-lost', after: 600 };
    const first = call(`${behind.url}/transactional`, { key, body });
    await messageFrom(behind, (message) => message.done === 'commit-lost');
    proxy.cutAfterRequest(1, 'COMMIT');
    const answer = await first;
    expect(answer.status).toBe(201);
    // Its own: an execution that took the transaction for rolled back would find its outcome in the record, as a replay.
    expect(answer.headers['idempotent-replayed']).toBeUndefined();
    expect((await call(`${other.url}/transactional`, { key, body })).body).toBe(answer.body);
    expect(await cluster.effects('commit-lost')).toHaveLength(1);
  });

  test('the database is lost before the COMMIT: rolled back, 503, and the key is free', async () => {
    const key = randomUUID();
    const body = { name: 'lost-before-commit', after: 600 };
    const first = call(`${behind.url}/transactional`, { key, body });
    await messageFrom(behind, (message) => message.done === 'lost-before-commit');
    proxy.cut();
    const answer = await first;
    expect(answer.status).toBe(503);
    expect(answer.headers['retry-after']).toBeDefined();
    expect(await cluster.effects('lost-before-commit')).toHaveLength(0);
    expect((await callUntilDefinitive([`${other.url}/transactional`], { key, body: { ...body } })).status).toBe(201);
    expect(await cluster.effects('lost-before-commit')).toHaveLength(1);
  });

  test('the database goes away between run and record, and comes back within the lease: recorded', async () => {
    const key = randomUUID();
    const body = { name: 'back-in-time', after: 600 };
    const first = call(`${behind.url}/plain`, { key, body });
    await messageFrom(behind, (message) => message.done === 'back-in-time');
    await proxy.refuse(true);
    proxy.cut();
    await sleep(600);
    await proxy.refuse(false);
    expect((await first).status).toBe(201);
    expect((await call(`${other.url}/plain`, { key, body })).body).toBe((await first).body);
    expect(await cluster.effects('back-in-time')).toHaveLength(1);
  });

  test.each(['refused', 'black-holed'])(
    'the database is %s for longer than the lease: 503 outcome-not-recorded, never a success',
    async (how) => {
      const key = randomUUID();
      const name = `never-back-${how}`;
      const body = { name, after: 600 };
      const took = stopwatch();
      const first = call(`${behind.url}/plain`, { key, body });
      await messageFrom(behind, (message) => message.done === name);
      if (how === 'refused') {
        await proxy.refuse(true);
        proxy.cut();
      } else proxy.blackhole(true);

      // No second run inside the lease, though another process can reach the database.
      expect((await call(`${other.url}/plain`, { key, body })).status).toBe(409);
      const answer = await first;
      expect(took()).toBeLessThan(body.after + LEASE + STORE_TIMEOUT + 3_000);
      expect(answer.status).toBe(503);
      expect(JSON.parse(answer.body)).toMatchObject({ code: 'outcome-not-recorded', retryable: true });
      expect(answer.headers['retry-after']).toBeDefined();
      expect(await cluster.effects(name)).toHaveLength(1);
    },
  );

  test.each(['refused', 'black-holed'])(
    'the database is %s: 503 within a bounded time, the handler does not run',
    async (how) => {
      if (how === 'refused') {
        await proxy.refuse(true);
        proxy.cut();
      } else proxy.blackhole(true);
      const name = `unreachable-${how}`;
      const took = stopwatch();
      const answer = await call(`${behind.url}/plain`, { key: randomUUID(), body: { name } });
      expect(took()).toBeLessThan(5_000);
      expect(answer.status).toBe(503);
      expect(JSON.parse(answer.body)).toMatchObject({ code: 'store-unavailable', retryable: true });
      expect(answer.headers['retry-after']).toBeDefined();
      expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
      proxy.blackhole(false);
      await sleep(100);
      expect(await cluster.effects(name)).toHaveLength(0);
    },
  );

  test('a claim that arrives after its request was refused is given back', async () => {
    const key = randomUUID();
    const body = { name: 'late-claim' };
    proxy.blackhole(true);
    expect((await call(`${behind.url}/plain`, { key, body })).status).toBe(503);
    proxy.blackhole(false);
    await sleep(300);
    const answer = await call(`${other.url}/plain`, { key, body });
    expect(answer.status).toBe(201);
    expect(await cluster.effects('late-claim')).toHaveLength(1);
  });
});
