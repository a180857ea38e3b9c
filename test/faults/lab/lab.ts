import { fork, type ChildProcess } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { createDatabase, type TestDatabase } from '../../support/database.js';
import { freePort } from '../../support/free-port.mjs';
import { EffectRow } from '../app/effect-row.js';
import { noticedAs, shownBy } from '../app/switches.js';
import { check } from '../check/checker.js';
import type { Terms, Violation } from '../check/violation.js';
import type { Entry, Operation } from '../history/entry.js';
import { Log, readHistory } from '../history/log.js';
import { watchStarvation } from '../history/starvation.js';
import { isTransactional, type Workload } from '../history/workloads.js';
import { App } from './app.js';
import { askChild } from './ask-child.js';
import type { ClientSettings } from './clients.js';
import type { ClientsCommand } from './clients-process.js';
import type { MemorySample } from './memory.js';
import { Nemesis } from './nemesis.js';
import { Network } from './network.js';
import { post } from './post.js';
import { ProcessorMeter, type ProcessorUse } from './processor.js';
import type { Profile } from './profile.js';
import { Provider } from './provider.js';
import { Random } from './random.js';
import { flush, type Servers } from './servers.js';
import { conclude, makeTables, putOnDisk, rowsOf } from './tables.js';

/** What all runs of a lab share. */
export interface LabSettings {
  readonly profile: Profile;
  /** A way in which the library is broken on purpose; a run ends once that was noticed. */
  readonly broken?: string;
  /** How many operations are asked for at a time, where it is not as the profile says. */
  readonly workers?: number;
  /** No other operations than of these kinds. */
  readonly only?: readonly string[];
}

export interface RunSettings {
  readonly seed: string;
  /** How long faults are inflicted, in milliseconds. */
  readonly forMs: number;
  readonly folder: string;
  /** Nothing goes wrong: to see what operations cost. */
  readonly calm?: boolean;
}

export interface RunResult {
  readonly settings: RunSettings & LabSettings;
  readonly history: readonly Entry[];
  readonly violations: readonly Violation[];
  readonly tookMs: number;
  readonly processor: ProcessorUse;
  /** What the processes printed. */
  readonly output: string;
}

const LOOK_EVERY = 1_000;
const MEASURE_EVERY = 10_000;
const CLIENTS = fileURLToPath(new URL('./clients-process.js', import.meta.url));

function termsOf({ leaseMs, answerWithinMs }: Profile): Terms {
  /** A handler takes longer that asks the database for more. */
  const works: Partial<Record<Workload, number>> = {
    long: 2 * leaseMs,
    brief: 2 * leaseMs + 500,
    waiting: 3_000,
    items: 1_000,
  };
  return {
    leaseMs,
    answerWithinMs,
    workMs: ({ workload }: Operation) => works[workload] ?? (isTransactional(workload) ? 2_000 : 500),
  };
}

/**
 * Processes and clients over a database of their own, for one run after the other: each with a history that fits into memory,
 * which is checked as a whole, and a database that is empty at its end. The processes outlive the runs.
 */
export class Lab {
  /** What the process that is spared held from time to time. */
  readonly memory: MemorySample[] = [];
  private readonly agent = new Agent({ keepAlive: true });
  private operations = 0;
  private busyMs = 0;

  private constructor(
    private readonly settings: LabSettings,
    private readonly servers: Servers,
    private readonly database: TestDatabase,
    private readonly network: Network,
    private readonly provider: Provider,
    private readonly apps: readonly App[],
    private readonly clients: ChildProcess,
  ) {}

  /** @param folder where the processes begin to write; each run moves them to its own */
  static async open(settings: LabSettings, servers: Servers, folder: string): Promise<Lab> {
    const { profile, broken } = settings;
    mkdirSync(folder, { recursive: true });
    const database = await createDatabase(servers.dialect);
    await putOnDisk(database, servers);
    await makeTables(database);
    await Promise.all(servers.redis.map(flush));
    const network = await Network.connect(profile.processes.length, servers, profile.redisNodes);
    const provider = new Provider();
    const providerUrl = await provider.listen();
    const apps = await Promise.all(
      network.links.map(async (links, i) => {
        const { platform, clockOffset } = profile.processes[i];
        const setup = {
          name: `app${i + 1}`,
          port: await freePort(),
          platform,
          folder,
          database: { ...database.options, port: links.database.port, extra: { max: 10 } },
          redisPorts: links.redis.map((proxy) => proxy.port),
          providerUrl,
          clockOffset,
          options: {
            lease: profile.leaseMs,
            storeTimeout: profile.storeTimeoutMs,
            sweep: { every: '1s' },
            maxAttempts: 100,
          },
          broken,
        };
        return new App(setup, profile.sparesOne && i === 0);
      }),
    );
    const clients = fork(CLIENTS, { execArgv: ['--no-warnings'] });
    const lab = new Lab(settings, servers, database, network, provider, apps, clients);
    try {
      await Promise.all(apps.map((app) => app.start()));
    } catch (error) {
      await lab.close();
      throw error;
    }
    return lab;
  }

