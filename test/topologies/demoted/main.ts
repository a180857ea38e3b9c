/**
 * A leader that is demoted and stays up: it refuses writes (25006) over connections that stay alive, as after a failover of
 * Aurora, or where an address moves and nothing closes what was open. Two PostgreSQL servers, the second a synchronous
 * standby that is promoted, and an address that leads to one of them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { TcpProxy } from '../../support/proxy.js';
import { type Server, startPostgres, startStandby } from '../../support/servers.mjs';
import { until } from '../../support/until.js';
import { query } from '../support/postgres.js';
import { flags, Topology } from '../support/topology.js';

/** Connections of applications: those that ask here are none. */
const APPLICATIONS = "backend_type = 'client backend' AND application_name = 'application'";

class Pair {
  private constructor(
    readonly leader: Server,
    readonly follower: Server,
    readonly address: TcpProxy,
  ) {}

  static async start(): Promise<Pair> {
    const leader = await startPostgres();
    const follower = await startStandby(leader);
    await query(leader.port, "ALTER SYSTEM SET synchronous_standby_names = 'standby'");
    await query(leader.port, 'SELECT pg_reload_conf()');
    await until(async () => {
      const rows = await query(leader.port, 'SELECT sync_state FROM pg_stat_replication');
      return rows.some((row) => row.sync_state === 'sync');
    });
    return new Pair(leader, follower, await TcpProxy.listen(leader.port));
  }

  /** The leader goes on as a server that only reads; what is under way may end. Nothing is closed. */
  async demote(): Promise<void> {
    const { leader, follower } = this;
    await query(leader.port, 'ALTER SYSTEM SET default_transaction_read_only = on');
    await query(leader.port, 'SELECT pg_reload_conf()');
    await until(async () => {
      const writing = `SELECT 1 FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND ${APPLICATIONS}`;
      return (await query(leader.port, writing)).length === 0;
    });
    const [{ at }] = await query(leader.port, 'SELECT pg_current_wal_lsn()::text AS at');
    await until(async () => {
      const [{ there }] = await query(follower.port, `SELECT pg_last_wal_replay_lsn() >= '${String(at)}' AS there`);
      return there;
    });
  }

  async promote(): Promise<void> {
    const { follower } = this;
    await query(follower.port, 'ALTER SYSTEM RESET synchronous_standby_names');
    await query(follower.port, 'SELECT pg_promote()');
    await query(follower.port, 'SELECT pg_reload_conf()');
  }

  /** What applications asked last over the connections that they keep to the old leader. */
  async left(): Promise<string[]> {
    const sql = `SELECT state || ' for ' || (now() - state_change)::text || ': ' || query AS asked FROM pg_stat_activity`;
    return (await query(this.leader.port, `${sql} WHERE ${APPLICATIONS}`)).map(({ asked }) => String(asked));
  }

  /** Idle connections that are never used again are closed by the pools, in ten seconds. */
  async abandoned(): Promise<void> {
    let left: string[] = [];
    const isLeft = until(async () => (left = await this.left()).length === 0, 15_000);
    await isLeft.catch(() => {
      throw new Error(`connections to the old leader stay:\n  ${left.join('\n  ')}`);
    });
  }

  async stop(): Promise<void> {
    await this.address.close();
    await Promise.all([this.leader.dispose(), this.follower.dispose()]);
  }
}

/** @param lateMs how long new connections still lead to the old leader, once the new one takes writes */
async function scenario(name: string, lateMs: number): Promise<boolean> {
  const pair = await Pair.start();
  const database = {
    type: 'postgres' as const,
    host: '127.0.0.1',
    port: pair.address.port,
    username: 'postgres',
    database: 'test',
    applicationName: 'application',
  };
  const topology = await Topology.start({ name: 'demoted', databases: [database, database, database] });
  await topology.run(name, {
    gapLimitMs: lateMs + 3_000,
    fault: async () => {
      await pair.demote();
      await pair.promote();
      await sleep(lateMs);
      pair.address.retarget(pair.follower.port);
    },
    after: () => pair.abandoned(),
  });
  const success = await topology.stop();
  await pair.stop();
  return success;
}

const success = [await scenario('connections stay, the address moves at once', 0)];
if (!flags.short) success.push(await scenario('connections stay, the address moves 5 s late', 5_000));
process.exit(success.every(Boolean) ? 0 : 1);
