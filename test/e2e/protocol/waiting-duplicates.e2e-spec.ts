import { randomUUID } from 'node:crypto';
import { began, Cluster, sleep } from '../../support/cluster.js';
import { call } from '../../support/http-client.js';
import { stopwatch } from '../../support/stopwatch.js';
import { until } from '../../support/until.js';

const WAITERS = 500;
const GROUP = 20;
/** Longer than a busy machine stands still: an owner that lost its lease would be one of two. */
const LEASE = 10_000;
/** Of an owner that dies. */
const SHORT_LEASE = 2_000;

/** How waiters in other processes learn of the end: the channel that there is. */
const channels = [
  ['postgres', 'NOTIFY', {}],
  ['postgres', 'Redis', { REDIS_PORTS: process.env.TEST_REDIS_PORTS!.split(',')[0] }],
  ['mariadb', 'Redis', { REDIS_PORTS: process.env.TEST_REDIS_PORTS!.split(',')[0] }],
  ['mariadb', 'polling', {}],
  ['better-sqlite3', 'polling', {}],
] as const;

describe.each(channels)('waiting on %s with %s', (dialect, channel, env) => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start(dialect, 3, { lease: LEASE }, env);
  });

  afterAll(() => cluster?.stop());

  const counts = async () => {
    const answers = await Promise.all(cluster.urls('counts').map((url) => call(url, { method: 'GET' })));
    const each = answers.map(({ body }) => JSON.parse(body) as { statements: number; posts: number });
    const sum = (of: 'statements' | 'posts') => each.reduce((total, one) => total + one[of], 0);
    return { statements: sum('statements'), posts: sum('posts') };
  };

  test(`${WAITERS} waiters over three processes get the first outcome, for a handful of statements`, async () => {
    const urls = cluster.urls('waiting');
    const key = randomUUID();
    const body = { name: 'awaited', gated: true };
    const first = call(urls[0], { key, body });
    await began(cluster.apps[0], 'awaited');
    const before = await counts();
    const startedAt = Date.now();

    const endedAt: number[] = [];
    const waiters: ReturnType<typeof call>[] = [];
    // In groups: those that come at once would share a claim, and this is about those that come while others wait.
    while (waiters.length < WAITERS) {
      for (let i = 0; i < GROUP; i++) {
        const answer = call(urls[i % 3], { key, body });
        waiters.push(answer);
        void answer.then(() => endedAt.push(Date.now()));
      }
      await until(async () => (await counts()).posts === before.posts + waiters.length);
    }
    // By now each process looks only once in a second or more by itself.
    await sleep(Math.max(500, startedAt + 3_000 - Date.now()));
    await Promise.all(cluster.urls('let/awaited').map((url) => call(url, { method: 'GET' })));
    const answer = await first;
    const firstEndedAt = Date.now();
    const answers = await Promise.all(waiters);

    expect(answer.status).toBe(201);
    for (const { status, body: text, headers } of answers) {
      expect({ status, text, replayed: headers['idempotent-replayed'] }).toEqual({
        status: 201,
        text: answer.body,
        replayed: 'true',
      });
    }
    expect(await cluster.effects('awaited')).toHaveLength(1);
    if (dialect === 'postgres') {
      const spent = (await counts()).statements - before.statements;
      // Each process takes one look, marks the record, looks again when woken, and ever more seldom by itself: every five seconds
      // in the end, in which there are two heartbeats at most.
      const fives = (firstEndedAt - startedAt) / 5_000;
      expect(spent).toBeLessThan(30 + (3 + 2) * fives);
    }
    const late = endedAt.map((time) => time - firstEndedAt).sort((a, b) => a - b);
    // A busy machine takes long for as many answers, with or without the library.
    const replayedAt = Date.now();
    await Promise.all(Array.from({ length: WAITERS }, (_, i) => call(urls[i % 3], { key, body })));
    const replaysMs = Date.now() - replayedAt;
    expect(late[WAITERS / 2]).toBeLessThan((channel === 'polling' ? 1_200 : 400) + 2 * replaysMs);
  }, 120_000);

  test('waiters that come together with the first, before it has claimed, are woken all the same', async () => {
    const urls = cluster.urls('waiting');
    // How late they are woken says something only where they are.
    const rounds = channel === 'polling' ? 10 : 60;
    const countSlow = async () => {
      let slow = 0;
      for (let round = 0; round < rounds; round++) {
        const key = randomUUID();
        const body = { name: `together-${round}`, before: 60 };
        const startedAt = Date.now();
        const nine = () => Promise.all(Array.from({ length: 9 }, (_, i) => call(urls[i % 3], { key, body })));
        const answers = await nine();
        expect(new Set(answers.map(({ status, body: text }) => `${status} ${text}`)).size).toBe(1);
        const answeredAt = Date.now();
        await nine();
        const replaysMs = Date.now() - answeredAt;
        // Who missed the announcement looks again after 250 ms at the earliest. A busy machine takes long for replays, too.
        if (answeredAt - startedAt > 60 + 240 + 3 * replaysMs) slow++;
      }
      return slow;
    };
    let slow = await countSlow();
    if (channel === 'polling') return;
    // A machine that stood still looks the same, but not each time.
    for (let again = 0; slow > 2 && again < 3; again++) slow = await countSlow();
    expect(slow).toBeLessThanOrEqual(2);
  }, 120_000);

  test('a waiter whose owner died takes over', async () => {
    const victim = await cluster.add({ SYNCHRONIZE: 'off', OPTIONS: JSON.stringify({ lease: SHORT_LEASE }) });
    const key = randomUUID();
    const body = { name: 'orphaned', before: 1_500 };
    const lost = call(`${victim.url}/waiting`, { key, body }).catch(() => 'lost');
    await began(victim, 'orphaned');
    const waiters = cluster
      .urls('waiting')
      .slice(0, 3)
      .map((url) => call(url, { key, body }));
    await sleep(200);
    await victim.stop('SIGKILL');
    const took = stopwatch();
    expect(await lost).toBe('lost');
    const answers = await Promise.all(waiters);
    expect(took()).toBeLessThan(SHORT_LEASE + body.before + 3_000);
    expect(new Set(answers.map((answer) => `${answer.status} ${answer.body}`)).size).toBe(1);
    expect(await cluster.effects('orphaned')).toMatchObject([{ attempt: 2 }]);
  });

  test('a waiter of an execution that failed runs in its turn', async () => {
    const [here, there] = cluster.urls('waiting');
    const key = randomUUID();
    const body = { name: 'failing-first', before: 300, fail: true };
    const first = call(here, { key, body });
    await began(cluster.apps[0], 'failing-first');
    const second = call(there, { key, body });
    expect((await first).status).toBe(500);
    expect((await second).status).toBe(500);
    expect((await cluster.effects('failing-first')).map(({ attempt }) => attempt)).toEqual([1, 2]);
  });

  test('Prefer: wait=N shortens the wait', async () => {
    const urls = cluster.urls('waiting');
    const key = randomUUID();
    const body = { name: 'preferred', before: 4_000 };
    let ended = false;
    const first = call(urls[0], { key, body }).finally(() => (ended = true));
    await began(cluster.apps[0], 'preferred');
    for (const url of urls) {
      const refused = await call(url, { key, body, headers: { prefer: 'respond-async, wait=0' } });
      expect(JSON.parse(refused.body)).toMatchObject({ code: 'in-progress' });
    }
    expect(ended).toBe(false);
    const startedAt = Date.now();
    const impatient = await call(urls[1], { key, body, headers: { prefer: 'wait=1' } });
    expect(impatient.status).toBe(409);
    expect(Date.now() - startedAt).toBeGreaterThanOrEqual(900);
    const patient = await call(urls[1], { key, body, headers: { prefer: 'wait=600' } });
    expect(patient.body).toBe((await first).body);
  });
});
