/**
 * Three nodes of MariaDB Galera, all of which take writes, in network namespaces of their own: node by node killed, paused, cut off,
 * slow, and with other clocks, while three applications work on the same keys.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../support/until.js';
import { flags, type Scenario, Topology, type TopologySettings } from '../support/topology.js';
import { Balancer } from './balancer.js';
import { Clocks } from './clocks.js';
import { Galera, type GaleraNode } from './galera.js';

const IN_NAMESPACE = 'GALERA_IN_NAMESPACE';
/** Set low: with the lease, for which a node that died keeps its keys, it is what a scenario takes. */
const LEASE_MS = 3_000;

/** The longest that nothing may be served where nothing is lost: a machine may be busy. */
const GAP_MS = 20_000;

if (!process.env[IN_NAMESPACE]) {
  // Networks and clocks of their own are root's to give.
  const sudo = process.getuid?.() === 0 ? [] : ['sudo', '-n', '-E'];
  const [command, ...args] = [
    ...sudo,
    'unshare',
    '-nm',
    process.execPath,
    ...process.execArgv,
    fileURLToPath(import.meta.url),
    ...process.argv.slice(2),
  ];
  const { status } = spawnSync(command, args, { stdio: 'inherit', env: { ...process.env, [IN_NAMESPACE]: 'yes' } });
  process.exit(status ?? 1);
}

const galera = await Galera.start();
const { network, nodes } = galera;
const [first, second, third] = nodes;
/** Each application prefers a node of its own. */
const own = await Promise.all(nodes.map((_, i) => Balancer.listen([...nodes.slice(i), ...nodes.slice(0, i)], 'first')));
/** Each connection leads to another node. */
const inTurn = await Balancer.listen([first, second], 'in turn');
const success: boolean[] = [];

const through = ({ port }: Balancer) => ({ ...first.options, host: '127.0.0.1', port });

/** What CI runs. */
const SHORT = [
  'three writers',
  'moved to a node that lags',
  'a node killed, and back by a copy',
  'each connection to another node',
];

function isAsked(name: string): boolean {
  return flags.only === undefined ? !flags.short || SHORT.includes(name) : new RegExp(flags.only).test(name);
}

async function topology(
  settings: Partial<TopologySettings>,
  scenarios: Readonly<Record<string, Scenario>>,
  prepare: () => Promise<unknown> = async () => undefined,
): Promise<void> {
  const asked = Object.entries(scenarios).filter(([name]) => isAsked(name));
  if (asked.length === 0) return;
  const databases = own.map(through);
  const running = await Topology.start({ name: 'galera', databases, leaseMs: LEASE_MS, ...settings });
  await prepare();
  for (const [name, scenario] of asked) {
    const conflicts = await galera.countConflicts();
    const notes = async () => `${await conflicts()} conflicts`;
    await running.run(name, { notes, ...scenario });
    await galera.heal();
  }
  success.push(await running.stop());
}

/** A node answers from the past for a while. */
async function lagging(
  node: GaleraNode,
  ms: number,
  meanwhile: () => Promise<void> | void = () => undefined,
): Promise<void> {
  const catchUp = await node.lag(first);
  try {
    await sleep(300);
    await meanwhile();
    await sleep(ms);
  } finally {
    await catchUp();
  }
}

