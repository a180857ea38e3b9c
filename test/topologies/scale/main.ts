/**
 * More and more processes of an application over one cluster (Patroni, synchronous): requests a second, and how much CPU a
 * request takes of the application and of the database. On a machine of two CPUs everything competes for them, so that each
 * part gets a share, where the system allows that: in proportion, as if each process had a machine of its own.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { call } from '../../support/http-client.js';
import { PatroniCluster } from '../patroni/cluster.js';
import { now } from '../support/clock.js';
import { cpuOf, CpuShare } from '../support/cpu.js';
import { query } from '../support/postgres.js';
import { flags, Topology } from '../support/topology.js';

const PROCESSES = [1, 2, 3, 4, 6];
/** Of the CPUs, for each process of the application and for the primary. */
const OF_APPLICATION = 0.1;
const OF_PRIMARY = 0.25;
/** Requests to each process before it gets its share, so that its code is compiled. */
const WARMING_UP = 2_000;
/** Requests at a time to each process. */
const CLIENTS = 12;
const WARM_UP_MS = 2_000;
const MEASURED_MS = 8_000;

if (flags.short) {
  console.log('scale: a measurement, and no part of the short form');
  process.exit();
}
const cluster = await PatroniCluster.start();
const primary = await cluster.primary();
const database = {
  type: 'postgres' as const,
  host: '127.0.0.1',
  port: cluster.port,
  username: 'postgres',
  database: 'test',
};
const most = Math.max(...PROCESSES);
const topology = await Topology.start({ name: 'scale', databases: Array.from({ length: most }, () => database) });
const apps = Array.from({ length: most }, (_, i) => topology.app(i));
let refused = 0;
const warmth = apps.map(() => ({ left: WARMING_UP }));
await Promise.all(
  apps.flatMap(({ url }, i) =>
    Array.from({ length: CLIENTS }, async () => {
      while (warmth[i].left-- > 0) await serve(url);
    }),
  ),
);
// What the warming up has left behind is not to be cleared away while others are measured.
for (const statement of ['VACUUM ANALYZE', 'CHECKPOINT']) await query(primary.postgresPort, statement);

const shares = [
  CpuShare.of('primary', OF_PRIMARY),
  ...apps.map((_, i) => CpuShare.of(`application-${i}`, OF_APPLICATION)),
];
const isShared = shares.every((share) => share !== undefined);
if (isShared) {
  shares[0]!.take(primary.postmaster!);
  for (const [i, app] of apps.entries()) shares[i + 1]!.take(app.pid);
}
console.log(
  isShared
    ? `scale: ${OF_APPLICATION} CPU for each process, ${OF_PRIMARY} CPU for the primary`
    : 'scale: this system gives no shares of CPUs: all processes compete for all of them',
);

const standbys = cluster.nodes.filter((node) => node !== primary);
const used = (processes: number) => ({
  application: cpuOf(apps.slice(0, processes).map(({ pid }) => pid)),
  primary: cpuOf([primary.postmaster!]),
  standbys: cpuOf(standbys.map((node) => node.postmaster!)),
});

for (const processes of PROCESSES) {
  let going = true;
  let served = 0;
  const took: number[] = [];
  const clients = apps.slice(0, processes).flatMap(({ url }) =>
    Array.from({ length: CLIENTS }, async () => {
      while (going) {
        const askedAt = now();
        await serve(url);
        served++;
        took.push(now() - askedAt);
      }
    }),
  );
  await sleep(WARM_UP_MS);
  const [startedAt, before] = [now(), used(processes)];
  served = 0;
  took.length = 0;
  await sleep(MEASURED_MS);
  const [ms, after, requests] = [now() - startedAt, used(processes), served];
  const median = took.sort((a, b) => a - b)[Math.floor(took.length / 2)];
  going = false;
  await Promise.all(clients);
  const parts = Object.entries(after).map(([part, cpu]) => {
    const spent = cpu - before[part as keyof typeof before];
    return `${part} ${(spent / requests).toFixed(2)} ms (${Math.round((100 * spent) / ms)} % of a CPU)`;
  });
  const rate = Math.round((1_000 * requests) / ms);
  console.log(
    `scale: ${processes} ${processes === 1 ? 'process' : 'processes'}: ${rate} requests/s, median ${Math.round(median)} ms;` +
      ` CPU a request: ${parts.join(', ')}`,
  );
}
if (refused) console.log(`scale: ${refused} requests were not served`);
await topology.stop();
await cluster.dispose();
for (const share of shares) share?.dispose();
process.exit(refused ? 1 : 0);

async function serve(url: string): Promise<void> {
  const answer = await call(`${url}/transactional`, { key: randomUUID(), body: { op: randomUUID(), work: 0 } });
  if (answer.status !== 201) refused++;
}
