import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { began, Cluster } from '../../support/cluster.js';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { call } from '../../support/http-client.js';
import { type Server, startPgBouncer } from '../../support/servers.mjs';
import { answersTo, expectOnce, expectReplays, operations } from './support.js';

describe('PgBouncer in transaction mode', () => {
  let database: TestDatabase<'postgres'>;
  let bouncer: Server;
  let cluster: Cluster;

  beforeAll(async () => {
    database = await createDatabase('postgres');
    // Fewer connections than the processes have, so that they are handed around.
    bouncer = await startPgBouncer(database.options.port!, ['default_pool_size = 6']);
    const options = { ...database.options, port: bouncer.port };
    cluster = await Cluster.start({ ...database, options } as TestDatabase, 2, { lease: '5s' });
  });

  afterAll(async () => {
    await cluster?.stop();
    await bouncer?.dispose();
  });

  test.each(['plain', 'transactional', 'steps'])('%s operations: one effect, the same answer', async (route) => {
    const asked = operations(route, 25, { before: 30 });
    const answers = await answersTo(cluster, asked);
    if (route === 'steps') await expectReplays(cluster, answers);
    else await expectOnce(cluster, answers);
  });

  test('prepared statements that the pooler has lost are done without, and it is said once', () => {
    for (const { output } of cluster.apps) {
      expect(output.match(/does not keep prepared statements/g)).toHaveLength(1);
    }
  });

  test('a wait ends soon after the first outcome, though no process hears NOTIFY', async () => {
    const [here, there] = cluster.urls('waiting');
    const key = randomUUID();
    const body = { name: 'awaited', before: 3_000 };
    const first = call(here, { key, body });
    await began(cluster.apps[0], 'awaited');
    const waiter = call(there, { key, body }).then((answer) => ({ answer, at: Date.now() }));
    const { body: outcome } = await first;
    const endedAt = Date.now();
    const { answer, at } = await waiter;
    expect(answer).toMatchObject({ status: 201, body: outcome });
    // Looking every half a second; a backstop behind a channel that works comes after up to five.
    expect(at - endedAt).toBeLessThan(2_500);
    expect(cluster.apps[1].output).toContain('NOTIFY is not heard');
  });

  test('what a claim sets for its own transaction is not left behind', async () => {
    const { database: name, username } = database.options;
    const pool = new pg.Pool({ host: '127.0.0.1', port: bouncer.port, database: name, user: username, max: 6 });
    try {
      const shown = await Promise.all(
        Array.from({ length: 30 }, () => pool.query<{ lock_timeout: string }>('SHOW lock_timeout')),
      );
      expect(new Set(shown.map(({ rows }) => rows[0].lock_timeout))).toEqual(new Set(['0']));
    } finally {
      await pool.end();
    }
  });
});