  /** Faults and operations for a while, then calm, and what the checker says of it. */
  async run(run: RunSettings): Promise<RunResult> {
    const { seed, folder, forMs } = run;
    const { apps, network, servers, provider, database, settings } = this;
    const { profile, broken } = settings;
    const startedAt = performance.now();
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    const log = new Log(folder, 'lab');
    const watching = watchStarvation(log);
    await Promise.all(apps.map((app) => app.moveTo(folder)));
    provider.begin(log, new Random(`${seed} provider`));
    const random = new Random(`${seed} nemesis`);
    const { leaseMs, pace, redisNodes } = profile;
    const redis = servers.redis.slice(0, redisNodes);
    const nemesis = new Nemesis({ apps, network, servers, redis, leaseMs, random, log, pace });
    const meter = new ProcessorMeter();
    let early: readonly Violation[] = [];
    try {
      await this.ask({ do: 'begin', settings: this.clientSettings(seed), folder });
      const harming = run.calm ? undefined : nemesis.run();
      const measuring = broken === undefined ? this.measureUntil(startedAt, startedAt + forMs) : undefined;
      early = await this.watch(run, log);
      nemesis.stop();
      await this.ask({ do: 'stop' });
      await harming;
      await measuring;
      if (early.length === 0) {
        await this.heal();
        log.say({ kind: 'healed' });
        await this.ask({ do: 'settle', ms: 3 * profile.leaseMs + 5_000 });
        await this.ask({ do: 'ask again' });
        await this.ask({ do: 'settle', ms: profile.answerWithinMs });
        // Executions without a waiting client end by then, or have lost their lease.
        await sleep(profile.leaseMs);
        this.operations += await this.ask<number>({ do: 'count' });
        await conclude(database, log, () => this.purge());
      }
    } finally {
      await this.ask({ do: 'close' });
      clearInterval(watching);
      log.close();
    }
    this.busyMs += performance.now() - startedAt;
    const history = readHistory(folder);
    const output = apps.map((app) => `--- ${app.name}\n${app.output}`).join('\n');
    const all = check(history, termsOf(profile));
    const violations = broken === undefined ? all : noticedAs(broken, all);
    if (early.length && !violations.length) throw new Error(`Seen, and not there any more: ${early[0].detail}`);
    const processor = meter.stop();
    const tookMs = performance.now() - startedAt;
    return { settings: { ...settings, ...run }, history, violations, tookMs, processor, output };
  }

  async close(): Promise<void> {
    this.clients.kill('SIGKILL');
    this.agent.destroy();
    await Promise.all(this.apps.map((app) => app.close()));
    this.provider.close();
    await this.network.close();
    await this.database.drop();
  }

  private clientSettings(seed: string): ClientSettings {
    const { profile, broken, only, workers } = this.settings;
    return {
      seed,
      apps: this.apps.map(({ name, url }) => ({ name, url })),
      dialect: this.servers.dialect,
      profile,
      workers: workers ?? profile.workers,
      // Lean operations are of few kinds, each of them frequent.
      only: only ?? (broken === undefined || profile.name === 'lean' ? undefined : shownBy(broken)),
      patienceMs: 2 * profile.answerWithinMs,
    };
  }

  private ask<T = void>(command: ClientsCommand): Promise<T> {
    return askChild<T>(this.clients, command, 300_000);
  }

  /** Waits until the time is up; where the library is broken, until that was noticed. */
  private async watch({ forMs, folder }: RunSettings, log: Log): Promise<readonly Violation[]> {
    const { broken, profile } = this.settings;
    const until = performance.now() + forMs;
    const options = { ...this.database.options, entities: [EffectRow] } as DataSourceOptions;
    const dataSource = new DataSource(options);
    try {
      while (performance.now() < until) {
        await sleep(Math.min(LOOK_EVERY, Math.max(0, until - performance.now())));
        if (broken === undefined) continue;
        const history = readHistory(folder);
        const rows = await rowsOf(dataSource).catch(() => []);
        const violations = noticedAs(broken, check([...history, ...rows], termsOf(profile)));
        if (violations.length === 0) continue;
        for (const row of rows) log.say(row);
        return violations;
      }
      return [];
    } finally {
      if (dataSource.isInitialized) await dataSource.destroy().catch(() => undefined);
    }
  }

  /** Asks the process that is spared from time to time what it holds. */
  private async measureUntil(startedAt: number, until: number): Promise<void> {
    const app = this.apps.find(({ spared }) => spared);
    if (!app) return;
    for (let next = startedAt; next < until; next += MEASURE_EVERY) {
      await sleep(Math.max(0, next - performance.now()));
      const reading = await app.measure();
      if (!reading) continue;
      const operations = this.operations + (await this.ask<number>({ do: 'count' }));
      const seconds = (this.busyMs + performance.now() - startedAt) / 1_000;
      this.memory.push({ app: `${app.name} on ${this.servers.dialect}`, operations, seconds, ...reading });
    }
  }

  private async heal(): Promise<void> {
    const { apps, provider, network, servers } = this;
    provider.difficult = false;
    await network.heal();
    while (!(await servers.readOnly(false))) await sleep(100);
    for (const app of apps) {
      app.signal('SIGCONT');
      app.send({ do: 'disarm' });
      app.send({ do: 'shift clock', ms: 0 });
      await app.start();
    }
    const until = performance.now() + 10_000;
    for (const app of apps) {
      while (!(await app.healthy()) && performance.now() < until) await sleep(50);
    }
  }

  /** A connection that was kept alive may be closed just as it is used again: then, and only then, once more. */
  private async purge(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const reply = await post(this.agent, `${this.apps[0].url}/operator/purge`, {}, {}, 120_000);
      if ('body' in reply && reply.status === 201) return;
      if ('body' in reply || attempt === 3) throw new Error(`sweeping failed: ${JSON.stringify(reply)}`);
    }
  }
}
