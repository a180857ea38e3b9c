import pg from 'pg';
import { Cluster, sleep } from '../../support/cluster.js';
import type { TestDatabase } from '../../support/database.js';
import { type Answer, call } from '../../support/http-client.js';
import { TcpProxy } from '../../support/proxy.js';
import { type Server, startPostgres, startStandby } from '../../support/servers.mjs';
import { until } from '../../support/until.js';
import { answersTo, expectOnce, expectReplays, type Operation, operations } from './support.js';

async function query(port: number, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', database: 'test' });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** A primary and its standby, the address that applications know, and what lies between the two servers. */
class Pair {
  private constructor(
    readonly primary: Server,
    readonly standby: Server,
    readonly address: TcpProxy,
    readonly replication: TcpProxy,
    readonly cluster: Cluster,
  ) {}

  static async start(synchronous: boolean): Promise<Pair> {
    const primary = await startPostgres();
    const replication = await TcpProxy.listen(primary.port);
    const standby = await startStandby(primary, replication.port);
    const isStreaming = async (state: string) =>
      (await query(primary.port, 'SELECT sync_state FROM pg_stat_replication')).some((row) => row.sync_state === state);
    await until(() => isStreaming('async'), 20_000);
    if (synchronous) {
      await query(primary.port, `ALTER SYSTEM SET synchronous_standby_names = 'standby'`);
      await query(primary.port, 'SELECT pg_reload_conf()');
      await until(() => isStreaming('sync'), 20_000);
    }
    const address = await TcpProxy.listen(primary.port);
    const options = { type: 'postgres', host: '127.0.0.1', port: address.port, username: 'postgres', database: 'test' };
    const database = { dialect: 'postgres', options, drop: async () => undefined } as unknown as TestDatabase;
    return new Pair(primary, standby, address, replication, await Cluster.start(database, 2, { lease: '2s' }));
  }

  /** As a cluster manager does: fences the primary off, promotes the standby, moves the address. */
  async failOver(): Promise<void> {
    await this.address.refuse(true);
    this.address.cut();
    await this.primary.kill();
    await query(this.standby.port, 'SELECT pg_promote()');
    this.address.retarget(this.standby.port);
    await this.address.refuse(false);
  }

  async stop(): Promise<void> {
    await this.cluster.stop();
    await this.address.close();
    await this.replication.close();
    await this.primary.dispose();
    await this.standby.dispose();
  }
}

describe('PostgreSQL with a standby', () => {
  let pair: Pair | undefined;
  afterEach(async () => {
    await pair?.stop();
    pair = undefined;
  });

  test('synchronous: the primary is lost, and nothing acknowledged with it', async () => {
    pair = await Pair.start(true);
    const { cluster } = pair;
    const acknowledged = new Map<Operation, readonly Answer[]>();
    let going = true;
    const clients = ['plain', 'transactional'].flatMap((route) =>
      Array.from({ length: 4 }, async () => {
        while (going) {
          for (const [asked, answers] of await answersTo(cluster, operations(route, 1), 2)) {
            acknowledged.set(asked, answers);
          }
        }
      }),
    );
    await until(() => acknowledged.size >= 100, 20_000);
    await pair.failOver();
    const before = acknowledged.size;
    await until(() => acknowledged.size >= before + 50, 30_000);
    going = false;
    await Promise.all(clients);

    await expectReplays(cluster, acknowledged);
    const transactional = [...acknowledged].filter(([{ route }]) => route === 'transactional');
    await expectOnce(cluster, new Map(transactional));
    for (const [{ name }] of acknowledged) expect((await cluster.effects(name)).length).toBeGreaterThanOrEqual(1);
  }, 110_000);

  test('synchronous: what the standby has not got is not acknowledged', async () => {
    pair = await Pair.start(true);
    const { cluster, replication } = pair;
    await expectOnce(cluster, await answersTo(cluster, operations('transactional', 2)));
    replication.blackhole(true);
    const [asked] = operations('transactional', 1);
    const { key, body } = asked;
    const early = await call(cluster.urls('transactional')[0], { key, body });
    expect(early.status).toBe(503);
    await pair.failOver();
    const answers = await answersTo(cluster, [asked]);
    await expectOnce(cluster, answers);
    await expectReplays(cluster, answers);
  }, 110_000);

  test('asynchronous: the last moments before a failover can be forgotten, and run again', async () => {
    pair = await Pair.start(false);
    const { cluster, replication } = pair;
    const kept = await answersTo(cluster, operations('transactional', 5));
    await until(async () => {
      const [{ lag }] = await query(
        pair!.primary.port,
        'SELECT pg_current_wal_lsn() - replay_lsn AS lag FROM pg_stat_replication',
      );
      return Number(lag) === 0;
    });
    replication.blackhole(true);
    const [lost] = operations('transactional', 1);
    const [first] = (await answersTo(cluster, [lost], 1)).get(lost)!;
    expect(first.status).toBe(201);
    await sleep(50);
    await pair.failOver();

    await expectReplays(cluster, kept);
    const [second] = (await answersTo(cluster, [lost], 1)).get(lost)!;
    expect(second.headers['idempotent-replayed']).toBeUndefined();
    expect(second.body).not.toBe(first.body);
    // The effect was in the same database: it was forgotten with its record, and exists once again.
    expect(await cluster.effects(lost.name)).toMatchObject([{ attempt: 1 }]);
  }, 110_000);
});
