import { randomUUID } from 'node:crypto';
import { began, Cluster, sleep } from '../../support/cluster.js';
import { call } from '../../support/http-client.js';

const LEASE = 500;

/**
 * Found by the lab (SEED=m, second run): a process stood still, its record was held, and an operator settled it. When the
 * process went on, its completion found no row in processing, but a record that is done under its own owner and token, as
 * after a completion whose answer was lost: so it answered with an outcome of its own, which is on record nowhere.
 */
describe.each(['postgres', 'mariadb', 'better-sqlite3'] as const)('an owner that comes back on %s', (dialect) => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start(dialect, 2, { lease: LEASE });
  });

  afterAll(() => cluster?.stop());

  test('answers with what an operator has put on record meanwhile', async () => {
    const [owner, other] = cluster.apps;
    const key = randomUUID();
    const body = { name: 'resolved', before: 1_000 };
    const zombie = call(`${owner.url}/holding`, { key, body });
    await began(owner, 'resolved');
    owner.signal('SIGSTOP');
    await sleep(LEASE + 200);
    expect((await call(`${other.url}/holding`, { key, body })).body).toContain('outcome-unknown');
    const resolution = { status: 202, body: 'settled by hand' };
    const order = { key, operation: 'POST /holding', resolution };
    expect((await call(`${other.url}/resolve`, { body: order })).body).toContain('"resolved":true');
    owner.signal('SIGCONT');
    expect(await zombie).toMatchObject({ status: 202, body: 'settled by hand' });
  });
});
