import { randomUUID } from 'node:crypto';
import {
  createIdempotentFetch,
  idempotentFetch,
  IdempotentFetchError,
  type IdempotentFetchOptions,
  type KeyStorage,
  type Retry,
} from '../../../lib/client/index.js';
import type { AppProcess } from '../../support/app-process.js';
import { Cluster, sleep, messageFrom } from '../../support/cluster.js';
import { call } from '../../support/http-client.js';
import { TcpProxy } from '../../support/proxy.js';

const LEASE = 2_000;

/** Real processes over PostgreSQL, real connections, and node's own fetch. */
describe('nestjs-idempotency/client', () => {
  let cluster: Cluster;
  /** Reached through `wire`; reaches the database through `database`. */
  let app: AppProcess;
  /** Has neither between it and others. */
  let other: AppProcess;
  let wire: TcpProxy;
  let database: TcpProxy;

  beforeAll(async () => {
    cluster = await Cluster.start('postgres', 1, { lease: LEASE, storeTimeout: 500 });
    [other] = cluster.apps;
    database = await TcpProxy.listen((cluster.database.options as { port: number }).port);
    app = await cluster.add({ SYNCHRONIZE: 'off' }, { port: database.port });
    wire = await TcpProxy.listen(Number(new URL(app.url).port));
  });

  afterEach(async () => {
    wire.blackhole(false);
    await wire.refuse(false);
    await database.refuse(false);
  });

  afterAll(async () => {
    await cluster?.stop();
    await wire?.close();
    await database?.close();
  });

  const post = (body: object): RequestInit => ({
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  const pay = (route: string, body: object, options?: IdempotentFetchOptions, init?: RequestInit) =>
    idempotentFetch(`http://127.0.0.1:${wire.port}/${route}`, { ...post(body), ...init }, options);
  const effectsOf = async (name: string) => {
    const answer = await call(`${other.url}/effects/${name}`, { method: 'GET' });
    return JSON.parse(answer.body) as unknown[];
  };

  test('nothing goes wrong', async () => {
    const { response, ...rest } = await pay('plain', { name: 'calm' });
    expect(rest).toMatchObject({ attempts: 1, replayed: false, definitive: true });
    expect(response.status).toBe(201);
    expect(await response.json()).toMatchObject({ name: 'calm', attempt: 1 });
  });

  test('the connection is cut after the request was sent: the retry is given the first outcome', async () => {
    const name = 'cut';
    const paying = pay('plain', { name, after: 600 });
    await messageFrom(app, (message) => message.done === name);
    wire.cut();
    const { response, replayed, attempts } = await paying;
    expect(replayed).toBe(true);
    expect(attempts).toBeGreaterThan(1);
    expect(await response.json()).toMatchObject({ name, attempt: 1 });
    expect(await effectsOf(name)).toHaveLength(1);
  });

  test('again and again, under a network that cuts what it can', async () => {
    const names = Array.from({ length: 24 }, (_, i) => `storm-${i}`);
    const options = { firstPause: 50, longestPause: 500, maxAttempts: 1_000 };
    let over = false;
    const paying = Promise.all(names.map((name) => pay('transactional', { name, before: 20, after: 20 }, options)));
    const storm = (async () => {
      for (let cuts = 0; cuts < 40 && !over; cuts++) {
        await sleep(40);
        wire.cut();
      }
    })();
    const results = await paying.finally(() => (over = true));
    await storm;
    expect(results.some(({ attempts }) => attempts > 1)).toBe(true);
    for (const [i, name] of names.entries()) {
      expect(results[i].response.status).toBe(201);
      expect(await results[i].response.json()).toMatchObject({ name });
      expect(await effectsOf(name)).toHaveLength(1);
    }
  });

  test('409 in-progress: asked again, not before Retry-After, until the outcome is there', async () => {
    const [key, name] = [randomUUID(), 'in-progress'];
    const first = call(`${other.url}/plain`, { key, body: { name, before: 1_500 } });
    await messageFrom(other, (message) => message.began === name);
    const retries: (Retry & { readonly at: number })[] = [];
    const onRetry = (retry: Retry) => retries.push({ ...retry, at: performance.now() });
    const { response, replayed } = await pay('plain', { name, before: 1_500 }, { key, onRetry });
    const answeredAt = performance.now();
    expect(replayed).toBe(true);
    expect(await response.text()).toBe((await first).body);
    expect(retries[0].response!.status).toBe(409);
    expect(retries[0].response!.headers.get('retry-after')).toMatch(/^[12]$/);
    expect((retries[1]?.at ?? answeredAt) - retries[0].at).toBeGreaterThanOrEqual(990);
    expect(await effectsOf(name)).toHaveLength(1);
  });

  test('503: the database comes back', async () => {
    const name = 'database-lost';
    await database.refuse(true);
    database.cut();
    const retries: Retry[] = [];
    const onRetry = (retry: Retry) => {
      retries.push(retry);
      if (retry.response?.status === 503) void database.refuse(false);
    };
    const { response } = await pay('plain', { name }, { onRetry });
    expect(response.status).toBe(201);
    expect(retries[0].response!.status).toBe(503);
    expect(await effectsOf(name)).toHaveLength(1);
  });

  test('an answer that never comes: the attempt is broken off, and sent again', async () => {
    const name = 'silence';
    const paying = pay('plain', { name, after: 600 }, { attemptTimeout: 1_500 });
    await messageFrom(app, (message) => message.done === name);
    wire.blackhole(true);
    await sleep(1_700);
    wire.cut();
    wire.blackhole(false);
    const { replayed, attempts } = await paying;
    expect(replayed).toBe(true);
    expect(attempts).toBeGreaterThan(1);
    expect(await effectsOf(name)).toHaveLength(1);
  });

  test.each([
    ['transactional', { after: 1_000 }],
    ['steps-verified', { dieIn: 'late in charge' }],
  ])('the process is killed in the middle of %s: another takes over', async (route, task) => {
    const name = `killed-${route}`;
    const doomed = await cluster.add({ SYNCHRONIZE: 'off' });
    const urls = [`${doomed.url}/${route}`, `${other.url}/${route}`];
    // As a load balancer: the next attempt goes elsewhere.
    const balanced: typeof fetch = (_url, init) => fetch(urls.length > 1 ? urls.shift()! : urls[0], init);
    const paying = createIdempotentFetch({ fetch: balanced })('http://balancer.invalid', post({ name, ...task }));
    if (route === 'transactional') {
      await messageFrom(doomed, (message) => message.done === name);
      await doomed.stop('SIGKILL');
    }
    const { response, attempts } = await paying;
    expect(response.status).toBe(201);
    expect(attempts).toBeGreaterThan(1);
    expect(doomed.running).toBe(false);
    const names =
      route === 'transactional' ? [name] : ['reserve', 'charge', 'confirm'].map((step) => `${name}:${step}`);
    for (const effect of names) expect(await effectsOf(effect)).toHaveLength(1);
  });

  test('a held operation is not asked for again', async () => {
    const [key, name] = [randomUUID(), 'held'];
    const doomed = await cluster.add({ SYNCHRONIZE: 'off' });
    const first = call(`${doomed.url}/holding`, { key, body: { name, before: 5_000 } }).catch(() => 'lost');
    await messageFrom(doomed, (message) => message.began === name);
    await doomed.stop('SIGKILL');
    await first;
    const result = await pay('holding', { name, before: 5_000 }, { key });
    expect(result).toMatchObject({ definitive: false, problem: { code: 'outcome-unknown', retryable: false } });
    expect(await effectsOf(name)).toHaveLength(0);
  });

  describe('with a storage, over reloads of the page', () => {
    const items = new Map<string, string>();
    const storage: KeyStorage = {
      getItem: (name) => items.get(name) ?? null,
      setItem: (name, value) => void items.set(name, value),
      removeItem: (name) => void items.delete(name),
    };

    test('the page is left while the operation runs: after the reload, its outcome', async () => {
      const [name, operation] = ['reload', 'checkout:1'];
      const page = new AbortController();
      const left = pay('plain', { name, after: 200 }, { storage, operation }, { signal: page.signal });
      await messageFrom(app, (message) => message.done === name);
      page.abort();
      await expect(left).rejects.toMatchObject({ name: 'AbortError' });
      expect(items.size).toBe(1);

      const { replayed } = await pay('plain', { name, after: 200 }, { storage, operation });
      expect(replayed).toBe(true);
      expect(await effectsOf(name)).toHaveLength(1);

      // It was answered: the next one is another operation.
      expect(items.size).toBe(0);
      expect(await pay('plain', { name }, { storage, operation })).toMatchObject({ replayed: false });
      expect(await effectsOf(name)).toHaveLength(2);
    });

    test('given up on, and asked for again', async () => {
      const [name, operation] = ['given-up', 'checkout:2'];
      await wire.refuse(true);
      wire.cut();
      const failed = pay('plain', { name }, { storage, operation, maxAttempts: 2 });
      await expect(failed).rejects.toBeInstanceOf(IdempotentFetchError);
      await wire.refuse(false);
      const key = items.get(`idempotency-key:${operation}`);
      expect(await pay('plain', { name }, { storage, operation })).toMatchObject({ key, definitive: true });
      expect(await effectsOf(name)).toHaveLength(1);
    });

    test('a double click', async () => {
      const [name, operation] = ['double-click', 'checkout:3'];
      const click = () => pay('plain', { name, before: 200 }, { storage, operation });
      const [a, b] = await Promise.all([click(), click()]);
      expect(await a.response.text()).toBe(await b.response.text());
      expect(a.replayed).not.toBe(b.replayed);
      expect(await effectsOf(name)).toHaveLength(1);
    });
  });
});
