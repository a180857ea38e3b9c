import { randomUUID } from 'node:crypto';
import { AppProcess } from '../../support/app-process.js';
import { began } from '../../support/cluster.js';
import { createDatabase, type TestDatabase, type TestDialect } from '../../support/database.js';
import { type Answer, call, callUntilDefinitive } from '../../support/http-client.js';

const REDIS_PORTS = process.env.TEST_REDIS_PORTS!.split(',');

/**
 * Every two of database, platform and number of nodes meet. A platform reaches database and Redis through the engine alone, so no
 * fault is to be expected that needs all three.
 */
const combinations = [
  { database: 'postgres', nodes: 0, platform: 'express' },
  { database: 'postgres', nodes: 1, platform: 'express' },
  { database: 'postgres', nodes: 3, platform: 'fastify' },
  { database: 'mariadb', nodes: 0, platform: 'fastify' },
  { database: 'mariadb', nodes: 1, platform: 'express' },
  { database: 'mariadb', nodes: 3, platform: 'express' },
  { database: 'better-sqlite3', nodes: 0, platform: 'express' },
  { database: 'better-sqlite3', nodes: 1, platform: 'fastify' },
  { database: 'better-sqlite3', nodes: 3, platform: 'express' },
] as const;

describe.each(combinations)('$platform on $database with $nodes Redis nodes', ({ database, platform, nodes }) => {
  let db: TestDatabase<TestDialect>;
  let apps: AppProcess[] = [];
  const urls = (route: string) => apps.map((app) => `${app.url}/${route}`);
  const effectsOf = async (name: string) =>
    JSON.parse((await call(`${apps[0].url}/effects/${name}`, { method: 'GET' })).body) as unknown[];

  beforeAll(async () => {
    db = await createDatabase(database);
    const env = {
      PLATFORM: platform,
      DATABASE: JSON.stringify(db.options),
      REDIS_PORTS: REDIS_PORTS.slice(0, nodes).join(','),
    };
    // The first makes the tables.
    apps = [await AppProcess.start('protocol-app', env)];
    apps.push(await AppProcess.start('protocol-app', { ...env, SYNCHRONIZE: 'off' }));
  });

  afterAll(async () => {
    await Promise.all(apps.map((app) => app.stop()));
    await db?.drop();
  });

  test.each(['plain', 'waiting', 'transactional'])(
    '50 concurrent duplicates over two processes: one execution (%s)',
    async (route) => {
      const name = `fifty-${route}`;
      const key = randomUUID();
      const answers = await Promise.all(
        Array.from({ length: 50 }, () => callUntilDefinitive(urls(route), { key, body: { name, before: 50 } })),
      );
      expect(new Set(answers.map(({ status, body }) => `${status} ${body}`)).size).toBe(1);
      expect(answers[0].status).toBe(201);
      expect(answers.filter(({ headers }) => headers['idempotent-replayed'] === 'true')).toHaveLength(49);
      expect(await effectsOf(name)).toHaveLength(1);
    },
  );

  test('a fresh request, its replays, and what is refused', async () => {
    const [here, there] = urls('plain');
    const key = randomUUID();
    const body = { name: 'story' };

    const first = await call(here, { key, body });
    expect(first.status).toBe(201);
    expect(first.headers['idempotent-replayed']).toBeUndefined();

    for (const url of [here, there]) {
      for (const spelling of [key, `"${key}"`]) expectReplay(await call(url, { key: spelling, body }), first);
    }
    expectProblem(await call(there, { key, body: { name: 'another' } }), 422, 'key-reused');
    expectProblem(await call(here, { body }), 400, 'key-missing');
    expectProblem(await call(here, { key: 'not a token', body }), 400, 'key-invalid');
    expect(await effectsOf('story')).toHaveLength(1);
    expect(await effectsOf('another')).toHaveLength(0);
  });

  test('a duplicate of a running request is refused until it is done', async () => {
    const [here, there] = urls('plain');
    const key = randomUUID();
    const body = { name: 'slow', gated: true };
    const first = call(here, { key, body });
    await began(apps[0], 'slow');
    for (const url of [here, there]) {
      const refused = await call(url, { key, body });
      expectProblem(refused, 409, 'in-progress');
      expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
      expectProblem(await call(url, { key, body: { name: 'other' } }), 422, 'key-reused');
    }
    await call(`${apps[0].url}/let/slow`, { method: 'GET' });
    expectReplay(await callUntilDefinitive([there], { key, body }), await first);
  });

  test('what failed is released, and runs again', async () => {
    const [here, there] = urls('plain');
    const key = randomUUID();
    const body = { name: 'failing', fail: true };
    expect((await call(here, { key, body })).status).toBe(500);
    expect((await call(there, { key, body })).status).toBe(500);
    const attempts = (await effectsOf('failing')).map((effect) => (effect as { attempt: number }).attempt);
    expect(new Set(attempts)).toEqual(new Set([1, 2]));
    expectProblem(await call(here, { key, body: { name: 'other' } }), 422, 'key-reused');
  });

  test('a transaction that failed leaves nothing behind', async () => {
    const [here] = urls('transactional');
    const body = { name: 'rolled-back', fail: true };
    expect((await call(here, { key: randomUUID(), body })).status).toBe(500);
    expect(await effectsOf('rolled-back')).toHaveLength(0);
  });
});

function expectReplay(answer: Answer, first: Answer): void {
  expect(answer.headers['idempotent-replayed']).toBe('true');
  expect({ status: answer.status, body: answer.body }).toEqual({ status: first.status, body: first.body });
  for (const name of ['content-type', 'content-length', 'etag']) expect(answer.headers[name]).toBe(first.headers[name]);
}

function expectProblem(answer: Answer, status: number, code: string): void {
  expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
  expect(JSON.parse(answer.body)).toMatchObject({ status, code });
  expect(answer.status).toBe(status);
}
