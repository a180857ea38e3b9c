import { mkdirSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';
import { IDEMPOTENCY_ENTITIES } from 'nestjs-idempotency';
import { ACCOUNTS } from '../app/deadlock.js';
import { EffectRow } from '../app/effect-row.js';
import { noticedAs, shownBy } from '../app/switches.js';
import { check } from '../check/checker.js';
import type { Terms, Violation } from '../check/violation.js';
import type { Entry, Looked, Operation, Row } from '../history/entry.js';
import { Log, now, readHistory } from '../history/log.js';
import { isTransactional, type Workload } from '../history/workloads.js';
import { App } from './app.js';
import { Clients } from './clients.js';
import { Nemesis } from './nemesis.js';
import { Network } from './network.js';
import { mixFor } from './plan.js';
import { Provider } from './provider.js';
import { Random } from './random.js';
import { flush, type Servers } from './servers.js';

export interface RunSettings {
  readonly seed: string;
  /** How long faults are inflicted, in milliseconds. */
  readonly forMs: number;
  readonly folder: string;
  /** A way in which the library is broken on purpose; the run ends once that was noticed. */
  readonly broken?: string;
  readonly workers?: number;
  /** No other operations than of these kinds. */
  readonly only?: readonly string[];
}

export interface RunResult {
  readonly settings: RunSettings;
  readonly history: readonly Entry[];
  readonly violations: readonly Violation[];
  readonly tookMs: number;
  /** What the processes printed. */
  readonly output: string;
}

export const LEASE = 1_500;
const STORE_TIMEOUT = 600;
/** Lock, claim, completion and look-ups, each with its tries. */
const ANSWER_WITHIN = 7_000;
/** By how many milliseconds the clocks of the processes are off from the beginning. */
const CLOCKS = [0, 4_000, -3_600_000];
const LOOK_EVERY = 1_000;
/** In bytes. Handlers that are to be refused answer with more. */
const LARGEST_BODY = 1_000;

/** A handler takes longer that asks the database for more. */
const WORK: Partial<Record<Workload, number>> = {
  long: 2 * LEASE,
  brief: 2 * LEASE + 500,
  waiting: 3_000,
  items: 1_000,
};

export const TERMS: Terms = {
  leaseMs: LEASE,
  answerWithinMs: ANSWER_WITHIN,
  workMs: ({ workload }: Operation) => WORK[workload] ?? (isTransactional(workload) ? 2_000 : 500),
};

/** One run: processes, clients and nemesis over a database of its own, and what the checker says of it. */
export async function run(settings: RunSettings, servers: Servers): Promise<RunResult> {
  const { seed, folder, broken } = settings;
  const startedAt = performance.now();
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const log = new Log(folder, 'lab');
  const database = await createDatabase(servers.dialect);
  await putOnDisk(database, servers);
  await makeTables(database);
  await Promise.all(servers.redis.map(flush));
  const network = await Network.connect(CLOCKS.length, servers);
  const provider = new Provider(log, new Random(`${seed} provider`));
  const providerUrl = await provider.listen();
  const apps = await Promise.all(
    network.links.map(async (links, i) => {
      const port = await freePort();
      return new App({
        name: `app${i + 1}`,
        port,
        platform: i === 2 ? 'fastify' : 'express',
        folder,
        database: { ...database.options, port: links.database.port, extra: { max: 10 } },
        redisPorts: links.redis.map((proxy) => proxy.port),
        providerUrl,
        clockOffset: CLOCKS[i],
        options: { lease: LEASE, storeTimeout: STORE_TIMEOUT, sweep: { every: '1s' }, maxAttempts: 100 },
        broken,
      });
    }),
  );
  const clients = new Clients(
    {
      seed,
      apps,
      dialect: servers.dialect,
      mix: mixFor(servers.dialect, settings.only ?? (broken === undefined ? undefined : shownBy(broken))),
      leaseMs: LEASE,
      workers: settings.workers ?? 12,
      patienceMs: ANSWER_WITHIN + 1_000,
    },
    log,
  );
  let early: readonly Violation[] = [];
  const nemesis = new Nemesis({ apps, network, servers, leaseMs: LEASE, random: new Random(`${seed} nemesis`), log });
  try {
    await Promise.all(apps.map((app) => app.start()));
    const working = clients.run();
    const harming = nemesis.run();
    early = await watch(settings, database, log);
    nemesis.stop();
    clients.stop();
    await harming;
    if (early.length === 0) {
      await heal(apps, network, provider);
      log.say({ kind: 'healed' });
      await clients.settle(LEASE + 2 * LEASE + 5_000);
      await working;
      await clients.askAgain();
      await clients.settle(ANSWER_WITHIN);
      await conclude(database, log, apps[0], clients);
    }
  } finally {
    clients.close();
    await Promise.all(apps.map((app) => app.close()));
    provider.close();
    await network.close();
    await database.drop();
    log.close();
  }
  const history = readHistory(folder);
  const output = apps.map((app) => `--- ${app.name}\n${app.output}`).join('\n');
  const all = check(history, TERMS);
  const violations = broken === undefined ? all : noticedAs(broken, all);
  if (early.length && !violations.length) throw new Error(`Seen, and not there any more: ${early[0].detail}`);
  return { settings, history, violations, tookMs: performance.now() - startedAt, output };
}

/** Has the tables of a database made where the disk can be filled up. */
async function putOnDisk(database: TestDatabase, { disk }: Servers): Promise<void> {
  if (!disk) return;
  const dataSource = await new DataSource(database.options as DataSourceOptions).initialize();
  try {
    const known = await query(dataSource, "SELECT 1 FROM pg_tablespace WHERE spcname = 'lab_disk'");
    if (known.length === 0) await query(dataSource, `CREATE TABLESPACE lab_disk LOCATION '${disk.folder}'`);
    await query(dataSource, `ALTER DATABASE ${String(database.options.database)} SET default_tablespace = lab_disk`);
  } finally {
    await dataSource.destroy();
  }
}

/** What the application needs, and what the database is to refuse. */
async function makeTables(database: TestDatabase): Promise<void> {
  const entities = [EffectRow, ...IDEMPOTENCY_ENTITIES];
  const options = { ...database.options, entities, synchronize: true } as DataSourceOptions;
  const dataSource = await new DataSource(options).initialize();
  try {
    const accounts = Array.from({ length: ACCOUNTS }, (_, i) => `(${i}, 0)`).join(', ');
    for (const statement of [
      'CREATE TABLE lab_account (id int PRIMARY KEY, n int NOT NULL)',
      `INSERT INTO lab_account VALUES ${accounts}`,
      `ALTER TABLE idempotency_record ADD CONSTRAINT lab_small_body CHECK (octet_length(response_body) < ${LARGEST_BODY})`,
      ...(database.dialect === 'postgres'
        ? ['CREATE TABLE lab_posting (account int REFERENCES lab_account DEFERRABLE INITIALLY DEFERRED)']
        : []),
    ]) {
      await dataSource.query(statement);
    }
  } finally {
    await dataSource.destroy();
  }
}

/** Waits until the time is up; where the library is broken, until that was noticed. */
async function watch(
  { forMs, broken, folder }: RunSettings,
  database: TestDatabase,
  log: Log,
): Promise<readonly Violation[]> {
  const until = performance.now() + forMs;
  const dataSource = new DataSource({ ...database.options, entities: [EffectRow] } as DataSourceOptions);
  try {
    while (performance.now() < until) {
      await sleep(Math.min(LOOK_EVERY, Math.max(0, until - performance.now())));
      if (broken === undefined) continue;
      const history = readHistory(folder);
      const rows = await rowsOf(dataSource).catch(() => []);
      const violations = noticedAs(broken, check([...history, ...rows], TERMS));
      if (violations.length === 0) continue;
      for (const row of rows) log.say(row);
      return violations;
    }
    return [];
  } finally {
    if (dataSource.isInitialized) await dataSource.destroy().catch(() => undefined);
  }
}

/** What transactional handlers have written until now. */
async function rowsOf(dataSource: DataSource): Promise<(Row | Looked)[]> {
  const stamp = { who: 'lab', at: now() };
  if (!dataSource.isInitialized) await dataSource.initialize();
  const found = await dataSource.manager.find(EffectRow);
  const rows = found.map(({ op, part, run, token, attempt }): Row => {
    return { ...stamp, kind: 'row', op, part, run, token, attempt };
  });
  return [...rows, { ...stamp, kind: 'looked' }];
}

async function heal(apps: readonly App[], network: Network, provider: Provider): Promise<void> {
  provider.difficult = false;
  await network.heal();
  for (const app of apps) {
    app.signal('SIGCONT');
    app.tell({ do: 'disarm' });
    app.tell({ do: 'shift clock', ms: 0 });
    await app.start();
  }
  const until = performance.now() + 10_000;
  for (const app of apps) {
    while (!(await app.healthy()) && performance.now() < until) await sleep(50);
  }
}

/** Writes down what is in the database, then lets everything expire, and looks what sweeping leaves. */
async function conclude(database: TestDatabase, log: Log, app: App, clients: Clients): Promise<void> {
  const options = { ...database.options, entities: [EffectRow] } as DataSourceOptions;
  const dataSource = await new DataSource(options).initialize();
  try {
    for (const row of await rowsOf(dataSource)) log.say(row);
    const records = await query(dataSource, 'SELECT id, status, token FROM idempotency_record');
    for (const { id, status, token } of records) {
      log.say({ kind: 'standing', record: String(id), status: String(status), token: Number(token) });
    }
    const past = database.dialect === 'postgres' ? "'2001-01-01'" : '1';
    // Claims of processes that died before anything was done are kept for their lease and retention.
    const dates = `expires_at = ${past}, lease_until = ${past}, retention_ms = 0`;
    await query(dataSource, `UPDATE idempotency_record SET ${dates} WHERE status <> 'held'`);
    const left = await leftAfter(() => purge(app, clients), dataSource);
    log.say({ kind: 'left', ...left });
  } finally {
    await dataSource.destroy();
  }
}

/**
 * What stays however often is swept. Another process may be sweeping as well: its rows are passed over, and there until it
 * commits.
 */
async function leftAfter(
  sweep: () => Promise<void>,
  dataSource: DataSource,
): Promise<{ records: number; steps: number }> {
  for (const until = performance.now() + 10_000; ; await sleep(200)) {
    await sweep();
    const [{ records }] = await query(
      dataSource,
      "SELECT COUNT(*) AS records FROM idempotency_record WHERE status <> 'held'",
    );
    const [{ steps }] = await query(dataSource, 'SELECT COUNT(*) AS steps FROM idempotency_step');
    const left = { records: Number(records), steps: Number(steps) };
    if ((left.records === 0 && left.steps === 0) || performance.now() > until) return left;
  }
}

/** A connection that was kept alive may be closed just as it is used again: then, and only then, once more. */
async function purge({ url }: App, clients: Clients): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const reply = await clients.post(`${url}/operator/purge`, {}, {}, 10_000);
    if ('body' in reply && reply.status === 201) return;
    if ('body' in reply || attempt === 3) throw new Error(`sweeping failed: ${JSON.stringify(reply)}`);
  }
}

function query(dataSource: DataSource, sql: string): Promise<Record<string, unknown>[]> {
  return dataSource.query(sql);
}
