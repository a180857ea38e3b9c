import { randomUUID } from 'node:crypto';
import { began, Cluster } from '../../support/cluster.js';
import { call, callUntilDefinitive } from '../../support/http-client.js';

const LEASE = 500;

describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)('after kill -9 on %s', (dialect) => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start(dialect, 1, { lease: LEASE });
  });

  afterAll(() => cluster?.stop());

  /** Starts a process, sends it a request that kills it, and returns the answer of a process that lives. */
  async function killedIn(route: string, body: { name: string; dieIn?: string }) {
    const victim = await cluster.add({ SYNCHRONIZE: 'off' });
    const key = randomUUID();
    const lost = call(`${victim.url}/${route}`, { key, body }).then(
      () => 'answered',
      () => 'lost',
    );
    if (!body.dieIn) {
      await began(victim, body.name);
      await victim.stop('SIGKILL');
    }
    expect(await lost).toBe('lost');
    const retry = () => callUntilDefinitive([`${cluster.apps[0].url}/${route}`], { key, body });
    return { key, answer: await retry(), retry };
  }

  test('rerun: the next request takes over, with a greater token', async () => {
    const { answer, retry } = await killedIn('plain', { name: 'rerun', before: 1_000 } as { name: string });
    expect(answer.status).toBe(201);
    expect(JSON.parse(answer.body)).toMatchObject({ attempt: 2 });
    expect(await cluster.effects('rerun')).toMatchObject([{ attempt: 2, token: 2 }]);
    expect((await retry()).headers['idempotent-replayed']).toBe('true');
  });

  test('hold: the outcome is unknown until someone resolves it', async () => {
    const { key, answer, retry } = await killedIn('holding', { name: 'held', before: 1_000 } as { name: string });
    expect(answer.status).toBe(409);
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'outcome-unknown', retryable: false });
    expect(await cluster.effects('held')).toHaveLength(0);

    const resolution = { status: 202, headers: { 'Content-Type': 'text/plain' }, body: 'paid by hand' };
    const resolve = () => call(cluster.urls('resolve')[0], { body: { key, operation: 'POST /holding', resolution } });
    expect(JSON.parse((await resolve()).body)).toEqual({ status: 'held', resolved: true });
    expect(await retry()).toMatchObject({
      status: 202,
      body: 'paid by hand',
      headers: { 'content-type': 'text/plain', 'idempotent-replayed': 'true' },
    });
    expect(JSON.parse((await resolve()).body)).toEqual({ status: 'done', resolved: false });
  });

  test('hold: a record that is freed runs again', async () => {
    const { key, retry } = await killedIn('holding', { name: 'freed', before: 1_000 } as { name: string });
    const body = { key, operation: 'POST /holding', resolution: 'release' };
    await call(cluster.urls('resolve')[0], { body });
    expect((await retry()).status).toBe(201);
    expect(await cluster.effects('freed')).toMatchObject([{ attempt: 2 }]);
  });

  test('transactional: an effect exists once', async () => {
    const body = { name: 'once', before: 10, after: 1_500 };
    const { answer } = await killedIn('transactional', body);
    expect(answer.status).toBe(201);
    expect(await cluster.effects('once')).toMatchObject([{ attempt: 2 }]);
  });

  test.each([
    ['before reserve', [2, 2, 2]],
    ['early in charge', [1, 2, 2]],
    ['before confirm', [1, 1, 2]],
  ])('steps that completed are not run again: died %s', async (dieIn, attempts) => {
    const name = `steps-${dieIn.replaceAll(' ', '-')}`;
    const { answer } = await killedIn('steps', { name, dieIn });
    expect(answer.status).toBe(201);
    const effects = await Promise.all(
      ['reserve', 'charge', 'confirm'].map((step) => cluster.effects(`${name}:${step}`)),
    );
    expect(effects.map((ofStep) => ofStep.map((effect) => effect.attempt))).toEqual(
      attempts.map((attempt) => [attempt]),
    );
  });

  test('a step that died after its effect is verified, not run again', async () => {
    const { answer } = await killedIn('steps-verified', { name: 'verified', dieIn: 'late in charge' });
    expect(answer.status).toBe(201);
    expect(await cluster.effects('verified:charge')).toMatchObject([{ attempt: 1 }]);
    expect(await cluster.effects('verified:confirm')).toMatchObject([{ attempt: 2 }]);
  });

  test('a step that died before its effect is verified, and run', async () => {
    const { answer } = await killedIn('steps-verified', { name: 'verified-not', dieIn: 'early in charge' });
    expect(answer.status).toBe(201);
    expect(await cluster.effects('verified-not:charge')).toMatchObject([{ attempt: 2 }]);
  });

  test('a step whose outcome is unknown holds the record, until someone says that it did not happen', async () => {
    const { key, answer, retry } = await killedIn('steps-held', { name: 'unknown', dieIn: 'early in charge' });
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'outcome-unknown' });
    expect(await cluster.effects('unknown:charge')).toHaveLength(0);
    const body = { key, operation: 'POST /steps-held', resolution: 'release' };
    await call(cluster.urls('resolve')[0], { body });
    expect((await retry()).status).toBe(201);
    expect(await cluster.effects('unknown:reserve')).toMatchObject([{ attempt: 1 }]);
    expect(await cluster.effects('unknown:charge')).toMatchObject([{ attempt: 2 }]);
  });

  test('derived keys are the same on every attempt, and differ by name', async () => {
    const { answer, retry } = await killedIn('steps', { name: 'derived', dieIn: 'before confirm' });
    const { keys } = JSON.parse(answer.body) as { keys: string[] };
    expect(new Set(keys).size).toBe(2);
    expect((JSON.parse((await retry()).body) as { keys: string[] }).keys).toEqual(keys);
  });
});
