import { randomUUID } from 'node:crypto';
import { began, Cluster, eventsOf, sleep, messageFrom } from '../../support/cluster.js';
import { call, callUntilDefinitive } from '../../support/http-client.js';
import { stopwatch } from '../../support/stopwatch.js';

// Long enough for a busy machine, where a process may not be let run for half a second.
const LEASE = 1_000;
const HOUR = 3_600_000;

describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)('the lease on %s', (dialect) => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start(dialect, 1, { lease: LEASE });
    // Clocks of processes must not matter: the database's does.
    await cluster.add({ SYNCHRONIZE: 'off', CLOCK_OFFSET: String(HOUR) });
    await cluster.add({ SYNCHRONIZE: 'off', CLOCK_OFFSET: String(-HOUR) });
  });

  afterAll(() => cluster?.stop());

  test('a handler of ten leases keeps its record', async () => {
    // A lease that this process dated by its own clock would have run out an hour ago.
    const [right, ahead, owner] = cluster.urls('plain');
    const key = randomUUID();
    const body = { name: 'long', before: 10 * LEASE };
    const first = call(owner, { key, body });
    await began(cluster.apps[2], 'long');
    for (let i = 0; i < 10; i++) {
      for (const url of [right, ahead]) expect((await call(url, { key, body })).status).toBe(409);
      await sleep(LEASE / 2);
    }
    expect((await first).status).toBe(201);
    for (const url of [right, ahead]) expect((await call(url, { key, body })).body).toBe((await first).body);
    expect(await cluster.effects('long')).toHaveLength(1);
  });

  test('a stopped process loses its record after one lease; when it goes on, its client gets what is on record', async () => {
    const [owner, other] = cluster.apps;
    const key = randomUUID();
    const body = { name: 'stopped', before: 1_000, watch: true };
    const zombie = call(`${owner.url}/plain`, { key, body });
    await began(owner, 'stopped');
    owner.signal('SIGSTOP');
    const took = stopwatch();

    const answer = await callUntilDefinitive([`${other.url}/plain`], { key, body }, { pauseMs: 20 });
    expect(took()).toBeLessThan(LEASE + body.before + 5_000);
    expect(answer.status).toBe(201);
    expect(answer.headers['idempotent-replayed']).toBeUndefined();
    expect(eventsOf(other, 'takenOver')).toMatchObject([{ attempt: 2, token: 2 }]);

    owner.signal('SIGCONT');
    const late = await zombie;
    expect({ status: late.status, body: late.body }).toEqual({ status: answer.status, body: answer.body });
    expect(late.headers['idempotent-replayed']).toBe('true');
    // Plain handlers: one effect for each execution that was begun, and no outcome but the winner's.
    expect((await cluster.effects('stopped')).map((effect) => effect.attempt)).toEqual([1, 2]);
    expect((await call(`${owner.url}/plain`, { key, body })).body).toBe(answer.body);
  });

  test('a handler does not begin once its lease was lost, while a pipe took its time', async () => {
    const [owner, other] = cluster.apps;
    const key = randomUUID();
    const body = { name: 'piped', piped: 3 * LEASE };
    const zombie = call(`${owner.url}/plain`, { key, body });
    await messageFrom(owner, (message) => message.piping === 'piped');
    owner.signal('SIGSTOP');
    await sleep(LEASE + 100);
    const winner = call(`${other.url}/plain`, { key, body });
    await messageFrom(other, (message) => message.piping === 'piped');
    owner.signal('SIGCONT');
    expect((await winner).status).toBe(201);
    expect((await zombie).status).not.toBe(500);
    expect((await cluster.effects('piped')).map((effect) => effect.attempt)).toEqual([2]);
  });

  test('a lost lease aborts the signal', async () => {
    const [owner, other] = cluster.apps;
    const key = randomUUID();
    const body = { name: 'aborted', before: 3 * LEASE, watch: true };
    const zombie = call(`${owner.url}/plain`, { key, body });
    await began(owner, 'aborted');
    owner.signal('SIGSTOP');
    await sleep(LEASE + 100);
    const winner = call(`${other.url}/plain`, { key, body });
    await began(other, 'aborted');
    owner.signal('SIGCONT');
    await messageFrom(owner, (message) => message.aborted === 'aborted');
    await winner;
    expect((await zombie).status).not.toBe(500);
    expect(eventsOf(owner, 'leaseLost').length).toBeGreaterThan(0);
  });

  test('a zombie whose successor still runs answers with a conflict, not with its own outcome', async () => {
    const [owner, other] = cluster.apps;
    const key = randomUUID();
    const body = { name: 'early-zombie', before: 2_500 };
    const zombie = call(`${owner.url}/plain`, { key, body });
    await began(owner, 'early-zombie');
    await sleep(300);
    owner.signal('SIGSTOP');
    await sleep(LEASE + 100);
    const winner = call(`${other.url}/plain`, { key, body: { ...body } });
    await began(other, 'early-zombie');
    owner.signal('SIGCONT');
    const late = await zombie;
    expect(late.status).toBe(409);
    expect(JSON.parse(late.body)).toMatchObject({ code: 'in-progress', retryable: true });
    expect((await winner).status).toBe(201);
  });

  test('transactional: what a zombie wrote is rolled back', async () => {
    const [owner, other] = cluster.apps;
    const key = randomUUID();
    const body = { name: 'rolled-back-zombie', before: 1_000, after: dialect === 'better-sqlite3' ? 0 : 100 };
    const zombie = call(`${owner.url}/transactional`, { key, body });
    await began(owner, 'rolled-back-zombie');
    owner.signal('SIGSTOP');
    const answer = await callUntilDefinitive([`${other.url}/transactional`], { key, body });
    owner.signal('SIGCONT');
    expect((await zombie).body).toBe(answer.body);
    expect(await cluster.effects('rolled-back-zombie')).toMatchObject([{ attempt: 2 }]);
  });
});