await topology(
  {},
  {
    'three writers': { gapLimitMs: GAP_MS, nothingDies: true, fault: () => sleep(5_000) },
    'moved to a node that lags': {
      gapLimitMs: GAP_MS,
      nothingDies: true,
      fault: async () => {
        await lagging(second, 0.3 * LEASE_MS, () => own.forEach((balancer) => balancer.prefer(second)));
        own.forEach((balancer, i) => balancer.prefer(nodes[i]));
      },
    },
    'a node lags for longer than a lease': { gapLimitMs: GAP_MS, fault: () => lagging(second, 1.5 * LEASE_MS) },
    'a node killed, and back by a copy': {
      gapLimitMs: GAP_MS,
      fault: async () => {
        await second.kill();
        await sleep(3_000);
        await second.start();
      },
    },
    'a node stopped, and back': {
      gapLimitMs: GAP_MS,
      fault: async () => {
        await third.stop();
        await sleep(1_000);
        await third.start();
      },
    },
    'a node paused': {
      gapLimitMs: GAP_MS,
      fault: async () => {
        second.pause();
        await sleep(6_000);
        second.resume();
        await until(() => second.isSynced(), 30_000);
      },
    },
    'a node cut off from the others': {
      gapLimitMs: GAP_MS,
      fault: async () => {
        network.isolate(first, nodes);
        await sleep(6_000);
        network.rejoin(first, nodes);
        await until(() => first.isSynced(), 30_000);
      },
    },
    'all nodes cut off from each other': {
      gapLimitMs: 2 * GAP_MS,
      fault: async () => {
        network.isolate(first, nodes);
        network.isolate(second, [third]);
        await sleep(5_000);
        network.rejoin(first, nodes);
        network.rejoin(second, [third]);
        await galera.heal();
      },
    },
  },
);

await topology(
  { databases: [inTurn, inTurn, inTurn].map(through) },
  {
    'each connection to another node': { gapLimitMs: GAP_MS, nothingDies: true, fault: () => sleep(5_000) },
    'each connection to another node, one of which lags': {
      gapLimitMs: GAP_MS,
      nothingDies: true,
      fault: () => lagging(second, 0.3 * LEASE_MS),
    },
    'each connection to another node, one of which lags for longer than a lease': {
      gapLimitMs: GAP_MS,
      fault: () => lagging(second, 1.5 * LEASE_MS),
    },
  },
);

const SHARED_ROWS = 'rows that all of them write';
if (isAsked(SHARED_ROWS)) {
  await topology(
    {},
    {
      [SHARED_ROWS]: {
        gapLimitMs: GAP_MS,
        nothingDies: true,
        routes: ['transactional'],
        fault: () => sleep(5_000),
        notes: async () => {
          const [{ n, effects }] = await first.query(
            'SELECT sum(n) AS n, (SELECT count(*) FROM effect_row) AS effects FROM stock',
          );
          success.push(Number(n) === Number(effects));
          return `${Number(effects)} effects, counted ${Number(n)}`;
        },
      },
    },
    async () => {
      await first.query('CREATE TABLE stock (id int PRIMARY KEY, n int NOT NULL)');
      await first.query('INSERT INTO stock SELECT 0, count(*) FROM effect_row');
      await first.query('INSERT INTO stock VALUES (1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0), (8, 0)');
      // One of eight rows, by the first digit of the operation.
      const update = 'UPDATE stock SET n = n + 1 WHERE id = CONV(LEFT(NEW.op, 1), 16, 10) DIV 2 + 1';
      await first.query(`CREATE TRIGGER sell AFTER INSERT ON effect_row FOR EACH ROW ${update}`);
    },
  );
  await first.query('DROP TRIGGER sell');
}

const CLOCK_AHEAD = 'a clock two leases ahead';
if (isAsked(CLOCK_AHEAD)) {
  await second.setClock(2 * LEASE_MS);
  await topology({}, { [CLOCK_AHEAD]: { gapLimitMs: GAP_MS, routes: ['transactional'], fault: () => sleep(5_000) } });
  await second.setClock(0);
}

const CLOCKS = 'clocks apart';
if (isAsked(CLOCKS)) {
  const clocks = await Clocks.start(first, second, LEASE_MS);
  // A lease that is renewed at each third of it has two thirds left when it is shortest.
  for (const [leases, mayDouble] of [
    [-2, false],
    [0.5, false],
    [0.8, true],
  ] as const) {
    const doubled = await clocks.doubled(leases * LEASE_MS);
    const isRight = doubled > 0 === mayDouble;
    success.push(isRight);
    console.log(
      `galera: ${CLOCKS}: ${leases} of a lease ahead: ${doubled} of 8 plain operations ran twice, ` +
        `${isRight ? '0 violations' : '1 violation'}`,
    );
  }
  await clocks.stop();
}

for (const balancer of [...own, inTurn]) balancer.close();
await galera.dispose();
process.exit(success.every(Boolean) ? 0 : 1);
