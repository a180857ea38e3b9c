import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { AppProcess } from '../../support/app-process.js';
import { Cluster, messageFrom } from '../../support/cluster.js';
import { type Answer, call, callUntilDefinitive } from '../../support/http-client.js';

/** Longer than a busy machine stands still: the victim has to own its records until it is killed. */
const LEASE = 2_000;

/** What the victim is killed in: a name of the operation, its route, and the point where it stays. */
const INTERRUPTED = {
  rerun: ['plain', 'before the effect'],
  held: ['holding', 'before the effect'],
  freed: ['holding', 'before the effect'],
  'before-reserve': ['steps', 'before reserve'],
  'early-in-charge': ['steps', 'early in charge'],
  'before-confirm': ['steps', 'before confirm'],
  verified: ['steps-verified', 'late in charge'],
  'verified-not': ['steps-verified', 'early in charge'],
  unknown: ['steps-held', 'early in charge'],
  // The last: on SQLite, no other process writes from then on.
  once: ['transactional', 'after the effect'],
} as const;

describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)('after kill -9 on %s', (dialect) => {
  let cluster: Cluster;
  let victim: AppProcess;
  const keys = new Map(Object.keys(INTERRUPTED).map((name) => [name, randomUUID()]));

  beforeAll(async () => {
    cluster = await Cluster.start(dialect, 1, { lease: LEASE });
    victim = await cluster.add({ SYNCHRONIZE: 'off' });
    const lost: Promise<Answer | 'lost'>[] = [];
    for (const [name, [route, stayIn]] of Object.entries(INTERRUPTED)) {
      lost.push(call(`${victim.url}/${route}`, { key: keys.get(name), body: { name, stayIn } }).catch(() => 'lost'));
      await messageFrom(victim, (message) => message.stays === name, 60_000);
    }
    await victim.stop('SIGKILL');
    const answered = (await Promise.all(lost)).filter((answer) => answer !== 'lost');
    if (answered.length > 0) throw new Error(`answered before it was killed: ${JSON.stringify(answered)}`);
  }, 120_000);

  afterAll(() => cluster?.stop());

  /** The answer of a process that lives to a retry of what was interrupted. */
  async function interrupted(name: keyof typeof INTERRUPTED) {
    const [route, stayIn] = INTERRUPTED[name];
    const key = keys.get(name)!;
    const retry = () => callUntilDefinitive([`${cluster.apps[0].url}/${route}`], { key, body: { name, stayIn } });
    return { key, answer: await retry(), retry };
  }

  test('rerun: the next request takes over, with a greater token', async () => {
    const { answer, retry } = await interrupted('rerun');
    expect(answer.status).toBe(201);
    expect(JSON.parse(answer.body)).toMatchObject({ attempt: 2 });
    expect(await cluster.effects('rerun')).toMatchObject([{ attempt: 2, token: 2 }]);
    expect((await retry()).headers['idempotent-replayed']).toBe('true');
  });

  test('hold: the outcome is unknown until someone resolves it', async () => {
    const { key, answer, retry } = await interrupted('held');
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
    const { key, retry } = await interrupted('freed');
    const body = { key, operation: 'POST /holding', resolution: 'release' };
    await call(cluster.urls('resolve')[0], { body });
    expect((await retry()).status).toBe(201);
    expect(await cluster.effects('freed')).toMatchObject([{ attempt: 2 }]);
  });

  test('transactional: an effect exists once', async () => {
    const { answer } = await interrupted('once');
    expect(answer.status).toBe(201);
    expect(await cluster.effects('once')).toMatchObject([{ attempt: 2 }]);
  });

  test.each([
    ['before-reserve', [2, 2, 2]],
    ['early-in-charge', [1, 2, 2]],
    ['before-confirm', [1, 1, 2]],
  ] as const)('steps that completed are not run again: died %s', async (name, attempts) => {
    const { answer } = await interrupted(name);
    expect(answer.status).toBe(201);
    const effects = await Promise.all(
      ['reserve', 'charge', 'confirm'].map((step) => cluster.effects(`${name}:${step}`)),
    );
    expect(effects.map((ofStep) => ofStep.map((effect) => effect.attempt))).toEqual(
      attempts.map((attempt) => [attempt]),
    );
  });

  test('a step that died after its effect is verified, not run again', async () => {
    const { answer } = await interrupted('verified');
    expect(answer.status).toBe(201);
    expect(await cluster.effects('verified:charge')).toMatchObject([{ attempt: 1 }]);
    expect(await cluster.effects('verified:confirm')).toMatchObject([{ attempt: 2 }]);
  });

  test('a step that died before its effect is verified, and run', async () => {
    const { answer } = await interrupted('verified-not');
    expect(answer.status).toBe(201);
    expect(await cluster.effects('verified-not:charge')).toMatchObject([{ attempt: 2 }]);
  });

  test('a step whose outcome is unknown holds the record, until someone says that it did not happen', async () => {
    const { key, answer, retry } = await interrupted('unknown');
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'outcome-unknown' });
    expect(await cluster.effects('unknown:charge')).toHaveLength(0);
    const body = { key, operation: 'POST /steps-held', resolution: 'release' };
    await call(cluster.urls('resolve')[0], { body });
    expect((await retry()).status).toBe(201);
    expect(await cluster.effects('unknown:reserve')).toMatchObject([{ attempt: 1 }]);
    expect(await cluster.effects('unknown:charge')).toMatchObject([{ attempt: 2 }]);
  });

  test('derived keys are the same on every attempt, and differ by name', async () => {
    const { answer } = await interrupted('before-confirm');
    const { keys: derived } = JSON.parse(answer.body) as { keys: string[] };
    expect(new Set(derived).size).toBe(2);
    for (const app of [victim, cluster.apps[0]]) {
      await messageFrom(
        app,
        ({ name, keys: ofAttempt }) => name === 'before-confirm' && isDeepStrictEqual(ofAttempt, derived),
      );
    }
  });
});
