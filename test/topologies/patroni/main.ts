/**
 * Patroni with etcd and HAProxy over three PostgreSQL servers: each fault with synchronous and with asynchronous
 * replication. Applications know one address, that of HAProxy.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../support/until.js';
import type { MayForget } from '../support/check.js';
import { now } from '../support/clock.js';
import { flags, type Scenario, Topology } from '../support/topology.js';
import { type Node, PatroniCluster, TTL } from './cluster.js';

type Fault = (cluster: PatroniCluster, primary: Node) => Promise<void>;

interface Trial {
  readonly fault: Fault;
  /** Whether a primary is lost with what it has not sent to the others. */
  readonly losesPrimary: boolean;
  readonly gapLimitMs: number;
  /** Whether it is part of the short form. */
  readonly short?: boolean;
}

/** Until the old leader's key has run out, and what an election, HAProxy and the applications take after that. */
const AFTER_TTL = (TTL + 10) * 1_000;
const QUICK = 12_000;
/** Standbys may lag behind by so much without a fault, in milliseconds. */
const LAG = 1_000;

const TRIALS: Readonly<Record<string, Trial>> = {
  switchover: {
    losesPrimary: false,
    gapLimitMs: QUICK,
    short: true,
    fault: async (cluster, primary) => {
      const answer = await primary.rest('POST', '/switchover', { leader: primary.name });
      if (answer.status !== 200) throw new Error(`no switchover: ${answer.status} ${answer.body}`);
      await cluster.successorOf(primary);
    },
  },
  'kill primary': {
    losesPrimary: true,
    gapLimitMs: QUICK,
    short: true,
    fault: async (cluster, primary) => {
      process.kill(primary.postmaster!, 'SIGKILL');
      await cluster.successorOf(primary);
    },
  },
  'pause primary and its Patroni': {
    losesPrimary: true,
    gapLimitMs: AFTER_TTL,
    fault: async (cluster, primary) => {
      primary.signalPatroni('SIGSTOP');
      primary.signalPostgres('SIGSTOP');
      await cluster.successorOf(primary);
      await sleep(2_000);
      primary.signalPostgres('SIGCONT');
      await sleep(1_000);
      primary.signalPatroni('SIGCONT');
    },
  },
  'pause Patroni alone': {
    losesPrimary: true,
    gapLimitMs: AFTER_TTL,
    fault: async (cluster, primary) => {
      primary.signalPatroni('SIGSTOP');
      await cluster.successorOf(primary);
      await sleep(2_000);
      primary.signalPatroni('SIGCONT');
    },
  },
  'partition primary': {
    losesPrimary: true,
    gapLimitMs: AFTER_TTL,
    fault: async (cluster, primary) => {
      primary.partition(true);
      await cluster.successorOf(primary);
      await sleep(2_000);
      primary.partition(false);
    },
  },
  'lose etcd, and all demote themselves': {
    losesPrimary: false,
    gapLimitMs: AFTER_TTL + 10_000,
    fault: async (cluster, primary) => {
      for (const node of cluster.nodes) node.loseEtcd(true);
      for (let i = 0; i < 200 && (await primary.isPrimary()); i++) await sleep(100);
      await sleep(5_000);
      for (const node of cluster.nodes) node.loseEtcd(false);
      await cluster.primary();
    },
  },
};

/** Where HAProxy leaves sessions alone: the old primary keeps its connections, and goes on taking writes. */
const LASTING_SESSIONS: Trial = {
  losesPrimary: true,
  gapLimitMs: AFTER_TTL,
  fault: async (cluster, primary) => {
    primary.signalPatroni('SIGSTOP');
    const successor = await cluster.successorOf(primary);
    await sleep(10_000);
    const { postmaster } = primary;
    primary.signalPatroni('SIGCONT');
    // Demoted, or put in the place of its successor: see `isTakenBack`.
    await until(async () => primary.postmaster !== postmaster || !(await successor.isPrimary()), 60_000);
  },
};

const cluster = await PatroniCluster.start();
const topology = await topologyAt(cluster.port);
const lasting = flags.short ? undefined : await topologyAt(cluster.portOfLastingSessions);
for (let time = 0; time < Number(flags.times); time++) {
  for (const synchronous of flags.short ? [true] : [true, false]) {
    await cluster.synchronous(synchronous);
    for (const [name, trial] of Object.entries(TRIALS)) {
      if (trial.short || !flags.short) await run(topology, name, trial, synchronous);
    }
    if (lasting) await run(lasting, 'pause Patroni alone, and sessions last', LASTING_SESSIONS, synchronous);
  }
}
const success = [await topology.stop(), (await lasting?.stop()) ?? true];
await cluster.dispose();
process.exit(success.every(Boolean) ? 0 : 1);

function topologyAt(port: number): Promise<Topology> {
  const database = { type: 'postgres' as const, host: '127.0.0.1', port, username: 'postgres', database: 'test' };
  return Topology.start({ name: 'patroni', databases: [database, database, database] });
}

async function run(on: Topology, name: string, trial: Trial, synchronous: boolean): Promise<void> {
  const passed = await on.run(`${name}, ${synchronous ? 'sync' : 'async'}`, scenario(trial, !synchronous));
  if (!passed) console.log(cluster.story);
}

function scenario({ fault, losesPrimary, gapLimitMs }: Trial, asynchronous: boolean): Scenario {
  let from: number;
  let old: Node;
  let isTakenBack = false;
  return {
    gapLimitMs,
    fault: async (): Promise<MayForget | undefined> => {
      from = now() - LAG;
      old = await cluster.primary();
      await fault(cluster, old);
      return losesPrimary ? { from, until: now(), replaysOnly: !asynchronous } : undefined;
    },
    after: async (): Promise<MayForget | undefined> => {
      await cluster.whole();
      // Patroni 3.0 writes the leader's key over that of a successor, if it stood still between reading and renewing it: what
      // the successor has acknowledged until then is lost.
      isTakenBack = losesPrimary && (await cluster.primary()) === old;
      return isTakenBack ? { from, until: now() } : undefined;
    },
    notes: async () =>
      [isTakenBack && 'Patroni put the old primary in the place of its successor', ...cluster.repairs.splice(0)]
        .filter(Boolean)
        .join(', '),
  };
}
