import { randomUUID } from 'node:crypto';
import { Cluster, messageFrom } from '../../support/cluster.js';
import { call, callUntilDefinitive } from '../../support/http-client.js';

/** Longer than a busy machine stands still: the victim has to own its record until it is killed. */
const LEASE = 2_000;

describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)('kill -9 in a transaction on %s', (dialect) => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start(dialect, 1, { lease: LEASE });
  });
  afterAll(() => cluster?.stop());

  const charges = () =>
    cluster.apps.map(
      ({ messages }) => messages.filter((message) => Object.hasOwn(message as object, 'charged')).length,
    );

  test.each([
    ['a step that is done is not run again', 'transactional-steps', 'before the effect', 'charged'],
    ['a step that has begun is verified', 'transactional-steps-verified', 'late in charge', 'found'],
  ])('%s', async (_, route, stayIn, result) => {
    const victim = await cluster.add({ SYNCHRONIZE: 'off' });
    const before = charges().reduce((a, b) => a + b);
    const name = randomUUID();
    const request = { key: name, body: { name, stayIn } };
    const lost = call(`${victim.url}/${route}`, request).catch(() => 'lost');
    await messageFrom(victim, (message) => message.stays === name);
    await victim.stop('SIGKILL');
    expect(await lost).toBe('lost');

    const answer = await callUntilDefinitive([`${cluster.apps[0].url}/${route}`], request);
    expect(answer).toMatchObject({ status: 201, body: JSON.stringify({ result }) });
    expect(charges().reduce((a, b) => a + b) - before).toBe(1);
    expect(await cluster.effects(name)).toMatchObject([{ attempt: 2 }]);
  });
});
